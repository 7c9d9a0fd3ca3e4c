"""Hyperparameters of RL Baselines3 Zoo, its files `hyperparams/sac.yml`, as an agent's settings."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from slc_agents.agents import SAC, SACConfig
from slc_agents.agents.config import FOREIGN_NAMES
from slc_agents.compat.sb3.hyperparameters import (
    DECAY,
    RATES,
    TrainFrequency,
    kept_noise,
    moves_targets_each_step,
    rates,
    temperature,
    training_times,
    update_ratio,
)
from slc_agents.compat.sb3.zoo_file import DEFAULTS, ZooEntry, read_entry
from slc_agents.compat.sb3.zoo_policy import policy_name, translate_policy_kwargs
from slc_agents.envs import EnvLike
from slc_agents.errors import ConfigError, check_whole_number, reject_unknown_keywords
from slc_agents.schedulers import LinearScheduler

__all__ = ["ZooConfig", "read_zoo_config"]

MAX_EPOCHS, LEAST_EPOCH = 100, 1000  # what a run's length is cut into: so many epochs, of at least so many steps
_OUTSIDE = "make the environment yourself, and give it to make(env=...)"
# What has no counterpart, and what to do instead. null is as if it weren't there.
REFUSED: Mapping[str, str] = {
    "env_wrapper": f"settings have no wrappers here: {_OUTSIDE}",
    "vec_env_wrapper": f"settings have no wrappers here: {_OUTSIDE}",
    "env_kwargs": f"settings have no keywords of environments here: {_OUTSIDE}",
    "frame_stack": f"gymnasium.wrappers.FrameStackObservation stacks frames: {_OUTSIDE}",
    "callback": "callbacks are given to learn(callback=...)",
    "noise_type": "no noise is added to actions here: the policy is random itself",
    "n_steps": "here the critics learn from returns of one step",
    "replay_buffer_class": "here there is one replay buffer, without hindsight (HER)",
}
# Values of these that ask for nothing.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n_steps": (1,),
    "callback": ([],),
    "env_wrapper": ([],),
    "env_kwargs": ({},),
    "replay_buffer_class": ("ReplayBuffer", "DictReplayBuffer"),
}
# Memory is always used sparingly here; the others are about their log, or about noise that is refused by its type.
WITHOUT_EFFECT = ("optimize_memory_usage", "stats_window_size", "monitor_kwargs", "noise_std")
KEYS = (
    *("n_timesteps", "policy", "policy_kwargs", "replay_buffer_kwargs"),
    *DEFAULTS,
    *(key for key in REFUSED if key not in DEFAULTS),
    *WITHOUT_EFFECT,
)
# Which key of theirs a hyperparameter of ours comes from, where the config class refuses it.
SOURCES: Mapping[str, str] = {
    "gamma": "gamma",
    "polyak": "tau",
    "batch_size": "batch_size",
    "replay_size": "buffer_size",
    "target_entropy": "target_entropy",
    "alpha": "ent_coef",
    "adaptive_temperature": "ent_coef",
    **dict.fromkeys(RATES, "learning_rate"),
    "start_steps": "learning_starts",
    "update_after": "learning_starts",
    "update_every": "train_freq",
    "steps_per_update": "gradient_steps",
    "epochs": "n_timesteps",
    "steps_per_epoch": "n_timesteps",
    "n_envs": "n_envs",
}


@dataclass(frozen=True)
class ZooConfig:
    """Settings of RL Baselines3 Zoo for an environment, in this library's terms.

    Attributes:
        env_id: Id of the environment that they are for.
        policy: The policy's name.
        config: The hyperparameters; `epochs * steps_per_epoch` is the length of a run.
    """

    env_id: str
    policy: str
    config: SACConfig

    def make(self, env: EnvLike | None = None, *, eval_env: EnvLike | None = None, verbose: int = 0) -> SAC:
        """Makes a fresh agent with these settings. Its `learn()` without a number runs for as long as they say.

        Args:
            env: What to train on; None: the environment of that id.
            eval_env: As in the agent's class.
            verbose: As in the agent's class.
        """
        return SAC(self.policy, self.env_id if env is None else env, self.config, eval_env=eval_env, verbose=verbose)


def read_zoo_config(
    path: str | os.PathLike[str], env_id: str, *, ignore: Collection[str] = (), **overrides: Any
) -> ZooConfig:
    """Reads the hyperparameters that RL Baselines3 Zoo has for SAC in an environment. No expression is evaluated.

        settings = read_zoo_config("hyperparams/sac.yml", "Pendulum-v1", seed=0)
        model = settings.make().learn()

    What the file leaves out has the default of Stable-Baselines3's SAC. What has no counterpart here is an error that
    says what to do about it, unless an override replaces what it would become, or it is ignored.

    Args:
        path: Their YAML file: a mapping from environments' ids to hyperparameters.
        env_id: Id of the environment. If the file has none of that id, its entry `default` is taken.
        ignore: Keys of theirs to leave out, since you see to what they mean.
        **overrides: Hyperparameters of `SACConfig` that replace those of the file. `policy_kwargs` is replaced as a
            whole.

    Warns:
        UserWarning: If the file has no settings of its own for the environment, or says that time limits end an
            episode's value, which they never do here.

    Raises:
        FileNotFoundError: If there is no such file.
        ConfigError: If it is no such file, a value is none that they could have, or has no counterpart here.
        TypeError: If an override is not a hyperparameter.
    """
    reject_unknown_keywords(
        overrides, [field.name for field in dataclasses.fields(SACConfig)], "read_zoo_config()", FOREIGN_NAMES
    )
    entry = _without(read_entry(path, env_id), [ignore] if isinstance(ignore, str) else ignore)
    _check_keys(entry)
    policy = policy_name(entry)
    values = _Translator(entry, overrides).settings(policy)
    try:
        config = SACConfig(**{**values, **overrides})
    except ConfigError as error:
        raise _located(error, entry, overrides) from None
    notes = [f"there are no settings for {env_id!r}; those of 'default' are taken"] if entry.is_default else []
    notes += _buffer_notes(entry)
    if notes:
        warnings.warn(f"{entry.path}: " + "; ".join(notes), stacklevel=2)
    return ZooConfig(env_id, policy, config)


def _without(entry: ZooEntry, ignored: Collection[str]) -> ZooEntry:
    for key in ignored:
        if key not in KEYS:
            raise ConfigError(f"ignore={list(ignored)!r}: {key!r} is no key of theirs{_nearest(key)}")
    values = {key: value for key, value in entry.values.items() if key not in ignored}
    return dataclasses.replace(entry, values=values, lines={key: entry.lines[key] for key in values})


def _nearest(key: str) -> str:
    nearest = difflib.get_close_matches(key, KEYS, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(KEYS)}"


def _check_keys(entry: ZooEntry) -> None:
    """Raises a `ConfigError` for a key that SAC has not, or that has no counterpart."""
    for key, value in entry.values.items():
        if key not in KEYS:
            raise entry.refusal(key, f"their settings of SAC have no such key{_nearest(key)}")
        is_neutral = value is None or value in NEUTRAL.get(key, ())
        if key in REFUSED and not is_neutral:
            raise entry.refusal(key, f"{REFUSED[key]}. Then leave the key out: remove it, or ignore=[{key!r}]")


def _buffer_notes(entry: ZooEntry) -> list[str]:
    kwargs = entry.python("replay_buffer_kwargs") or {}
    ends_value = kwargs.get("handle_timeout_termination", True) if isinstance(kwargs, Mapping) else None
    if not isinstance(ends_value, bool) or not set(kwargs) <= {"handle_timeout_termination"}:
        raise entry.refusal(
            "replay_buffer_kwargs",
            "here there is one replay buffer, which has none. Leave the key out: remove it, or "
            "ignore=['replay_buffer_kwargs']",
        )
    if ends_value:
        return []
    return ["replay_buffer_kwargs: handle_timeout_termination=False: here a time limit never ends an episode's value"]


def _located(error: ConfigError, entry: ZooEntry, overrides: Mapping[str, Any]) -> ConfigError:
    """Returns an error of the config class with the file's key that it is about, if it is about one."""
    for word in re.findall(r"\w+", str(error)):
        if word in overrides:
            break
        if word in SOURCES:
            return entry.refusal(SOURCES[word], f"here {error}")
    return error


class _Translator:
    """Makes our hyperparameters of theirs; for those that are given as overrides there is nothing to be said.

    Args:
        entry: Their settings.
        overrides: Hyperparameters of ours that the user gives.
    """

    def __init__(self, entry: ZooEntry, overrides: Mapping[str, Any]) -> None:
        self.entry, self.overrides = entry, overrides
        self.n_envs = self._given("n_envs") or entry.whole_number("n_envs")

    def settings(self, policy: str) -> dict[str, Any]:
        """Returns our hyperparameters, for a policy of ours."""
        entry = self.entry
        ratio = self._update_ratio()
        values: dict[str, Any] = {
            "n_envs": self.n_envs,
            "gamma": entry.number("gamma"),
            "batch_size": entry.whole_number("batch_size"),
            "replay_size": entry.whole_number("buffer_size"),
            **self._length(),
            **ratio,
            **self._training_times(ratio["update_every"]),
        }
        if self._lacks("polyak"):
            values["polyak"] = self._polyak(ratio["steps_per_update"])
        if self._lacks("target_entropy"):
            is_auto = entry.value("target_entropy") == "auto"
            values["target_entropy"] = None if is_auto else entry.number("target_entropy")
        if self._lacks("alpha", "adaptive_temperature"):
            values |= self._temperature()
        values |= self._rates() if self._lacks(*RATES) else DECAY
        if self._lacks("policy_kwargs"):
            values["policy_kwargs"] = (translate_policy_kwargs(entry, policy) | self._noise(policy)) or None
        return values

    def _lacks(self, *names: str) -> bool:
        return any(name not in self.overrides for name in names)

    def _given(self, name: str) -> int | None:
        """Returns a whole number that is given as an override; None if it isn't."""
        return check_whole_number(name, self.overrides[name]) if name in self.overrides else None

    def _length(self) -> dict[str, int]:
        """Cuts a run's length into equal epochs."""
        epochs, steps = self._given("epochs"), self._given("steps_per_epoch")
        if epochs and steps:
            return {}
        total = self.entry.whole_number("n_timesteps")
        for name, parts in (("epochs", epochs), ("steps_per_epoch", steps)):
            if parts and total % parts:
                raise self.entry.refusal("n_timesteps", f"{name}={parts} doesn't divide it; give both of them")
        if epochs is None:
            most = min(MAX_EPOCHS, max(total // LEAST_EPOCH, 1))
            epochs = total // steps if steps else next(n for n in range(most, 0, -1) if total % n == 0)
        return {"epochs": epochs, "steps_per_epoch": total // epochs}

    def _frequency(self) -> TrainFrequency:
        """Returns how long a rollout lasts."""
        update_every = self._given("update_every")
        if update_every is not None:
            return TrainFrequency(-(-update_every // self.n_envs), "step")
        value = self.entry.value("train_freq")
        if not isinstance(value, list):
            return TrainFrequency(self.entry.whole_number("train_freq"), "step")
        if len(value) != 2 or value[1] not in ("step", "episode"):
            raise self.entry.refusal("train_freq", "a number, or [number, step] or [number, episode], is needed")
        try:
            return TrainFrequency(check_whole_number("train_freq", value[0]), value[1])
        except ValueError:
            raise self.entry.refusal("train_freq", "a whole number of at least 1 is needed") from None

    def _update_ratio(self) -> dict[str, int]:
        every, steps = self._given("update_every"), self._given("steps_per_update")
        if every and steps:
            return {"update_every": every, "steps_per_update": steps}
        frequency, gradient_steps = self._frequency(), steps or self.entry.whole_number("gradient_steps", -1)
        ratio = update_ratio(frequency, gradient_steps, self.n_envs)
        if ratio is None and frequency.unit == "episode":
            problem = "here gradient steps follow numbers of environment steps, not of episodes"
            raise self.entry.refusal("train_freq", f"{problem}. Give update_every=... and steps_per_update=...")
        if ratio is None:
            raise self.entry.refusal("gradient_steps", "nothing would be learned. Give steps_per_update=...")
        return {**ratio, **({"update_every": every} if every else {})}

    def _training_times(self, update_every: int) -> dict[str, int]:
        starts = self.entry.whole_number("learning_starts", 0)
        acts_at_once = self.entry.flag("use_sde_at_warmup") and self.entry.flag("use_sde")
        return training_times(starts, update_every, self.n_envs, acts_at_once=acts_at_once)

    def _polyak(self, steps_per_update: int) -> float:
        interval = self.entry.whole_number("target_update_interval")
        if not moves_targets_each_step(interval, steps_per_update):
            problem = "here the targets move with every gradient step. Give polyak=..., and it is left out"
            raise self.entry.refusal("target_update_interval", problem)
        return 1.0 - self.entry.number("tau")

    def _temperature(self) -> dict[str, Any]:
        try:
            return temperature(self.entry.value("ent_coef"))
        except ValueError:
            raise self.entry.refusal("ent_coef", "a number, auto or auto_0.1 is needed") from None

    def _rates(self) -> dict[str, Any]:
        value = self.entry.value("learning_rate")
        kind, _, number = value.partition("_") if isinstance(value, str) else ("", "", "")
        if kind not in ("lin", "linear"):
            return rates(self.entry.number("learning_rate"))
        try:
            return rates(LinearScheduler(float(number), 0.0))
        except ValueError:
            raise self.entry.refusal("learning_rate", "a number, or lin_ and a number, is needed") from None

    def _noise(self, policy: str) -> dict[str, int]:
        """Returns for how long exploration keeps its noise."""
        if policy != "GSDEPolicy":
            return {}
        frequency = self._frequency()
        kept = kept_noise(self.entry.whole_number("sde_sample_freq", -1), frequency)
        if kept is None:
            raise self.entry.refusal(
                "sde_sample_freq",
                f"with a train_freq of {frequency.number} {frequency.unit}s noise is kept for stretches of different "
                "lengths, which it isn't here. Give policy_kwargs={'noise_steps': ..., ...}, or another number",
            )
        return {"noise_steps": kept}
