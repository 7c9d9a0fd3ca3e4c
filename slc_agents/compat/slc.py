"""Stable-learning-control's functions `sac` and `lac`, with their own signatures, and the weights that it saved.

For code that was written for them: each argument is translated into the agent's, and nothing else happens here. New
code is better off with `slc_agents.SAC` and `LAC`, which can also predict, save, load, resume and export.

Its saved weights are a start for new agents, `start_policy="<run>/torch_save/model_state.pt"`; `read_weights` reads
them for one that is there already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from slc_agents.agents.base import Agent
from slc_agents.agents.lac import LAC
from slc_agents.agents.sac import SAC
from slc_agents.transition import Array

if TYPE_CHECKING:
    import gymnasium

    from slc_agents.buffers import ReplayBuffer
    from slc_agents.schedulers import DecayType

__all__ = ["lac", "read_weights", "sac"]

AC_KWARGS: Mapping[str, Any] = {
    "activation": {"actor": "ReLU", "critic": "ReLU"},
    "hidden_sizes": {"actor": [256, 256], "critic": [256, 256]},
    "output_activation": {"actor": "ReLU", "critic": "Identity"},
}
LAC_AC_KWARGS: Mapping[str, Any] = {**AC_KWARGS, "output_activation": {"actor": "ReLU"}}
LOGGER_KWARGS: Mapping[str, Any] = {}


def sac(
    env_fn: Callable[[], gymnasium.Env[Any, Any]],
    actor_critic: type | None = None,
    ac_kwargs: Mapping[str, Any] = AC_KWARGS,
    opt_type: Literal["maximize", "minimize"] = "maximize",
    max_ep_len: int | None = None,
    epochs: int = 100,
    steps_per_epoch: int = 2048,
    start_steps: int = 0,
    update_every: int = 100,
    update_after: int = 1000,
    steps_per_update: int = 100,
    num_test_episodes: int = 10,
    alpha: float = 0.99,
    gamma: float = 0.99,
    polyak: float = 0.995,
    target_entropy: float | None = None,
    adaptive_temperature: bool = True,
    lr_a: float = 1e-4,
    lr_c: float = 3e-4,
    lr_alpha: float = 1e-4,
    lr_a_final: float = 1e-10,
    lr_c_final: float = 1e-10,
    lr_alpha_final: float = 1e-10,
    lr_decay_type: DecayType = "linear",
    lr_a_decay_type: DecayType | None = None,
    lr_c_decay_type: DecayType | None = None,
    lr_alpha_decay_type: DecayType | None = None,
    lr_decay_ref: Literal["epoch", "step"] = "epoch",
    batch_size: int = 256,
    replay_size: int = 1_000_000,
    seed: int | None = None,
    device: str = "cpu",
    logger_kwargs: Mapping[str, Any] = LOGGER_KWARGS,
    save_freq: int = 1,
    start_policy: str | None = None,
    export: bool = False,
) -> tuple[Any, ReplayBuffer]:
    """Trains SAC in the environment that `env_fn` makes.

    `actor_critic` is a policy class of this library's kind (None: `MlpPolicy`), `ac_kwargs` are its keyword arguments;
    all else is as `slc_agents.SACConfig` describes it under the same name. `start_policy` may be a run's folder, or a
    file `model_state.pt`, of stable-learning-control's too.

    Returns:
        The trained policy, an `nn.Module`, and the replay buffer.

    Raises:
        TypeError: If `logger_kwargs` has keys that this library's logger doesn't know.
        ConfigError: If a value is out of range.
    """
    return _train(SAC, **locals())


def lac(
    env_fn: Callable[[], gymnasium.Env[Any, Any]],
    actor_critic: type | None = None,
    ac_kwargs: Mapping[str, Any] = LAC_AC_KWARGS,
    opt_type: Literal["minimize"] = "minimize",
    max_ep_len: int | None = None,
    epochs: int = 100,
    steps_per_epoch: int = 2048,
    start_steps: int = 0,
    update_every: int = 100,
    update_after: int = 1000,
    steps_per_update: int = 100,
    num_test_episodes: int = 10,
    alpha: float = 0.99,
    alpha3: float = 0.2,
    labda: float = 0.99,
    gamma: float = 0.99,
    polyak: float = 0.995,
    target_entropy: float | None = None,
    adaptive_temperature: bool = True,
    lr_a: float = 1e-4,
    lr_c: float = 3e-4,
    lr_alpha: float = 1e-4,
    lr_labda: float = 3e-4,
    lr_a_final: float = 1e-10,
    lr_c_final: float = 1e-10,
    lr_alpha_final: float = 1e-10,
    lr_labda_final: float = 1e-10,
    lr_decay_type: DecayType = "linear",
    lr_a_decay_type: DecayType | None = None,
    lr_c_decay_type: DecayType | None = None,
    lr_alpha_decay_type: DecayType | None = None,
    lr_labda_decay_type: DecayType | None = None,
    lr_decay_ref: Literal["epoch", "step"] = "epoch",
    batch_size: int = 256,
    replay_size: int = 1_000_000,
    horizon_length: int = 0,
    seed: int | None = None,
    device: str = "cpu",
    logger_kwargs: Mapping[str, Any] = LOGGER_KWARGS,
    save_freq: int = 1,
    start_policy: str | None = None,
    export: bool = False,
) -> tuple[Any, ReplayBuffer]:
    """Trains LAC in the environment that `env_fn` makes: see `sac`, here with `slc_agents.LACConfig`.

    With `ac_kwargs={"n_critics": 2}` it is `latc`.
    """
    return _train(LAC, **locals())


def _train(agent: type[Agent[Any]], **given: Any) -> tuple[Any, ReplayBuffer]:
    """Does what `sac` and `lac` do, with their arguments."""
    env_fn, actor_critic, ac_kwargs = (given.pop(name) for name in ("env_fn", "actor_critic", "ac_kwargs"))
    given["logger_kwargs"] = dict(given["logger_kwargs"])
    policy = "MlpPolicy" if actor_critic is None else actor_critic
    model = agent(policy, env_fn, policy_kwargs=dict(ac_kwargs), **given)
    model.learn()
    return model.policy, model.replay_buffer


def read_weights(path: str | os.PathLike[str], agent: SAC | LAC) -> dict[str, Array]:
    """Reads what stable-learning-control's SAC or LAC saved on PyTorch, as tensors of an agent of the same algorithm.

    `agent.set_parameters(agent.get_parameters() | read_weights(path, agent))` puts them into their places. Bounds of
    actions must be those that the weights were trained with; activations, which the file doesn't say, too.

    Args:
        path: A file `model_state.pt`, or a run's folder.
        agent: The agent that they are for, of PyTorch. The `opt_type` of a SAC is taken to be theirs, unless
            `save_info.json` says it.

    Returns:
        Networks, target networks and multipliers by their archive names.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it is another algorithm's, no PyTorch weights, or would have to run code to be read.
        ValueError: If the agent isn't PyTorch's, has other inputs, or critics whose output can't be negated.
    """
    from slc_agents.pytorch import slc_weights

    if agent.backend != "pytorch":
        raise ValueError(
            f"agent: a PyTorch agent is needed, this one is of {agent.backend}. Start one from the weights, save it, "
            f"and load its file with backend={agent.backend!r}"
        )
    found = slc_weights.find_weights(Path(path))
    if found is None:
        raise FileNotFoundError(f"there is no {slc_weights.FILE} in {path}; give a file named .pt or a run's folder")
    return slc_weights.read_weights(found, agent.policy, agent.config.opt_type)
