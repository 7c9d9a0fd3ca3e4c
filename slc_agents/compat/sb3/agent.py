"""From a file of Stable-Baselines3's SAC to an agent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv

from slc_agents.agents import SAC, SACConfig
from slc_agents.agents.files import KnownSpaces
from slc_agents.compat.sb3.files import SB3File, read_file, reading
from slc_agents.compat.sb3.networks import Layout, read_layout, translate_tensors
from slc_agents.compat.sb3.normalization import Statistics, read_normalizer
from slc_agents.compat.sb3.settings import translate_noise, translate_settings
from slc_agents.compat.sb3.spaces import PrintedBox, PrintedSpace, fit_space, make_space, parse_space
from slc_agents.envs import EnvLike, make_vector_env
from slc_agents.errors import UnsupportedSpaceError
from slc_agents.spaces import observation_boxes
from slc_agents.training.state import TrainingState

__all__ = ["load_agent"]

FROM_THE_FILE = ("policy_kwargs", "start_policy", "start_policy_parts")
COUNTERS = {"num_timesteps": "num_timesteps", "num_episodes": "_episode_num", "n_updates": "_n_updates"}


class _Spaces(NamedTuple):
    observation: gymnasium.Space[Any]
    action: gymnasium.Space[Any]
    channels_last: bool


def load_agent(
    path: str | os.PathLike[str],
    env: EnvLike | None = None,
    *,
    device: str | None = None,
    vec_normalize: Statistics | None = None,
    eval_env: EnvLike | None = None,
    verbose: int = 0,
    **overrides: Any,
) -> SAC:
    """Makes an agent of a zip that Stable-Baselines3's SAC saved, versions 1 and 2. No code from the file is run.

    The agent takes the same actions, and can be evaluated, exported, saved and trained further: its optimisers have
    their moments, its counters stand where they stood. A replay buffer is not in such a file.

    Args:
        path: The file; `.zip` may be left out.
        env: Where to train on; None: the agent can predict and be evaluated, and `set_env` gives it one later. It is
            needed where the file shows a large space abbreviated.
        device: Where to put the networks; None: the CPU.
        vec_normalize: The statistics of VecNormalize, where the agent was trained behind one: a `.npz` or `.json` file,
            or a mapping, with `mean`, `var`, `count`, `epsilon` and `clip_obs`. They become a part of the policy, which
            then takes observations as they are.
        eval_env: Environment of the test episodes; None: made like `env`.
        verbose: 1 prints each row of the log.
        **overrides: Hyperparameters of `SACConfig` to replace.

    Warns:
        UserWarning: If something about training has no counterpart here; it names what is done instead.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is damaged, no file of Stable-Baselines3's SAC, or its networks have no counterpart here.
        UnsupportedSpaceError: If the agent can't work with its spaces.
        ValueError: If `env` or `vec_normalize` doesn't fit it.
        TypeError: If an override is not a hyperparameter.
    """
    for name in FROM_THE_FILE:
        if name in overrides:
            raise TypeError(f"load_agent() has no keyword {name!r}: the file says what the agent is and has learned")
    file = read_file(path)
    vector_env = None if env is None else make_vector_env(env, overrides.get("n_envs", 1))
    try:
        model, notes = _make_agent(
            file,
            vector_env,
            vec_normalize,
            {**overrides, **({} if device is None else {"device": device})},
            eval_env=eval_env,
            verbose=verbose,
        )
        if vector_env is not None:
            model._take_env(vector_env, cast("EnvLike", env))
    except BaseException:
        if vector_env is not None and vector_env is not env:
            vector_env.close()
        raise
    if notes:
        warnings.warn(f"{file.path}: " + "; ".join(notes), stacklevel=2)
    return model


def _make_agent(
    file: SB3File,
    env: VectorEnv[Any, Any, Any] | None,
    vec_normalize: Statistics | None,
    overrides: Mapping[str, Any],
    *,
    eval_env: EnvLike | None,
    verbose: int,
) -> tuple[SAC, list[str]]:
    with reading(file.path):
        printed = parse_space(file.get("observation_space"), f"{file.path}, observation space")
        layout = read_layout(file, printed)
        counters: dict[str, Any] = {ours: int(file.get(theirs)) for ours, theirs in COUNTERS.items()}
    known = _find_spaces(file, printed, layout, env)
    policy_kwargs: dict[str, Any] = dict(layout.kwargs)
    if layout.has_images:
        policy_kwargs["channels"] = "last" if known.channels_last else "first"
    policy_kwargs["normalize_observations"] = vec_normalize is not None
    noise_notes: list[str] = []
    if layout.policy == "GSDEPolicy":
        policy_kwargs["noise_steps"], noise_notes = translate_noise(file)
    normalizer = {} if vec_normalize is None else read_normalizer(vec_normalize, known.observation)
    settings, notes = translate_settings(file, overrides)
    config = SACConfig(**{**settings, "policy_kwargs": policy_kwargs, **overrides})
    spaces_only = cast("EnvLike", KnownSpaces(known.observation, known.action))
    model = SAC(layout.policy, spaces_only, config, eval_env=eval_env, verbose=verbose)

    # What the user gives initial values of starts afresh.
    fresh = tuple(prefix for name in overrides for prefix in SAC.initial_values.get(name, ()))
    initial = {name: array for name, array in model.get_parameters().items() if name.startswith(fresh)}
    encoders = getattr(getattr(model.policy.critic, "encoder", None), "images", {})
    with reading(file.path):
        tensors, more_notes = translate_tensors(file, layout, printed, encoders)
        taken = {name: array for name, array in {**tensors, **normalizer}.items() if not name.startswith(fresh)}
        model.set_parameters({**taken, **initial})
    model._state = TrainingState(**counters)
    return model, [*noise_notes, *notes, *more_notes]


def _find_spaces(file: SB3File, printed: PrintedSpace, layout: Layout, env: VectorEnv[Any, Any, Any] | None) -> _Spaces:
    """Takes the spaces from the environment, which must fit, or from what the file shows of them."""
    with reading(file.path):
        action = parse_space(file.get("action_space"), f"{file.path}, action space")
    if layout.has_images:  # which Stable-Baselines3 gives convolutions only if their bounds are 0 and 255
        printed = (
            printed.as_image()
            if isinstance(printed, PrintedBox)
            else {key: box.as_image() if box.is_image else box for key, box in printed.items()}
        )
    if env is None:
        with reading(file.path):
            found = _Spaces(
                make_space(printed, f"{file.path}, observation space"),
                make_space(action, f"{file.path}, action space"),
                channels_last=False,
            )
    else:
        observed, acted = env.single_observation_space, env.single_action_space
        last = fit_space(printed, observed, "observation space", images=layout.has_images)
        fit_space(action, acted, "action space", images=False)
        found = _Spaces(observed, acted, last)
    for key, box in observation_boxes(found.observation).items():
        _check_division(box, f"{file.path}, observation space{f', key {key!r}' if key else ''}")
    return found


def _check_division(box: spaces.Box, name: str) -> None:
    """Raises an `UnsupportedSpaceError` where Stable-Baselines3 takes uint8 as it is: ours is divided by 255."""
    is_image = len(box.shape) == 3 and (box.low == 0).all() and (box.high == 255).all()
    if box.dtype == np.uint8 and not is_image:
        raise UnsupportedSpaceError(
            f"{name}: received {box}: uint8 that is no image, which Stable-Baselines3's networks see as it is; here "
            "they would see it divided by 255"
        )
