"""An agent's files: writing its archive, reading it back, starting from another one's."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv

import slc_agents
from slc_agents.agents.backend import DEFAULT_BACKEND, check_backend
from slc_agents.callbacks.saving import AGENT_FILE
from slc_agents.envs import EnvLike
from slc_agents.errors import ArchiveError, check_path
from slc_agents.persistence import (
    Archive,
    Decoder,
    encode,
    is_archive,
    read_archive,
    show_progress,
    write_archive,
)
from slc_agents.seeding import generator_state, set_generator_state
from slc_agents.spaces import space_from_dict, space_to_dict
from slc_agents.training.state import TrainingState
from slc_agents.transition import Array, StoredArray
from slc_agents.zoo_files import ZOO_PREFIX, pretrained_agent_path

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.agents.config import AgentConfig

__all__ = [
    "BACKEND",
    "KnownSpaces",
    "agent_archive",
    "env_id",
    "read_agent",
    "start_from",
    "write_agent",
    "write_packed_agent",
]

AgentT = TypeVar("AgentT", bound="Agent[Any]")

LEFT_OUT = "left_out"  # key of the manifest that names the parts which a file doesn't hold
BACKEND = "backend"  # key of the manifest that names what computed the agent; older files, of PyTorch, lack it
OPTIMIZERS, TARGET_NETWORKS = "optimizers", "target_networks"


class KnownSpaces(NamedTuple):
    """Stands where an environment would, in an agent that was loaded without one."""

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]


def env_id(env: VectorEnv[Any, Any, Any]) -> str | None:
    """Returns the id of what a vector environment is made of, where it is known."""
    envs = getattr(env.unwrapped, "envs", None)
    return getattr(getattr(envs[0] if envs else env, "spec", None), "id", None)


def write_agent(
    agent: Agent[Any], path: str | os.PathLike[str], *, replay_buffer: bool, progress_bar: bool = False
) -> None:
    """Writes an agent's archive; see `Agent.save`."""
    code: dict[str, Any] = {}
    manifest = _manifest(agent, agent.config, code)
    arrays: dict[str, Array] = {}
    if replay_buffer:
        training = {
            "state": agent._state.state_dict(),
            "streams": {name: generator_state(generator) for name, generator in agent._generators.items()},
            "callbacks": agent._loaded_callbacks or agent.callbacks.state_dict(),
            "logger": agent.logger.state_dict(),
            "metrics": agent._learner.metrics_state(),
            "exploration": agent._learner.exploration_state(),
            "episodes": agent._episodes_state(),
        }
        manifest["training"] = encode(training, "training", code, arrays)
        arrays |= {f"buffer/{name}": array for name, array in agent.replay_buffer.state_dict(copy=False).items()}
    tensors = agent._learner.state_dict()
    size = sum(array.nbytes for array in (*arrays.values(), *tensors.values()))
    with show_progress(f"saving {Path(path).name}", size, visible=progress_bar) as progress:
        write_archive(
            path,
            manifest,
            tensors=tensors,
            arrays=arrays,
            code=cloudpickle.dumps(code) if code else None,
            progress=progress,
        )


def write_packed_agent(agent: Agent[Any], path: str | os.PathLike[str], about: Mapping[str, Any]) -> Path:
    """Writes an agent's archive for those who use it: without what only the training that led there needs.

    Left out are the optimisers, and target networks, which start as copies of the networks that they follow. Of the
    hyperparameters, those that say where and how it was computed and logged have their defaults.

    Args:
        agent: The agent.
        path: The file; see `write_archive`.
        about: What the manifest is to say of it beside the usual, in JSON-able values.

    Returns:
        The path of the written file.
    """
    code: dict[str, Any] = {}
    config = agent.config.replace(device="cpu", compute_kwargs={}, logger_kwargs={}, export=False)
    tensors = agent._learner.state_dict()
    left_out, gone = [OPTIMIZERS], agent.tensors_of_parts[OPTIMIZERS]
    copies, prefixes = _copied_targets(type(agent), tensors), tuple(agent.target_networks)
    # A policy of a user's own may have targets that aren't copies.
    own = {name for name in tensors if name.startswith(prefixes)}
    if own == copies.keys() and all(tensors[name].shape == copies[name].shape for name in own):
        left_out, gone = [*left_out, TARGET_NETWORKS], (*gone, *prefixes)
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(gone)}
    manifest = {**_manifest(agent, config, code), LEFT_OUT: left_out, **about}
    return write_archive(path, manifest, tensors=kept, code=cloudpickle.dumps(code) if code else None)


def _manifest(agent: Agent[Any], config: AgentConfig, code: dict[str, Any]) -> dict[str, Any]:
    """Returns what every archive says; `code` takes what only code can express."""
    return {
        "class": type(agent).__name__,
        BACKEND: agent.backend,
        "policy": encode(agent.policy_class, "policy", code),
        "config": {
            name: encode(value, name, code)
            for name, value in config.to_dict().items()
            if not name.startswith("start_policy")  # what was learned stands in the archive itself
        },
        "env_id": agent._env_id,
        "observation_space": space_to_dict(agent.observation_space),
        "action_space": space_to_dict(agent.action_space),
        "counters": {
            "num_timesteps": agent.num_timesteps,
            "num_episodes": agent.num_episodes,
            "n_updates": agent.n_updates,
            "env_resets": agent._state.env_resets,
        },
        "versions": versions(agent),
    }


def _copied_targets(cls: type[Agent[Any]], tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Returns target networks' tensors, by their names, as copies of those of the networks that they follow."""
    return {
        target + name.removeprefix(followed): tensor
        for target, followed in cls.target_networks.items()
        for name, tensor in tensors.items()
        if name.startswith(followed)
    }


def _read_tensors(cls: type[Agent[Any]], archive: Archive) -> tuple[dict[str, Array], list[str]]:
    """Returns an archive's tensors, with target networks in any case, and the parts that were left out of it.

    Raises:
        ValueError: If it isn't true what the manifest says of these.
    """
    parts = {OPTIMIZERS: cls.tensors_of_parts[OPTIMIZERS], TARGET_NETWORKS: tuple(cls.target_networks)}
    left_out = archive.manifest.get(LEFT_OUT, [])
    if not isinstance(left_out, list) or not all(isinstance(part, str) and part in parts for part in left_out):
        raise ValueError(f"{LEFT_OUT}={left_out!r:.80}: a list of {', '.join(parts)} is needed")
    tensors = archive.tensors()
    gone = tuple(prefix for part in left_out for prefix in parts[part])
    there = next((name for name in tensors if name.startswith(gone)), None)
    if there is not None:
        raise ValueError(f"{LEFT_OUT}={left_out!r}: and yet there is a tensor {there!r}")
    copies = _copied_targets(cls, tensors) if TARGET_NETWORKS in left_out else {}
    return {**tensors, **copies}, left_out


def versions(agent: Agent[Any]) -> dict[str, str]:
    """Returns the versions of what an agent is made by."""
    return {
        "slc_agents": slc_agents.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "gymnasium": gymnasium.__version__,
        **agent._learner.versions(),
    }


def read_agent(
    cls: type[AgentT],
    path: str | os.PathLike[str],
    env: EnvLike | None,
    *,
    device: str | None,
    trust: bool,
    eval_env: EnvLike | None,
    verbose: int,
    progress_bar: bool,
    overrides: dict[str, Any],
) -> AgentT:
    """Reads an agent's archive; see `Agent.load`."""
    for name in overrides:
        if name.startswith("start_policy"):
            raise TypeError(f"load() has no keyword {name!r}: the file says what the agent has learned")
    with ExitStack() as stack:
        archive = stack.enter_context(read_archive(path))
        manifest = archive.manifest
        if manifest.get("class") != cls.__name__:
            raise ArchiveError(
                f"{path}: holds an agent of class {manifest.get('class')!r}; load it with that class's own load "
                f"method, or with slc_agents.load"
            )
        decoder = Decoder(path, archive.code, trust, archive.array)
        with _named(path):
            policy = decoder.decode(manifest["policy"])
            if not isinstance(policy, (str, type)):
                raise ValueError(f"policy {policy!r} is neither a name nor a class")
            saved = {name: decoder.decode(value) for name, value in manifest["config"].items()}
            observation_space = space_from_dict(manifest["observation_space"])
            action_space = space_from_dict(manifest["action_space"])
            state = TrainingState.from_counters(manifest["counters"])
            training = decoder.decode(_training(manifest, trust))
            is_foreign = check_backend(manifest.get(BACKEND, DEFAULT_BACKEND)) != cls.backend
            saved_config = cls.config_class(**saved)
        if device is not None:
            overrides["device"] = device
        if is_foreign:  # how another backend computes is nothing to this one
            saved_config = saved_config.replace(compute_kwargs={})
        if training is None and "logger_kwargs" not in overrides:
            # Without the run there is nothing to go on with in its folder, and another must not be mixed into it.
            saved_config = saved_config.replace(logger_kwargs={}, export=False)
        config = saved_config.replace(**overrides)
        known = cast("EnvLike", KnownSpaces(observation_space, action_space))
        model = cls(policy, known, config, eval_env=eval_env, verbose=verbose)
        model._state = state
        model._env_id = manifest.get("env_id")
        if env is not None:
            model.set_env(env)
        with _named(path):
            tensors, left_out = _read_tensors(cls, archive)
            fresh = tuple(prefix for name in overrides for prefix in cls.initial_values.get(name, ()))
            fresh += cls.tensors_of_parts[OPTIMIZERS] if OPTIMIZERS in left_out else ()
            model._learner.load_state_dict(tensors, take=lambda name: not name.startswith(fresh))
            if training is not None:
                with show_progress(f"reading {Path(path).name}", archive.nbytes, visible=progress_bar) as progress:
                    archive.verify(progress)
                _load_training(model, training, archive, new_seed="seed" in overrides)
                if is_foreign and model.run is not None:  # which rounds otherwise
                    model.run.exact = False
                # Its run's folder, which may have been moved, is its own; another is not.
                folder, is_same = model.logger.output_dir, config.logger_kwargs == saved_config.logger_kwargs
                is_inside = folder is not None and archive.path.resolve().is_relative_to(folder.resolve())
                model._owns_output = is_same or is_inside
                stack.pop_all()  # it stays open until the buffer is read, which is when training begins
    return model


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Names the file in an error about what it says, whatever comes of reading that."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        if isinstance(error, ArchiveError) and str(path) in str(error):
            raise
        missing = "it lacks " if isinstance(error, KeyError) else ""
        raise ArchiveError(f"{path}: {missing}{error}. The file is damaged, or was not written by `save`") from error


def _training(manifest: Mapping[str, Any], trust: bool) -> Any:
    """Returns what the manifest says of the run; without pickled environments where they wouldn't be unpickled."""
    training = manifest.get("training")
    if training is None or trust:
        return training
    episodes = {name: value for name, value in training["episodes"].items() if name != "pickled"}
    return {**training, "episodes": episodes}


def _load_training(agent: Agent[Any], training: Mapping[str, Any], archive: Archive, *, new_seed: bool) -> None:
    memory = _stored_buffer(archive)
    size, capacity = memory["reward"].shape[0], agent.config.replay_size
    if size > capacity:
        raise ArchiveError(
            f"{archive.path}: holds a replay buffer of {size} transitions, more than replay_size={capacity}. "
            f"Set replay_size to {size} or more"
        )
    agent._state = TrainingState.from_state_dict(training["state"])
    agent._stored_memory = memory
    agent._saved_episodes = training["episodes"]
    agent._learner.load_metrics_state(training["metrics"])
    if new_seed:  # another seed is another run from here on
        if agent._state.run is not None:
            agent._state.run.exact = False
    else:
        for name, state in training["streams"].items():
            set_generator_state(agent._generators[name], state)
        agent._learner.load_exploration_state(training.get("exploration", {}))  # older files have none
    agent._loaded_callbacks = training["callbacks"]
    agent.logger.load_state_dict(training["logger"])


def start_from(agent: Agent[Any], start: Any, parts: tuple[str, ...]) -> None:
    """Takes parts of a saved agent, a run folder, a pretrained agent of the zoo, a live agent or a foreign file."""
    wants_buffer = "buffer" in parts
    buffer: Mapping[str, Array | StoredArray] | None = None
    if hasattr(start, "get_parameters"):
        name, tensors = "the given agent", start.get_parameters()
        buffer = start.replay_buffer.state_dict() if wants_buffer else None
    elif isinstance(start, str):
        path = _start_path(start)
        name = str(path)
        foreign = None if is_archive(path) else _read_foreign(agent, path, parts)
        if foreign is not None:
            tensors = foreign
        else:
            archive = read_archive(agent_archive(path))
            with _named(archive.path):
                tensors, left_out = _read_tensors(type(agent), archive)
            if OPTIMIZERS in parts and OPTIMIZERS in left_out:
                raise ValueError(
                    f"start_policy_parts={parts!r}: {name} was packed for use, without its optimisers. Leave out "
                    f"{OPTIMIZERS!r}, or take the file that `save` wrote"
                )
            buffer = _stored_buffer(archive) if wants_buffer else None
    else:
        raise TypeError(f"start_policy: received {start!r}; a path, a zoo name or an agent is needed")
    if wants_buffer and not buffer:
        raise ValueError(f"start_policy: {name} was saved without its buffer; save it with replay_buffer=True")
    prefixes = tuple(prefix for part in parts for prefix in agent.tensors_of_parts.get(part, ()))
    try:
        agent._learner.load_state_dict(tensors, take=lambda tensor: tensor.startswith(prefixes))
        if buffer is not None:
            agent.replay_buffer.load_state_dict(buffer)
    except ValueError as error:
        raise ValueError(f"start_policy: {name} doesn't fit this agent: {error}") from error


def agent_archive(name: str | os.PathLike[str]) -> Path:
    """Returns the archive that a text means: a run folder's, a file, or a pretrained agent's, `zoo:sac/Pendulum-v1`.

    Raises:
        ArchiveError: If it is a folder in which there is no agent's file.
        FileNotFoundError: If the zoo has no such agent.
    """
    if isinstance(name, str) and name.startswith(ZOO_PREFIX):
        return pretrained_agent_path(name.removeprefix(ZOO_PREFIX))
    path = check_path("path", name)
    if not path.is_dir():
        return path
    if not (path / AGENT_FILE).exists():
        runs = sorted(str(file.parent) for file in path.glob(f"*/{AGENT_FILE}"))
        hint = f"give one of {', '.join(runs)}" if runs else "give a run's folder, or the path of an agent's .zip file"
        raise ArchiveError(f"{path}: a folder without {AGENT_FILE}; {hint}")
    return path / AGENT_FILE


def _start_path(start: str) -> Path:
    """Returns the file that a text means; a folder in which there is no agent's file stays as it is."""
    try:
        return agent_archive(start)
    except ArchiveError:
        return Path(start)


def _read_foreign(agent: Agent[Any], path: Path, parts: tuple[str, ...]) -> dict[str, Array] | None:
    """Reads the tensors of another library's file, where the path means one."""
    try:
        tensors = agent._learner.read_foreign_weights(path, agent.config.opt_type)
    except ArchiveError:
        raise
    except ValueError as error:
        raise ValueError(f"start_policy: {path} doesn't fit this agent: {error}") from error
    absent = [part for part in parts if part not in ("networks", "temperature")]
    if tensors is not None and absent:
        raise ValueError(
            f"start_policy_parts={parts!r}: {path} is another library's, which saves networks and temperature alone. "
            f"Leave out {', '.join(absent)}"
        )
    return tensors


def _stored_buffer(archive: Archive) -> dict[str, StoredArray]:
    """Returns those of an archive's arrays that are the buffer's, by the names that it has for them."""
    prefix = "buffer/"
    names = [name for name in archive.array_names if name.startswith(prefix)]
    return {name.removeprefix(prefix): archive.stored_array(name) for name in names}
