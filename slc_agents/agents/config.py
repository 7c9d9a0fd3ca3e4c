"""Hyperparameters: their names, types, defaults, ranges and documentation, in the one place where each of them stands.

The command line's flags, the validation of YAML files, the archive's record, the documentation's table and the agents'
signatures are all made from these classes. The text under a field is its documentation.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import inspect
import math
import os
import textwrap
import typing
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, dataclass_transform

import numpy as np
import pydantic
import pydantic.dataclasses
from pydantic import BeforeValidator, Field

from slc_agents.compute import ComputeOptions
from slc_agents.errors import ConfigError, check_path, reject_unknown_keywords
from slc_agents.logger import validate_logger_kwargs
from slc_agents.schedulers import (
    ConstantScheduler,
    DecayType,
    ExponentialScheduler,
    LinearScheduler,
    Schedule,
    learning_rate_at,
    make_scheduler,
    scheduler_from_dict,
    scheduler_to_dict,
)
from slc_agents.spaces import MAX_FLOAT32

__all__ = ["AgentConfig", "LACConfig", "SACConfig"]

DEFAULT_FINAL_RATE = 1e-10

MAX_COUNT = 2**31 - 1  # of what lies in memory: the buffer's indices are 32 bits wide

# What users of other libraries type first, and what it is called here.
_EQUIVALENTS = {
    "learning_rate": "lr_a, lr_c and lr_alpha, one for each optimiser",
    "tau": "polyak, which is 1 - tau",
    "ent_coef": "alpha (the initial or fixed temperature) and adaptive_temperature",
    "learning_starts": "update_after (and start_steps for the uniform-random actions)",
    "train_freq": "update_every",
    "gradient_steps": "steps_per_update",
    "buffer_size": "replay_size",
    "tensorboard_log": "logger_kwargs={'output_dir': ..., 'sinks': ['csv', 'tensorboard']}",
    "target_update_interval": "polyak (the targets move with every gradient step)",
    "use_sde": "policy='GSDEPolicy'",
    "sde_sample_freq": "policy_kwargs={'noise_steps': ...}, of GSDEPolicy",
    "use_sde_at_warmup": "start_steps (0: the policy acts from the first step on)",
    "env_fn": "env",
    "actor_critic": "policy",
    "ac_kwargs": "policy_kwargs",
    "net_arch": "policy_kwargs={'hidden_sizes': ...}",
    "activation_fn": "policy_kwargs={'activation': ...}",
    **{
        name: f"policy_kwargs={{{name!r}: ...}}"
        for name in (
            *("hidden_sizes", "activation", "output_activation", "n_critics", "normalize_observations"),
            *("cnn_layers", "cnn_features", "channels", "share_encoder", "encoder", "encoder_kwargs"),
        )
    },
    "total_timesteps": "epochs and steps_per_epoch, or learn(total_timesteps)",
    "log_interval": "learn(log_interval=...), in epochs",
    "discount": "gamma",
    "temperature": "alpha",
    "lr": "lr_a, lr_c and lr_alpha, one for each optimiser",
}
# Of these there is nothing here.
_ABSENT = {
    "action_noise": "exploration comes from the policy's own noise, and from start_steps",
    **dict.fromkeys(
        ("replay_buffer_class", "replay_buffer_kwargs", "optimize_memory_usage"),
        "there is one replay buffer, which stores each observation once; replay_size is its capacity",
    ),
    "n_steps": "targets look one step ahead",
    "stats_window_size": "the log's means are over 100 episodes",
    "monitor_wrapper": "returns and lengths are counted without a wrapper",
    "_init_setup_model": "an agent is whole when it is made",
    "custom_objects": "hyperparameters can be replaced by their names",
    "print_system_info": "the file's manifest records versions",
}
FOREIGN_NAMES = {
    **{name: f"here it is {equivalent}" for name, equivalent in _EQUIVALENTS.items()},
    **{name: f"there is no such thing here ({reason}): leave it out" for name, reason in _ABSENT.items()},
}


def _plain_number(value: object) -> object:
    """Takes numpy's scalars for Python's, and no bool for a number, as int(True) would."""
    if isinstance(value, (bool, np.bool_)):
        raise ValueError("must be a number, not a bool")
    if isinstance(value, str):  # YAML reads 1e6 as a text
        try:
            return int(value)
        except ValueError:
            with contextlib.suppress(ValueError):
                return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _finite(value: object) -> object:
    """Takes no number that is infinite to the networks, which compute in float32."""
    if isinstance(value, (int, float)) and not abs(value) <= MAX_FLOAT32:
        raise ValueError(f"must be a finite number, of at most {MAX_FLOAT32:.3g}")
    return value


def _plain_bool(value: object) -> object:
    return bool(value) if isinstance(value, np.bool_) else value


def _rate(value: object) -> object:
    """A rate is a number, a Scheduler (or the mapping that describes one), or a function of progress."""
    if isinstance(value, Mapping):
        return scheduler_from_dict(value)
    if callable(value) and not isinstance(value, type):
        return value
    try:
        rate = float(_plain_number(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        rate = math.nan
    if not 0 <= rate <= MAX_FLOAT32:
        raise ValueError("must be a finite number >= 0, a Scheduler or a function of progress")
    return rate


def _start_policy(value: object) -> object:
    """A path, a name or an agent; what stands in a file is seen when it is read."""
    if isinstance(value, (str, os.PathLike)):
        return str(check_path("start_policy", value))
    if value is not None and (isinstance(value, type) or not hasattr(value, "get_parameters")):
        raise TypeError(f"start_policy: received {value!r}; a path, a zoo name or an agent is needed")
    return value


def _own_copy(value: object) -> object:
    """Copies keyword arguments, so that what becomes of the caller's does not change the config."""
    return copy.deepcopy(value)


def _logger_kwargs(value: object) -> object:
    if isinstance(value, Mapping):
        validate_logger_kwargs(value)
    return _own_copy(value)


def _compute_kwargs(value: object) -> object:
    if isinstance(value, Mapping):
        ComputeOptions.parse(value)
    return _own_copy(value)


def _cost(value: object) -> object:
    if value == "maximize":
        raise ValueError(
            "must be 'minimize': LAC needs a cost, >= 0, whose decrease it demands. Let the environment's reward be "
            "one, or use SAC"
        )
    return value


Int = Annotated[int, BeforeValidator(_plain_number)]
Float = Annotated[float, BeforeValidator(_finite), BeforeValidator(_plain_number)]
Bool = Annotated[bool, Field(strict=True), BeforeValidator(_plain_bool)]
PositiveInt = Annotated[Int, Field(ge=1)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
Size = Annotated[Int, Field(ge=1, le=MAX_COUNT)]
UnitInterval = Annotated[Float, Field(ge=0, le=1)]
Rate = Annotated[float | Schedule, pydantic.PlainValidator(_rate)]
FinalRate = Annotated[Float, Field(ge=0)] | None

StartPolicyPart = Literal["networks", "temperature", "optimizers", "buffer"]

ConfigT = TypeVar("ConfigT")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field,))
def configuration(cls: type[ConfigT]) -> type[ConfigT]:
    """Makes a frozen, keyword-only dataclass whose fields are validated, with this package's errors."""
    validated = pydantic.dataclasses.dataclass(
        cls,
        frozen=True,
        kw_only=True,
        config=pydantic.ConfigDict(arbitrary_types_allowed=True, use_attribute_docstrings=True),
    )
    validate = validated.__init__
    names = [field.name for field in dataclasses.fields(validated)]

    @functools.wraps(validate)
    def __init__(self: Any, **fields: Any) -> None:  # noqa: N807 - it becomes the class's own
        reject_unknown_keywords(fields, names, cls.__name__, FOREIGN_NAMES)
        _reject_contradicted_schedules(fields)
        try:
            validate(self, **fields)
        except pydantic.ValidationError as error:
            hints = typing.get_type_hints(cls, include_extras=True)
            # Items that are refused are counted as missing too, of which nobody needs to hear.
            problems = [one for one in error.errors() if one["type"] != "too_short" or not np.size(one["input"])]
            raise ConfigError("; ".join(_readable(problem, fields, hints) for problem in problems)) from None

    validated.__init__ = __init__  # type: ignore[method-assign]
    return validated  # type: ignore[return-value]


def _is_schedule(rate: object) -> bool:
    return callable(rate) or isinstance(rate, Mapping)


def _reject_contradicted_schedules(fields: Mapping[str, Any]) -> None:
    """Raises a `ConfigError` where a rate is a schedule and its final rate or decay type is given beside it."""
    for rate, value in fields.items():
        if not rate.startswith("lr_") or not _is_schedule(value):
            continue
        for companion in (f"{rate}_final", f"{rate}_decay_type"):
            if fields.get(companion) is not None:
                raise ConfigError(
                    f"{companion}={fields[companion]!r}: {rate} is a schedule of its own, which this would contradict. "
                    f"Give {rate} as a number, or leave {companion} out"
                )


def _readable(problem: Any, fields: Mapping[str, Any], hints: Mapping[str, Any]) -> str:
    name, *inside = problem["loc"] or ("",)
    if not name:
        return str(problem["msg"]).removeprefix("Value error, ")
    if not inside:
        return f"{name}={problem['input']!r}: {_message(problem, hints[name])}"
    part = "key" if "[key]" in inside else "item"
    return f"{name}={fields[name]!r}: {part} {problem['input']!r} {_message(problem, hints[name])}"


def _limits(annotation: Any) -> list[str]:
    """Says what range an annotation allows."""
    limits = []
    for part in typing.get_args(annotation):
        for constraint in getattr(part, "metadata", ()):
            limits += [f"greater than or equal to {constraint.ge}"] if hasattr(constraint, "ge") else []
            limits += [f"less than or equal to {constraint.le}"] if hasattr(constraint, "le") else []
        limits += _limits(part)
    return limits


# What pydantic calls kinds of values, as a user would.
_KINDS = {
    "int": "must be an integer",
    "float": "must be a number",
    "bool": "must be True or False (a boolean)",
    "string": "must be a text (string)",
    "dict": "must be a dictionary",
    "tuple": "must be a list or tuple",
}


def _message(problem: Any, annotation: Any) -> str:
    """Says in this package's words what pydantic found, and what the annotation allows."""
    kind = problem["type"].split("_")[0]
    if problem["type"] == "too_short":
        return "must have at least 1 item"
    if problem["type"] not in ("greater_than_equal", "less_than_equal", "finite_number") and kind in _KINDS:
        limits = _limits(annotation) if kind in ("int", "float") else []
        return " ".join([_KINDS[kind], " and ".join(limits)]).strip()
    return str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


@configuration
class AgentConfig:
    """What every agent of this library has: how to interact, how to learn, where to write."""

    opt_type: Literal["maximize", "minimize"] = "maximize"
    """Whether the environment's rewards are rewards, to maximize, or costs, to minimize."""

    n_envs: Size = 1
    """Number of parallel copies of the environment, where it is given as an id or a factory."""

    policy_kwargs: Annotated[dict[str, Any] | None, BeforeValidator(_own_copy)] = None
    """Keyword arguments of the policy class: `hidden_sizes`, `activation`, `output_activation`, each one value for both
    nets or `{"actor": ..., "critic": ...}`; `n_critics`; `normalize_observations`; for images `cnn_layers`,
    `cnn_features`, `channels`, `share_encoder`, `encoder`, `encoder_kwargs`."""

    max_ep_len: PositiveInt | None = None
    """Length at which an episode is truncated. None: the environment's own limit."""

    epochs: PositiveInt = 100
    """Number of epochs of a `learn()` without a number of steps."""

    steps_per_epoch: PositiveInt = 2048
    """Environment steps in an epoch: the stretch between two rows of the log, with the test episodes at its end."""

    start_steps: NonNegativeInt = 0
    """Number of first steps whose actions are uniformly random, before the policy acts. Helps exploration."""

    update_every: PositiveInt = 100
    """Environment steps between two blocks of gradient steps."""

    update_after: NonNegativeInt = 1000
    """Environment steps before the first block of gradient steps, so that the replay buffer has something to offer."""

    steps_per_update: Size = 100
    """Gradient steps in a block. With `update_every` it sets the ratio of gradient steps to environment steps."""

    num_test_episodes: NonNegativeInt = 10
    """Number of episodes at the end of each epoch that test the deterministic policy, for the log."""

    alpha: Annotated[Float, Field(ge=0)] = 0.99
    """Entropy temperature: the initial one, or the fixed one without `adaptive_temperature` (where it may be 0)."""

    gamma: UnitInterval = 0.99
    """Discount factor."""

    polyak: UnitInterval = 0.995
    """Part of the old target kept in each update of the target networks: target = polyak target + (1 - polyak) net."""

    target_entropy: Float | None = None
    """Entropy at which the adaptive temperature holds the policy. None: minus the number of action dimensions."""

    adaptive_temperature: Bool = True
    """Whether the temperature is learned, so that the policy's entropy stays near the target."""

    lr_a: Rate = 1e-4
    """Learning rate of the actor: a number, a Scheduler or a function of progress."""

    lr_c: Rate = 3e-4
    """Learning rate of the critics: a number, a Scheduler or a function of progress."""

    lr_alpha: Rate = 1e-4
    """Learning rate of the temperature: a number, a Scheduler or a function of progress."""

    lr_a_final: FinalRate = DEFAULT_FINAL_RATE
    """Learning rate of the actor in the last epoch (or block) of a run. A constant rate has no use for it."""

    lr_c_final: FinalRate = DEFAULT_FINAL_RATE
    """Learning rate of the critics in the last epoch (or block) of a run. A constant rate has no use for it."""

    lr_alpha_final: FinalRate = DEFAULT_FINAL_RATE
    """Learning rate of the temperature in the last epoch (or block) of a run. A constant rate has no use for it."""

    lr_decay_type: DecayType = "linear"
    """How learning rates move from their initial to their final value."""

    lr_a_decay_type: DecayType | None = None
    """The decay type for the actor. None: `lr_decay_type`."""

    lr_c_decay_type: DecayType | None = None
    """The decay type for the critics. None: `lr_decay_type`."""

    lr_alpha_decay_type: DecayType | None = None
    """The decay type for the temperature. None: `lr_decay_type`."""

    lr_decay_ref: Literal["epoch", "step"] = "epoch"
    """What moves the learning rates: each finished epoch, or each finished block of gradient steps."""

    batch_size: Size = 256
    """Transitions in the minibatch of a gradient step."""

    replay_size: Size = 1_000_000
    """Transitions that the replay buffer holds, over all parallel environments."""

    seed: NonNegativeInt | None = None
    """Seed of every random stream. None: one is drawn, and kept in the agent's config."""

    device: str = "cpu"
    """Where the networks live: cpu, gpu, gpu:N, cuda, cuda:N, mps or auto."""

    compute_kwargs: Annotated[dict[str, Any], BeforeValidator(_compute_kwargs)] = dataclasses.field(
        default_factory=dict
    )
    """How gradient steps are computed, where it isn't to be chosen by itself: `precision` (`float32`, or `bfloat16`
    between hidden layers), `num_threads`, `matmul` (`default` or `onednn`), `fused` (False: networks run layer by
    layer), `graphs` (whether whole steps are recorded and replayed), and on a GPU `replay_on_device` (whether the
    replay buffer has a copy there). Where TensorFlow computes, `graphs` alone."""

    logger_kwargs: Annotated[dict[str, Any], BeforeValidator(_logger_kwargs)] = dataclasses.field(default_factory=dict)
    """Where the log goes: `output_dir` (None: nothing is written to disk), `exp_name`, `sinks`, `verbose`."""

    save_freq: PositiveInt = 1
    """Epochs between two saves of the agent into the output folder. Without one, nothing is saved."""

    start_policy: Annotated[Any, BeforeValidator(_start_policy)] = None
    """Where training starts from: the path of a saved agent or run folder, a zoo name, a live model, or the path of
    what stable-learning-control saved with PyTorch for the same algorithm (`model_state.pt`, or its run's folder)."""

    start_policy_parts: Annotated[tuple[StartPolicyPart, ...], Field(min_length=1)] = ("networks",)
    """What is taken from `start_policy`: `networks` (with target networks and observation statistics), `temperature`
    (with LAC's other multiplier), `optimizers`, `buffer`. What isn't taken starts fresh."""

    export: Bool = False
    """Whether the deterministic policy is exported into the output folder when training ends: as a TorchScript file, or
    as a SavedModel where TensorFlow computes."""

    rates: ClassVar[tuple[str, ...]] = ("lr_a", "lr_c", "lr_alpha")
    """Names of the learning rates, one for each optimiser."""

    def __post_init__(self) -> None:
        """Checks what concerns several fields at once."""
        if self.adaptive_temperature and self.alpha == 0:
            raise ConfigError(
                "alpha=0: a learned temperature starts above 0. Set alpha > 0, or adaptive_temperature=False to keep 0"
            )
        if self.export and self.logger_kwargs.get("output_dir") is None:
            raise ConfigError(
                "export=True: there is no folder to write to. Set logger_kwargs={'output_dir': ...}, or call "
                "export(path)"
            )
        if self.start_policy is None and self.start_policy_parts != ("networks",):
            raise ConfigError(
                f"start_policy_parts={self.start_policy_parts!r}: there is no start_policy to take them from. Give one"
            )
        if self.replay_size < self.n_envs:
            raise ConfigError(
                f"replay_size={self.replay_size}: each step brings {self.n_envs} transitions, one for each parallel "
                "environment; it must hold at least these"
            )
        for rate in self.rates:
            self._check_rate(rate)

    @property
    def reward_sign(self) -> float:
        """What rewards are multiplied by on their way into the memory: -1 turns costs into rewards."""
        return -1.0 if self.opt_type == "minimize" else 1.0

    def _check_rate(self, rate: str) -> None:
        # A schedule has its own end, which None stands for: so a copy with other fields replaced is no contradiction.
        if callable(getattr(self, rate)):
            object.__setattr__(self, f"{rate}_final", None)
        elif getattr(self, f"{rate}_final") is None:
            object.__setattr__(self, f"{rate}_final", DEFAULT_FINAL_RATE)
        schedule = self.make_schedule(rate)
        for progress in (0.0, 1.0):  # the user's own function should not fail at the end of a long run
            learning_rate_at(schedule, progress, rate)

    def make_schedule(self, rate: str) -> Schedule:
        """Makes the schedule of a learning rate (`lr_a`, ...) from its value, final value and decay type."""
        value = getattr(self, rate)
        if callable(value):
            return value  # type: ignore[no-any-return]
        decay_type = getattr(self, f"{rate}_decay_type") or self.lr_decay_type
        try:
            return make_scheduler(decay_type, value, getattr(self, f"{rate}_final"))
        except ConfigError as error:
            raise ConfigError(f"{rate}={value!r} with {rate}_final and decay type {decay_type!r}: {error}") from None

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some fields replaced, validated like a new one.

        A rate that becomes a schedule takes the defaults of its final rate and decay type with it.
        """
        for rate in self.rates:
            if _is_schedule(changes.get(rate)):
                changes = {f"{rate}_final": None, f"{rate}_decay_type": None, **changes}
        reject_unknown_keywords(
            changes, [field.name for field in dataclasses.fields(self)], type(self).__name__, FOREIGN_NAMES
        )
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields in plain values, fit for YAML and JSON, as far as they are plain.

        Schedulers become mappings. What only code can express (a function as a rate, a class) stays the object it is.
        """
        plain = {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}
        if plain["policy_kwargs"] is not None:
            for key in {"activation", "output_activation"} & set(plain["policy_kwargs"]):
                plain["policy_kwargs"][key] = _name_activations(plain["policy_kwargs"][key])
        return plain

    @classmethod
    def keywords(cls) -> list[inspect.Parameter]:
        """Returns the fields as keyword-only parameters of a signature, with plain types and the values of defaults."""
        types = typing.get_type_hints(cls)  # without what validates them
        return [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=field.default if field.default_factory is dataclasses.MISSING else field.default_factory(),
                annotation=types[field.name],
            )
            for field in dataclasses.fields(cls)
        ]

    @classmethod
    def describe(cls) -> str:
        """Returns a docstring's section that describes each field, with its default."""
        descriptions = cls.descriptions()
        lines = [
            textwrap.fill(
                f"{keyword.name}: {descriptions[keyword.name]} Default: {keyword.default!r}.",
                width=116,
                initial_indent="    ",
                subsequent_indent="        ",
            )
            for keyword in cls.keywords()
        ]
        return "\n".join(["Hyperparameters:", *lines])

    @classmethod
    def descriptions(cls) -> dict[str, str]:
        """Returns each field's documentation, as it stands in the source."""
        descriptions: dict[str, str] = {}
        for base in reversed(cls.__mro__):  # pydantic reads a class's own source, not its parents'
            for name, field in getattr(base, "__pydantic_fields__", {}).items():
                descriptions[name] = " ".join((field.description or "").split()) or descriptions.get(name, "")
        return descriptions


@configuration
class SACConfig(AgentConfig):
    """The hyperparameters of SAC."""


@configuration
class LACConfig(AgentConfig):
    """The hyperparameters of LAC."""

    opt_type: Annotated[Literal["minimize"], BeforeValidator(_cost)] = "minimize"
    """What is done with the environment's rewards. LAC takes them for costs, >= 0, to minimize."""

    alpha3: Annotated[Float, Field(ge=0)] = 0.2
    """How much the Lyapunov function is to decrease in a step, as a part of the cost. From 1 on that is never reached
    while there are costs: they are always minimized. Below 1 the policy's entropy counts more and more as soon as costs
    are that much lower than those remembered."""

    labda: Annotated[Float, Field(gt=0, le=1)] = 0.99
    """Initial value of the multiplier of that condition. It is learned, between `labda_min` and 1."""

    labda_min: Annotated[Float, Field(gt=0, le=1)] = 1e-4
    """Lower bound of the multiplier: how little the condition may count while it is met."""

    lr_labda: Rate = 3e-4
    """Learning rate of the multiplier: a number, a Scheduler or a function of progress."""

    lr_labda_final: FinalRate = DEFAULT_FINAL_RATE
    """Learning rate of the multiplier in the last epoch (or block) of a run. A constant rate has no use for it."""

    lr_labda_decay_type: DecayType | None = None
    """The decay type for the multiplier. None: `lr_decay_type`."""

    horizon_length: Annotated[Int, Field(ge=0, le=MAX_COUNT)] = 0
    """Steps whose costs the Lyapunov function sums up, without discount. 0: all that follow, discounted by `gamma`."""

    terminal_cost: Literal["restart", "absorbing", "zero"] = "restart"
    """What follows after an episode has terminated: `restart`, an average state, as if the next episode went on from
    here; `absorbing`, the last cost, for `terminal_horizon` steps; `zero`, nothing, which makes ending an episode early
    cheap. For an infinite horizon; a finite one lets the last cost go on."""

    terminal_horizon: PositiveInt | None = None
    """For how many steps, the last one included, an absorbing last cost is counted, discounted by `gamma`. It must be
    given with `terminal_cost="absorbing"`, and there alone."""

    rates: ClassVar[tuple[str, ...]] = (*AgentConfig.rates, "lr_labda")

    def __post_init__(self) -> None:
        """Checks what concerns several fields at once."""
        super().__post_init__()
        if self.labda < self.labda_min:
            raise ConfigError(f"labda={self.labda}: it starts below its lower bound, labda_min={self.labda_min}")
        if self.replay_size < self.n_envs * self.horizon_length:
            raise ConfigError(
                f"replay_size={self.replay_size}: with horizon_length={self.horizon_length} and n_envs={self.n_envs} "
                f"it must hold at least their product, {self.n_envs * self.horizon_length} transitions"
            )
        if self.horizon_length and self.terminal_cost != "restart":
            raise ConfigError(
                f"terminal_cost={self.terminal_cost!r}: with horizon_length={self.horizon_length} a last cost goes on "
                "to the end of that horizon. Leave one of the two out"
            )
        is_absorbing = self.terminal_cost == "absorbing"
        if is_absorbing and self.terminal_horizon is None:
            raise ConfigError(
                "terminal_horizon=None: with terminal_cost='absorbing' a last cost goes on for a number of steps. Give "
                "it, such as the length of an episode"
            )
        if not is_absorbing and self.terminal_horizon is not None:
            raise ConfigError(
                f"terminal_horizon={self.terminal_horizon}: with terminal_cost={self.terminal_cost!r} no last cost "
                "goes on. Leave it out, or give terminal_cost='absorbing'"
            )

    @property
    def reward_sign(self) -> float:
        """What rewards are multiplied by on their way into the memory: there they stay the costs that they are."""
        return 1.0

    @property
    def terminal_target(self) -> tuple[float, float]:
        """What the target after a last cost c is made of, for an infinite horizon: parts of c and of an average L."""
        if self.terminal_cost == "restart":
            return 1.0, self.gamma
        return self.absorbing_factor(self.terminal_horizon or 1), 0.0

    @property
    def terminal_value(self) -> tuple[float, float]:
        """What stands for L behind a last cost c: parts of c and of an average L."""
        if self.terminal_cost == "restart" and not self.horizon_length:
            return 0.0, 1.0
        return (0.0 if self.terminal_cost == "zero" else self.absorbing_factor(self.terminal_horizon or 1)), 0.0

    def absorbing_factor(self, steps: int) -> float:
        """Returns how often a cost counts that goes on for a number of steps, in the sums that L stands for."""
        if self.horizon_length:
            return float(self.horizon_length)
        return float(steps) if self.gamma == 1 else (1 - self.gamma**steps) / (1 - self.gamma)


def _plain(value: Any) -> Any:
    if isinstance(value, (ConstantScheduler, LinearScheduler, ExponentialScheduler)):
        return scheduler_to_dict(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if isinstance(value, np.ndarray) else value


def _name_activations(value: Any) -> Any:
    """Torch's own activations travel by name; recognised by name too, for this module doesn't know torch."""
    if isinstance(value, dict):
        return {net: _name_activations(activation) for net, activation in value.items()}
    is_torch = getattr(value, "__module__", "") in ("torch.nn.modules.activation", "torch.nn.modules.linear")
    return value.__name__ if isinstance(value, type) and is_torch else value
