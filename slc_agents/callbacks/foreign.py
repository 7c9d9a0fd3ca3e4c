"""Callbacks that were written for Stable-Baselines3, run as they are.

They are known by what they have (`init_callback` and `on_step`), not by their class, so Stable-Baselines3 need not be
installed. `ForeignCallback` calls such an object at the times at which it expects it. `ForeignModel` is what it gets as
its `model`: the agent, with the few names that such callbacks look for. What the environments' last step brought, it
finds in its `locals`, under the names and in the form of Stable-Baselines3's training loop.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, runtime_checkable

import numpy as np

from slc_agents.callbacks.base import Callback
from slc_agents.logger import ConsoleSink, Logger
from slc_agents.spaces import map_observation
from slc_agents.transition import Observation, Step

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent

__all__ = ["ForeignCallback", "ForeignCallbackLike", "ForeignLogger", "ForeignModel", "infos_of"]


@runtime_checkable
class ForeignCallbackLike(Protocol):
    """What a callback of Stable-Baselines3's kind has at the least.

    Where it also has `on_training_start(locals, globals)`, `on_rollout_start`, `on_rollout_end`, `on_training_end` or
    `update_locals(locals)`, they are called too.
    """

    def init_callback(self, model: Any) -> None:
        """Gets to know the model."""

    def on_step(self) -> Any:
        """Hears of a vector step."""


class ForeignCallback(Callback):
    """Carries a callback of Stable-Baselines3's kind.

    Its `locals` are one dictionary, kept up to date: from the start of training `self` (the model), `env`, `callback`,
    `total_timesteps` (the count at which training will end) and `log_interval` (in epochs); from the first step on also
    `actions`, `rewards`, `dones` [n], `new_obs` (that of the next episode, where one ended) and `infos`.

    Args:
        callback: The object.
    """

    def __init__(self, callback: ForeignCallbackLike) -> None:
        if isinstance(callback, type) or not isinstance(callback, ForeignCallbackLike):
            raise TypeError(
                f"ForeignCallback: callback={callback!r}: a callback for Stable-Baselines3 is needed, an object with "
                "init_callback and on_step"
            )
        self.callback = callback
        self.locals: dict[str, Any] = {}
        self._foreign_model: Any = None
        self._started = 0.0

    def bind(self, model: Agent[Any]) -> None:
        """Tells the callback whom it serves."""
        super().bind(model)
        self._foreign_model = ForeignModel.of(model)
        if self.parent is not None:  # Stable-Baselines3's stoppers read the best return off it
            self.callback.parent = self.parent  # type: ignore[attr-defined]
        self.callback.init_callback(self._foreign_model)

    def on_training_start(self) -> None:
        """Passes it on, with the first `locals`."""
        self._started = time.monotonic()
        run = self.model.run
        self.locals.clear()
        self.locals.update({"self": self._foreign_model, "env": self.model.env, "callback": self.callback})
        if run is not None:
            self.locals.update(total_timesteps=run.start + run.total, log_interval=run.log_interval)
        self._give_locals()
        self._pass_on("on_training_start", self.locals, {})

    def on_rollout_start(self) -> None:
        """Passes it on."""
        self._pass_on("on_rollout_start")

    def on_step(self) -> bool:
        """Passes it on, with the step's `locals`; False if the answer is false. No answer (None) is not false."""
        step = self.model.last_step
        if step is not None:
            transition = step.transition
            self.locals.update(
                actions=transition.action,
                rewards=np.where(transition.valid, transition.reward, np.float32(0.0)),
                dones=(transition.terminated | transition.truncated) & transition.valid,
                new_obs=step.observation,
                infos=infos_of(step, time.monotonic() - self._started),
            )
        self._give_locals()
        answer = self.callback.on_step()
        return answer is None or bool(answer)

    def on_rollout_end(self) -> None:
        """Passes it on."""
        self._pass_on("on_rollout_end")

    def on_training_end(self) -> None:
        """Passes it on."""
        self._pass_on("on_training_end")

    def _give_locals(self) -> None:
        if hasattr(self.callback, "update_locals"):
            self.callback.update_locals(self.locals)
        else:
            self.callback.locals = self.locals  # type: ignore[attr-defined]

    def _pass_on(self, hook: str, *arguments: Any) -> None:
        if hasattr(self.callback, hook):
            getattr(self.callback, hook)(*arguments)


class ForeignModel:
    """The agent, under the names that callbacks of Stable-Baselines3's kind look for.

    All that the agent has is here too. Hyperparameters are attributes, and so are what lists a model's attributes finds
    (as W&B's callback does). They can be read, not set: nobody would hear of it.
    """

    def __init__(self, agent: Agent[Any]) -> None:
        constants = {name: getattr(agent, name, value) for name, value in agent.config.to_dict().items()}
        # `export` is the name of a hyperparameter and of a method.
        self.__dict__.update({name: value for name, value in constants.items() if not callable(value)})
        self.__dict__["_agent"] = agent

    @classmethod
    def of(cls, agent: Agent[Any]) -> ForeignModel:
        """Returns the model, whose class is called like the agent's: what callbacks record as the algorithm."""
        named: type[ForeignModel] = type(type(agent).__name__, (cls,), {"__doc__": cls.__doc__})
        return named(agent)

    def __getattr__(self, name: str) -> Any:
        agent = self.__dict__["_agent"]
        try:
            return getattr(agent, name)
        except AttributeError:
            raise AttributeError(
                f"model.{name}: neither agents of slc_agents nor what callbacks for Stable-Baselines3 get in their "
                f"place has {name!r}",
                name=name,
                obj=self,
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(self, name):
            raise AttributeError(f"model.{name}: it can't be set from a callback while the agent trains")
        self.__dict__[name] = value

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"model.{name}: it can't be deleted")

    @property
    def logger(self) -> ForeignLogger:
        """The log, with Stable-Baselines3's names."""
        return ForeignLogger(self._agent.logger)

    @property
    def verbose(self) -> int:
        """1 where rows of the log are printed."""
        return int(any(isinstance(sink, ConsoleSink) for sink in self._agent.logger.sinks))

    @property
    def ep_info_buffer(self) -> list[dict[str, float]]:
        """The last 100 episodes: return `r` and length `l`."""
        return [{"r": episode.reward, "l": episode.length} for episode in self._agent.recent_episodes]

    @property
    def _total_timesteps(self) -> int:
        """The step count at which training will end."""
        run = self._agent.run
        return 0 if run is None else run.start + run.total

    def get_vec_normalize_env(self) -> None:
        """Returns None: observations are normalised inside the policy, and saved with it."""

    def dump_logs(self) -> None:
        """Writes a row of the log now, with what has been recorded since the last one."""
        agent = self._agent
        agent.logger.record("time/total_timesteps", agent.num_timesteps)
        agent.logger.record("time/episodes", agent.num_episodes)
        if agent.recent_episodes:
            agent.logger.record("rollout/ep_rew_mean", agent.mean_recent_return)
            agent.logger.record("rollout/ep_len_mean", np.mean([episode.length for episode in agent.recent_episodes]))
        agent.logger.dump(agent.num_timesteps)

    def save_replay_buffer(self, path: str | os.PathLike[str]) -> None:
        """Saves the agent with its buffer: here, a buffer has no file of its own. The suffix becomes `.zip`."""
        self._agent.save(Path(path).with_suffix(".zip"), replay_buffer=True)


class ForeignLogger:
    """The agent's log, under the names of Stable-Baselines3's.

    Args:
        logger: The agent's.
    """

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def record(self, key: str, value: Any, exclude: str | tuple[str, ...] | None = None) -> None:
        """Sets a value of the next row, as the agent's logger does; what is no number or text is left out, in words."""
        try:
            self._logger.record(key, value)
        except TypeError as error:
            warnings.warn(f"a callback's record was left out: {error}", stacklevel=2)

    def record_mean(self, key: str, value: float | None, exclude: str | tuple[str, ...] | None = None) -> None:
        """Adds to a mean in the next row; None adds nothing."""
        if value is not None:
            self._logger.record_mean(key, value)

    def dump(self, step: int = 0) -> None:
        """Writes a row now."""
        self._logger.dump(step)

    @property
    def name_to_value(self) -> dict[str, Any]:
        """Values of the last row, and those recorded since."""
        values: dict[str, Any] = dict(self._logger.latest)
        for key, kind, *rest in self._logger.state_dict()["pending"]:
            values[key] = rest[0] / rest[1] if kind == "mean" else rest[0]
        return values

    @property
    def dir(self) -> str | None:
        """The run's folder."""
        return None if self._logger.output_dir is None else str(self._logger.output_dir)

    def get_dir(self) -> str | None:
        """Returns the run's folder."""
        return self.dir

    def log(self, *words: object, level: int = logging.INFO) -> None:
        """Says something, to Python's logger `slc_agents`; the levels are the same."""
        logging.getLogger("slc_agents").log(level, " ".join(map(str, words)))

    def debug(self, *words: object) -> None:
        """Says something of no great interest."""
        self.log(*words, level=logging.DEBUG)

    def info(self, *words: object) -> None:
        """Says something."""
        self.log(*words, level=logging.INFO)

    def warn(self, *words: object) -> None:
        """Says something to mind."""
        self.log(*words, level=logging.WARNING)

    def error(self, *words: object) -> None:
        """Says that something is wrong."""
        self.log(*words, level=logging.ERROR)


def infos_of(step: Step, seconds: float) -> list[dict[str, Any]]:
    """Returns a dict for each environment, as Stable-Baselines3's vector environments do, of gymnasium's one for all.

    Each has `TimeLimit.truncated`. That of an ended episode has `terminal_observation`, its true last observation, and
    `episode`: return `r`, length `l`, and `t`, the seconds since training started.
    """
    transition = step.transition
    n = len(transition.reward)
    infos = [_info_of(step.info, i, n) for i in range(n)]
    for i, info in enumerate(infos):
        info["TimeLimit.truncated"] = bool(
            transition.truncated[i] and not transition.terminated[i] and transition.valid[i]
        )
    for episode in step.episodes:
        i = episode.env_index
        # Where the environment has reset itself in the same step, what is left of the episode's own info is there.
        last = infos[i].pop("final_info", {})
        infos[i].pop("final_obs", None)
        infos[i].update(last if isinstance(last, dict) else {})
        infos[i]["terminal_observation"] = _of_environment(i, transition.next_observation)
        infos[i]["episode"] = {"r": round(episode.reward, 6), "l": episode.length, "t": round(seconds, 6)}
    return infos


def _of_environment(i: int, observation: Observation) -> Observation:
    return map_observation(lambda array: array[i], observation)


def _info_of(info: Mapping[str, Any], i: int, n: int) -> dict[str, Any]:
    """Picks what environment `i` said out of what all said: `_key` tells which of them said `key`."""
    own: dict[str, Any] = {}
    for key, value in info.items():
        said = info.get(f"_{key}")
        if key.startswith("_") and key[1:] in info:
            continue
        if isinstance(said, np.ndarray) and not said[i]:
            continue
        if isinstance(value, dict):
            own[key] = _info_of(value, i, n)
        elif isinstance(value, np.ndarray | list | tuple) and np.ndim(value) > 0 and len(value) == n:
            own[key] = value[i].item() if isinstance(value[i], np.generic) else value[i]
        else:  # of all of them
            own[key] = value
    return own
