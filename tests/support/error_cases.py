"""Wrong input, and what a user sees of it: for every keyword, method, file and command.

A case is a line of code as a user would write it, the error that it must raise, and words that the message must have:
what was received, what is allowed, what to do. `tests/errors/test_errors.py` runs them all. `docs/generate.py` makes
the table of `docs/guide/errors.md` of those that are `shown`, by provoking them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from slc_agents.errors import (
    ArchiveError,
    ConfigError,
    NonFiniteError,
    NotResumableError,
    UnsupportedSpaceError,
    UntrustedCodeError,
)

__all__ = ["CASES", "Case", "PushEnv", "provoke", "table", "world"]


@dataclass(frozen=True)
class Case:
    """One wrong input.

    Attributes:
        group: Heading of its part of the table.
        about: What it is about: `SACConfig.gamma`, `learn.total_timesteps`, `EvalCallback.eval_freq`, ...
        code: What the user writes; a line that begins with `slc-agents` is a command.
        error: Type of the error; for a command, its exit code.
        words: What the message must have.
        shown: Whether it stands in the table.
    """

    group: str
    about: str
    code: str
    error: type[BaseException] | int
    words: tuple[str, ...]
    shown: bool = False


class PushEnv(gymnasium.Env[Any, Any]):
    """Shows zeros and pays nothing, until it goes wrong where and as it is told.

    Args:
        where: What goes wrong: `reset`, `step` or `reward`; nothing by default.
        value: What it shows or pays there.
        key: The key of the observation in which it does; None: the space is a Box.
        at: The step of its life in which it does.
    """

    def __init__(self, where: str = "", value: float = np.nan, key: str | None = None, at: int = 3) -> None:
        self.where, self.value, self.key, self.at = where, value, key, at
        box = spaces.Box(-1.0, 1.0, (2,), np.float32)
        both = spaces.Dict({"image": spaces.Box(0, 255, (2, 2), np.uint8), "speed": box})
        self.observation_space = box if key is None else both
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.steps = 0

    def _observe(self, *, wrong: bool) -> Any:
        box = np.array([0.0, self.value if wrong else 0.0], np.float32)
        return box if self.key is None else {"image": np.zeros((2, 2), np.uint8), "speed": box}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(wrong=self.where == "reset"), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        wrong = self.steps == self.at
        reward = self.value if wrong and self.where == "reward" else 0.0
        return self._observe(wrong=wrong and self.where == "step"), reward, False, False, {}


SMALL: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": [8]},
    "steps_per_epoch": 20,
    "update_after": 10,
    "update_every": 5,
    "steps_per_update": 1,
    "batch_size": 4,
    "replay_size": 100,
    "num_test_episodes": 0,
    "seed": 0,
}


class ImageEnv(PushEnv):
    """Shows black images."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Box(0, 255, (3, 16, 16), np.uint8)

    def _observe(self, *, wrong: bool) -> Any:
        return np.zeros((3, 16, 16), np.uint8)


class DiscreteEnv(PushEnv):
    """Has discrete actions."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Discrete(2)


class UnboundedEnv(PushEnv):
    """Has actions without bounds."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)


class Says:
    """A model whose actions are always the same."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        return self.answer


@contextlib.contextmanager
def world() -> Iterator[dict[str, Any]]:
    """Yields what the cases' code knows by name, in an empty folder with some files in it, to which it changes."""
    from torch import nn

    import slc_agents.callbacks as callbacks
    from slc_agents import LAC, SAC, LACConfig, SACConfig, load, schedulers, zoo
    from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer
    from slc_agents.evaluation import evaluate_policy, evaluate_robustness, measure_stability

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.chdir(folder)
        try:
            model = SAC("MlpPolicy", PushEnv, **SMALL).learn(20)
            boxes = spaces.Box(-1.0, 1.0, (3,), np.float32), spaces.Box(-1.0, 1.0, (1,), np.float32)
            buffer = ReplayBuffer(10, *boxes, n_envs=2)
            step = {
                "observation": np.zeros((2, 3)),
                "action": np.zeros((2, 1)),
                "reward": np.zeros(2),
                "next_observation": np.zeros((2, 3)),
                "terminated": np.zeros(2, bool),
                "truncated": np.zeros(2, bool),
            }
            parameters = model.get_parameters()
            name = "actor/trunk/0/weight"
            yield {
                **{name: getattr(callbacks, name) for name in callbacks.__all__},
                **{name: getattr(schedulers, name) for name in schedulers.__all__},
                "np": np,
                "nn": nn,
                "nan": np.nan,
                "inf": np.inf,
                "Path": Path,
                "zoo": zoo,
                "load": load,
                "gymnasium": gymnasium,
                "SAC": SAC,
                "SACConfig": SACConfig,
                "LAC": LAC,
                "LACConfig": LACConfig,
                "ReplayBuffer": ReplayBuffer,
                "FiniteHorizonReplayBuffer": FiniteHorizonReplayBuffer,
                "evaluate_policy": evaluate_policy,
                "evaluate_robustness": evaluate_robustness,
                "measure_stability": measure_stability,
                "MyEnv": PushEnv,
                "ImageEnv": ImageEnv,
                "DiscreteEnv": DiscreteEnv,
                "UnboundedEnv": UnboundedEnv,
                "Says": Says,
                "small": SMALL,
                "model": model,
                "buffer": buffer,
                "step": step,
                "box": boxes[0],
                "actions": boxes[1],
                "parameters": parameters,
                "weight": name,
                "loaded": _files(model, SAC),
                "dict_model": SAC("MlpPolicy", lambda: PushEnv(key="speed"), **SMALL),
                "other": SAC("MlpPolicy", PushEnv, **{**SMALL, "policy_kwargs": {"hidden_sizes": [9]}}),
            }
        finally:
            os.chdir(before)


def _files(model: Any, agent: Any) -> Any:
    """Writes the files that cases read. Returns an agent that was loaded without an environment."""
    model.save("agent.zip")
    model.save("full.zip", replay_buffer=True)
    Path("folder").mkdir()
    Path("foreign.zip").write_bytes(b"no archive")
    Path("settings.yaml").write_text("epochs: 3\ngamma: 7\n", encoding="utf-8")
    Path("list.yaml").write_text("- gamma\n", encoding="utf-8")
    Path("heir.yaml").write_text("epochs: 3\ninherits: zoo:sac/defualt\n", encoding="utf-8")
    Path("expression.yaml").write_text("lr_a: lin_1e-3\n", encoding="utf-8")
    Path("evil.yaml").write_text("seed: !!python/object/apply:os.getcwd []\n", encoding="utf-8")
    Path("used").mkdir()
    model.save("used/agent.zip")
    whole = Path("agent.zip").read_bytes()
    Path("cut.zip").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    Path("damaged.zip").write_bytes(bytes(flipped))
    for name, changes in (("newer.zip", {"format_version": 99}), ("td3.zip", {"class": "TD3"})):
        with zipfile.ZipFile("agent.zip") as old, zipfile.ZipFile(name, "w") as new:
            for member in old.namelist():
                content = old.read(member)
                if member == "manifest.json":
                    content = json.dumps({**json.loads(content), **changes}).encode()
                new.writestr(member, content)
    agent("MlpPolicy", PushEnv, **{**SMALL, "lr_a": lambda progress: 1e-3}).save("code.zip")
    return agent.load("agent.zip")


def provoke(case: Case, names: dict[str, Any]) -> tuple[type[BaseException] | int | None, str]:
    """Runs a case's code. Returns the error's type, or None; of a command its exit code; and the message."""
    if case.code.startswith("slc-agents"):
        from slc_agents.cli.main import main

        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(shlex.split(case.code)[1:])
        return code, err.getvalue().strip()
    try:
        exec(case.code, dict(names))
    except Exception as error:
        return type(error), "\n".join([str(error), *getattr(error, "__notes__", ())])
    return None, ""


def table(cases: Sequence[Case] | None = None) -> str:
    """Returns Markdown: a table for each group of cases, what the user did and what they see."""
    shown = [case for case in CASES if case.shown] if cases is None else cases
    lines: list[str] = []
    with world() as names:
        for group in dict.fromkeys(case.group for case in shown):
            lines += ["", f"### {group}", "", "| what you did | what you see |", "|---|---|"]
            for case in shown:
                if case.group == group:
                    kind, message = provoke(case, names)
                    name = f"exit code {kind}" if isinstance(kind, int) or kind is None else kind.__name__
                    lines.append(f"| {_cell(case.code, code=True)} | **{name}**: {_cell(message)} |")
    return "\n".join(lines).strip()


def _cell(text: str, *, code: bool = False) -> str:
    """Fits a text into a cell: no line breaks, bars or tags, and no address of an object."""
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(text.split())).replace("|", "\\|")
    return f"`{text}`" if code else re.sub(r"([<>*_\[\]`])", r"\\\1", text)


# -- hyperparameters ---------------------------------------------------------------------------------------------------

COUNTS_FROM_1 = ("n_envs", "max_ep_len", "epochs", "steps_per_epoch", "update_every", "steps_per_update", "batch_size")
COUNTS_FROM_1 += ("replay_size", "save_freq")
COUNTS_FROM_0 = ("start_steps", "update_after", "num_test_episodes", "seed")
NO_NUMBERS = ("True", "'many'", "''", "[]", "{}", "object", "1j", "nan", "inf", "-inf", "np.array([1, 2])")
RATES = ("lr_a", "lr_c", "lr_alpha")
DECAY_TYPES = ("lr_decay_type", "lr_a_decay_type", "lr_c_decay_type", "lr_alpha_decay_type")


def _field(name: str, value: str, *words: str, error: type[Exception] = ConfigError, shown: bool = False) -> Case:
    code = f"SACConfig({name}={value})"
    return Case("Hyperparameters", f"SACConfig.{name}", code, error, (name, *words), shown)


def _fields() -> Iterator[Case]:
    for name in (*COUNTS_FROM_1, *COUNTS_FROM_0):
        smallest = 1 if name in COUNTS_FROM_1 else 0
        for value in NO_NUMBERS:
            yield _field(name, value, "must be a", shown=name == "batch_size" and value == "True")
        allowed = f"integer greater than or equal to {smallest}"
        yield _field(name, "1.5", f"{name}=1.5", allowed, shown=name == "epochs")
        yield _field(name, "[8]", f"{name}=[8]", allowed)
        yield _field(name, "-1", f"{name}=-1", f"greater than or equal to {smallest}", shown=name == "update_after")
        if smallest:
            yield _field(name, "0", f"{name}=0", "greater than or equal to 1")
            yield _field(name, "-0.0", f"{name}=-0.0", "greater than or equal to 1")
        if name not in ("max_ep_len", "seed"):
            yield _field(name, "None", f"{name}=None", "integer")
    for name in ("n_envs", "steps_per_update", "batch_size", "replay_size"):
        yield _field(name, "10**12", "less than or equal to 2147483647")
    yield _field("replay_size", "2, n_envs=4", "replay_size=2", "4 transitions", shown=True)
    for name in ("gamma", "polyak", "alpha", "target_entropy", "lr_a_final", "lr_c_final", "lr_alpha_final"):
        for value in NO_NUMBERS:
            yield _field(name, value, "must be a")
        yield _field(name, "1e300", f"{name}=1e+300", "finite")
        if name != "target_entropy":
            yield _field(name, "-0.1", f"{name}=-0.1", "greater than or equal to 0")
        if name in ("gamma", "polyak", "alpha"):
            yield _field(name, "None", f"{name}=None", "number")
    for name in ("gamma", "polyak"):
        yield _field(name, "1.1", f"{name}=1.1", "less than or equal to 1", shown=name == "gamma")
    yield _field("alpha", "0", "alpha=0", "adaptive_temperature=False", shown=True)
    for name in ("adaptive_temperature", "export"):
        for value in ("None", "0", "1", "'False'", "nan", "[]"):
            shown = name == "adaptive_temperature" and value == "'False'"
            yield _field(name, value, "must be True or False", shown=shown)
    yield _field("export", "True", "export=True", "output_dir", shown=True)
    for name in RATES:
        for value in (*NO_NUMBERS, "None", "-1e-3", "1e300"):
            yield _field(name, value, "type" if value == "{}" else "finite number >= 0")
        yield _field(name, "{'type': 'cosine'}", "'cosine'", "'linear'")
        yield _field(name, "{'type': 'linear', 'initial': 1}", "initial, final", "['initial', 'type']")
        yield _field(name, "{'type': 'linear', 'initial': -1, 'final': 1}", "initial=-1", ">= 0")
        yield _field(name, "lambda progress: -1", "returned -1", "at progress 0", shown=name == "lr_a")
        yield _field(name, "lambda progress: 'x'", "returned 'x'", "finite number >= 0")
        yield _field(name, "lambda progress: 1 / (1 - progress)", "progress 1", "finite", error=ZeroDivisionError)
        yield _field(name, "lambda: 1", "progress 0", error=TypeError)
        yield _field(name, f"ConstantScheduler(1), {name}_final=1", f"{name}_final=1", "schedule of its own")
        yield _field(f"{name}_final", f"0, {name}=lambda progress: 1", f"leave {name}_final out", shown=name == "lr_a")
    yield _field("lr_c_final", "0, lr_decay_type='exponential'", "'exponential'", "must be > 0", shown=True)
    for name in DECAY_TYPES:
        for value in ("'cosine'", "'Linear'", "3", "True", "''"):
            yield _field(name, value, f"{name}={value}", "'linear', 'exponential' or 'constant'")
    for value in ("'min'", "'minimise'", "None", "True", "-1", "['minimize']"):
        yield _field("opt_type", value, f"{value}", "'maximize' or 'minimize'", shown=value == "'minimise'")
    for value in ("'steps'", "None", "1"):
        yield _field("lr_decay_ref", value, value, "'epoch' or 'step'")
    for value in ("0", "None", "True", "['cpu']"):
        yield _field("device", value, value, "text")
    for value in ("3", "'x'", "[('hidden_sizes', [8])]", "True", "nan"):
        yield _field("policy_kwargs", value, value, "dictionary")
    for value in ("None", "3", "'runs'", "[]", "True"):
        yield _field("logger_kwargs", value, value, "dictionary", shown=value == "'runs'")
        yield _field("compute_kwargs", value, value, "dictionary")
    for value in ("3", "True", "nan", "[]", "{}", "object", "SAC", "b'x'"):
        yield _field("start_policy", value, "received", "path, a zoo name or an agent", error=TypeError)
    yield _field("start_policy", "''", "path", error=ValueError)
    for value in ("'networks'", "None", "3", "True"):
        yield _field("start_policy_parts", value, value, "list or tuple")
    yield _field("start_policy_parts", "[]", "at least 1 item")
    yield _field(
        "start_policy_parts", "['network']", "'network'", "'networks', 'temperature', 'optimizers' or 'buffer'"
    )
    yield _field("start_policy_parts", "['buffer']", "no start_policy", shown=True)


def _field_of_lac(name: str, value: str, *words: str, shown: bool = False) -> Case:
    code = f"LACConfig({name}={value})"
    return Case("Hyperparameters", f"LACConfig.{name}", code, ConfigError, (name, *words), shown)


def _fields_of_lac() -> Iterator[Case]:
    yield _field_of_lac("opt_type", "'maximize'", "'maximize'", "needs a cost", "SAC", shown=True)
    for value in ("'min'", "None", "True"):
        yield _field_of_lac("opt_type", value, value, "'minimize'")
    for name in ("alpha3", "labda", "labda_min", "lr_labda_final"):
        for value in NO_NUMBERS:
            yield _field_of_lac(name, value, "must be a")
        yield _field_of_lac(name, "-0.1", f"{name}=-0.1", "greater than")
    for name in ("labda", "labda_min"):
        yield _field_of_lac(name, "0", f"{name}=0", "greater than 0")
        yield _field_of_lac(name, "1.5", f"{name}=1.5", "less than or equal to 1", shown=name == "labda")
    yield _field_of_lac("labda", "0.1, labda_min=0.2", "labda=0.1", "labda_min=0.2")
    for value in (*NO_NUMBERS, "None", "-1e-3"):
        yield _field_of_lac("lr_labda", value, "type" if value == "{}" else "finite number >= 0")
    for value in ("'cosine'", "3"):
        yield _field_of_lac("lr_labda_decay_type", value, value, "'linear', 'exponential' or 'constant'")
    for name, least in (("horizon_length", 0), ("terminal_horizon", 1)):
        for value in NO_NUMBERS:
            yield _field_of_lac(name, value, "must be a")
        yield _field_of_lac(name, "-1", f"{name}=-1", f"greater than or equal to {least}")
        yield _field_of_lac(name, "1.5", f"{name}=1.5", "integer")
    for value in ("'Zero'", "None", "0"):
        yield _field_of_lac("terminal_cost", value, value, "'restart', 'absorbing' or 'zero'")
    yield _field_of_lac("terminal_cost", "'zero', horizon_length=5", "horizon_length=5", "Leave one", shown=True)
    yield _field_of_lac("terminal_horizon", "9", "terminal_horizon=9", "terminal_cost='restart'", "Leave it out")
    rest = "9, terminal_cost='zero'"
    yield _field_of_lac("terminal_horizon", rest, "terminal_horizon=9", "terminal_cost='zero'", "Leave it out")
    rest = "None, terminal_cost='absorbing'"
    yield _field_of_lac("terminal_horizon", rest, "terminal_horizon=None", "length of an episode", shown=True)
    yield _field_of_lac("horizon_length", "20, replay_size=50, n_envs=3", "replay_size=50", "60", shown=True)


def _names() -> Iterator[Case]:
    for name, word in (
        ("learning_rate", "lr_a, lr_c and lr_alpha"),
        ("lerning_rate", "lr_a, lr_c and lr_alpha"),
        ("tau", "polyak, which is 1 - tau"),
        ("ent_coef", "alpha"),
        ("learning_starts", "update_after"),
        ("train_freq", "update_every"),
        ("gradient_steps", "steps_per_update"),
        ("buffer_size", "replay_size"),
        ("tensorboard_log", "output_dir"),
        ("target_update_interval", "polyak"),
        ("use_sde", "policy='GSDEPolicy'"),
        ("sde_sample_freq", "policy_kwargs={'noise_steps': ...}, of GSDEPolicy"),
        ("use_sde_at_warmup", "start_steps"),
        ("action_noise", "start_steps"),
        ("replay_buffer_class", "replay_size"),
        ("optimize_memory_usage", "leave it out"),
        ("stats_window_size", "100 episodes"),
        ("log_interval", "learn(log_interval=...)"),
        ("hidden_sizes", "policy_kwargs={'hidden_sizes': ...}"),
        ("total_timesteps", "learn(total_timesteps)"),
        ("env_fn", "env"),
        ("gama", "did you mean 'gamma'?"),
        ("batchsize", "did you mean 'batch_size'?"),
        ("xyz", "allowed are policy, env"),
    ):
        shown = name in ("learning_rate", "lerning_rate", "use_sde", "action_noise", "gama", "hidden_sizes")
        code = f'SAC("MlpPolicy", "Pendulum-v1", {name}=0.1)'
        yield Case("Names of hyperparameters", "SAC", code, TypeError, (f"no keyword {name!r}", word), shown)


# -- the agent's constructor -------------------------------------------------------------------------------------------


def _make(about: str, code: str, error: type[Exception], *words: str, shown: bool = False) -> Case:
    return Case("Making an agent", about, code, error, words, shown)


def _constructor() -> Iterator[Case]:
    for value in ("None", "3", "True", "object", "['MlpPolicy']"):
        yield _make("SAC.policy", f"SAC({value}, MyEnv)", TypeError, "policy", "'MlpPolicy'")
    for value in ("'MlpPolcy'", "''", "'mlppolicy'"):
        code = f"SAC({value}, MyEnv)"
        yield _make("SAC.policy", code, ValueError, value, "'CnnPolicy'", shown=value == "'MlpPolcy'")
    yield _make("SAC.policy", "SAC('CnnPolicy', MyEnv)", UnsupportedSpaceError, "images", "'MlpPolicy'", shown=True)
    yield _make("SAC.policy", "SAC('MultiInputPolicy', MyEnv)", UnsupportedSpaceError, "Dict", "'MlpPolicy'")
    yield _make("SAC.env", "SAC('MlpPolicy')", TypeError, "needs an env", "'Pendulum-v1'", shown=True)
    for value in ("3", "True", "nan", "[]", "['Pendulum-v1']", "[MyEnv, 3]"):
        code = f"SAC('MlpPolicy', {value})"
        yield _make("SAC.env", code, TypeError, "env: received", "a factory", shown=value == "['Pendulum-v1']")
    yield _make(
        "SAC.env", "SAC('MlpPolicy', DiscreteEnv)", UnsupportedSpaceError, "Discrete(2)", "continuous", shown=True
    )
    yield _make(
        "SAC.env", "SAC('MlpPolicy', UnboundedEnv)", UnsupportedSpaceError, "finite", "RescaleAction", shown=True
    )
    yield _make("SAC.n_envs", "SAC('MlpPolicy', MyEnv(), n_envs=4)", ValueError, "n_envs=4", "factory", shown=True)
    for value in ("3", "{'gamma': 0.9}", "SACConfig"):
        yield _make("SAC.config", f"SAC('MlpPolicy', MyEnv, {value})", TypeError, "config", "SACConfig")
    yield _make("SAC.eval_env", "SAC('MlpPolicy', MyEnv, eval_env=3)", TypeError, "received 3", "a factory")
    yield _make("SAC.eval_env", "SAC('MlpPolicy', MyEnv, eval_env='Pendulum-v1')", ValueError, "eval_env", "the same")
    code = "env = MyEnv(); SAC('MlpPolicy', env, eval_env=env)"
    yield _make("SAC.eval_env", code, ValueError, "eval_env", "trained on", shown=True)
    for value, error in (("-1", ValueError), ("'1'", TypeError), ("None", TypeError), ("1.5", TypeError)):
        yield _make("SAC.verbose", f"SAC('MlpPolicy', MyEnv, verbose={value})", error, "verbose", value.strip("'"))
    for value in ("'tpu'", "'CPU'", "'cuda:x'", "''", "'cuda:99'"):
        code = f"SAC('MlpPolicy', MyEnv, device={value})"
        yield _make("SAC.device", code, ValueError, f"device={value}", "cpu", shown=value == "'tpu'")
    for value, word in (("'nothing.zip'", "nothing.zip"), ("'zoo:sac/Pendulum-v9'", "sac/Pendulum-v9")):
        yield _make("SAC.start_policy", f"SAC('MlpPolicy', MyEnv, start_policy={value})", FileNotFoundError, word)
    code = "SAC('MlpPolicy', MyEnv, start_policy=other, policy_kwargs={'hidden_sizes': [8]})"
    words = ("actor/trunk/0/weight", "[2, 9]", "[2, 8]")
    yield _make("SAC.start_policy", code, ValueError, *words, shown=True)
    code = "SAC('MlpPolicy', MyEnv, start_policy='agent.zip', start_policy_parts=['buffer'], **small)"
    yield _make("SAC.start_policy_parts", code, ValueError, "replay_buffer=True", shown=True)


def _policy_kwargs() -> Iterator[Case]:
    def case(key: str, value: str, *words: str, error: type[Exception] = ValueError, shown: bool = False) -> Case:
        code = f"SAC('MlpPolicy', MyEnv, policy_kwargs={{'{key}': {value}}})"
        return Case("policy_kwargs", f"policy_kwargs.{key}", code, error, ("policy_kwargs", key, *words), shown)

    sizes = (
        "0",
        "64",
        "'64'",
        "[]",
        "[0]",
        "[-8]",
        "[8.5]",
        "[8.0]",
        "[True]",
        "['8']",
        "[nan]",
        "[[8]]",
        "None",
        "True",
    )
    for value in sizes:
        yield case("hidden_sizes", value, value, "at least one positive width", shown=value == "[0]")
    yield case("hidden_sizes", "np.array([8.0])", "array([8.])", "whole number")
    yield case("hidden_sizes", "{'actor': []}", "hidden_sizes['actor']=[]", "at least one")
    yield case("hidden_sizes", "{'actr': [8]}", "'actr'", "['actor', 'critic']", shown=True)
    for key in ("activation", "output_activation"):
        for value in ("'rellu'", "3", "True", "''", "nn.ReLU()", "[nn.ReLU]", "lambda x: x", "{'actor': 'x'}"):
            yield case(key, value, "'ReLU'", shown=key == "activation" and value == "'rellu'")
        for value in ("nn.Linear", "nn.GLU", "nn.LSTM", "nn.Module", "nn.Threshold", "nn.Flatten", "nn.Softmax2d"):
            if value != "nn.Flatten":  # of a batch of vectors it is the identity
                yield case(key, value, "keeps shapes")
        yield case(key, "{'aktor': 'ReLU'}", "'aktor'", "['actor', 'critic']")
    yield case("activation", "nn.PReLU", "parameter", "share")
    for value in ("0", "-1", "1.5", "True", "None", "nan", "'2'", "[2]"):
        yield case("n_critics", value, f"n_critics={value}", "at least 1", shown=value == "0")
    for value in ("1", "None", "'yes'", "nan", "[]"):
        yield case("normalize_observations", value, value, "True or False")
    for value in ("True", "False", "3"):
        yield case("lyapunov", value, "the agent says it", error=TypeError)
    code = "LAC('MlpPolicy', MyEnv, policy_kwargs={'output_activation': {'critic': 'Tanh'}})"
    yield Case("policy_kwargs", "policy_kwargs.output_activation", code, ValueError, ("'critic'", "['actor']"))
    for key, word in (
        ("net_arch", "hidden_sizes"),
        ("activation_fn", "activation"),
        ("hiden_sizes", "did you mean 'hidden_sizes'?"),
        ("use_sde", "policy='GSDEPolicy'"),
        ("log_std_init", "GSDEPolicy"),
        ("optimizer_class", "Adam"),
        ("normalize_images", "255"),
        ("cnn_layers", "CnnPolicy"),
        ("xyz", "allowed are hidden_sizes"),
    ):
        yield case(key, "1", f"no keyword {key!r}", word, error=TypeError, shown=key in ("net_arch", "hiden_sizes"))

    def image(key: str, value: str, *words: str, error: type[Exception] = ValueError, shown: bool = False) -> Case:
        code = f"SAC('CnnPolicy', ImageEnv, policy_kwargs={{'{key}': {value}}})"
        return Case("policy_kwargs", f"policy_kwargs.{key}", code, error, ("policy_kwargs", key, *words), shown)

    layers = ("[]", "3", "'x'", "None", "True", "[8]", "[(8, 3)]", "[(8, 3, 0)]", "[(8.5, 3, 2)]", "[(True, 3, 2)]")
    for value in layers:
        yield image("cnn_layers", value, value, "(channels, kernel, stride)")
    yield image("cnn_layers", "[(8, 30, 2)]", "30x30", "16x16", "smaller kernels", shown=True)
    for value in ("0", "-1", "1.5", "True", "None", "'x'"):
        yield image("cnn_features", f"{value}, 'cnn_layers': [(8, 3, 2)]", f"cnn_features={value}", "at least 1")
    for value in ("'frist'", "1", "True", "''"):
        yield image("channels", f"{value}, 'cnn_layers': [(8, 3, 2)]", f"channels={value}", "'first', 'last' and None")
    for value in ("1", "None", "'x'"):
        yield image("share_encoder", value, value, "True or False")
    for value in ("3", "'x'", "True"):
        yield image("encoder", value, value, "class that makes encoders")
    yield image("encoder", "nn.Linear", "can't be called", "out_features", error=TypeError)
    yield image("encoder", "nn.Softmax", "n_features", error=TypeError)
    for value in ("3", "'x'", "[1]"):
        yield image("encoder_kwargs", f"{value}, 'encoder': nn.Linear", value, "dictionary")
    yield image("encoder_kwargs", "{'a': 1}", "without an encoder", "cnn_layers")
    yield image("encoder_kwargs", "{'x': 1}, 'encoder': nn.Linear", "can't be called", "'x'", error=TypeError)


def _logger_kwargs() -> Iterator[Case]:
    for key, value, error, word in (
        ("output_dri", "'runs'", TypeError, "did you mean 'output_dir'?"),
        ("output_dir", "3", TypeError, "got 3"),
        ("output_dir", "True", TypeError, "got True"),
        ("output_dir", "''", ConfigError, "must not be empty"),
        ("exp_name", "3", TypeError, "got 3"),
        ("exp_name", "'../x'", ConfigError, "inside output_dir"),
        ("exp_name", "''", ConfigError, "must not be empty"),
        ("sinks", "'csv'", TypeError, "write sinks=['csv']"),
        ("sinks", "['cvs']", ConfigError, "did you mean 'csv'?"),
        ("sinks", "[3]", TypeError, "csv, tensorboard, wandb"),
        ("sinks", "None", TypeError, "list of names"),
        ("sinks", "['tensorboard']", ConfigError, "output_dir is None"),
        ("verbose", "-1", ConfigError, "got -1"),
        ("verbose", "'x'", TypeError, "got 'x'"),
        ("verbose", "None", TypeError, "integer"),
    ):
        code = f"SACConfig(logger_kwargs={{'{key}': {value}}})"
        shown = value in ("'runs'", "['cvs']", "['tensorboard']")
        yield Case("logger_kwargs", f"logger_kwargs.{key}", code, error, (key, word), shown)
    code = "SAC('MlpPolicy', MyEnv, logger_kwargs={'output_dir': 'agent.zip'}, **small).learn(20)"
    yield Case("logger_kwargs", "logger_kwargs.output_dir", code, FileExistsError, ("output_dir", "agent.zip"), True)
    code = "SAC('MlpPolicy', MyEnv, logger_kwargs={'output_dir': 'used'}, **small).learn(20)"
    words = ("agent.zip", "another output_dir")
    yield Case("logger_kwargs", "logger_kwargs.output_dir", code, FileExistsError, words)


# -- methods -----------------------------------------------------------------------------------------------------------


def _method(
    name: str, arguments: str, error: type[Exception], *words: str, shown: bool = False, of: str = "model"
) -> Case:
    argument = arguments.split("=")[0] if re.match(r"\w+=", arguments) else ""
    return Case("Methods", f"{name}.{argument}", f"{of}.{name}({arguments})", error, words, shown)


def _methods() -> Iterator[Case]:
    for value in ("0", "-1", "1.5", "True", "'100'", "nan", "inf", "[]", "-0.0", "np.array([1, 2])"):
        yield _method(
            "learn", f"total_timesteps={value}", ValueError, "total_timesteps=", "at least 1", shown=value == "'100'"
        )
    for value in ("0", "-1", "1.5", "True", "None", "'x'", "nan"):
        yield _method(
            "learn", f"log_interval={value}, total_timesteps=20", ValueError, f"log_interval={value}", "at least 1"
        )
    for value in ("3", "'x'", "Callback", "[3]", "{'a': 1}", "True", "nan"):
        code = f"callback={value}, total_timesteps=20"
        yield _method("learn", code, TypeError, "callback", "a function f(model)", shown=value == "Callback")
    for key in ("progress_bar", "reset_num_timesteps"):
        for value in ("3", "None", "'False'"):
            yield _method("learn", f"{key}={value}", TypeError, f"{key}={value}", "True or False")
    yield _method("learn", "tb_log_name='x'", TypeError, "tb_log_name")
    yield _method("learn", "20, StopTrainingOnRewardThreshold(1.0)", ValueError, "EvalCallback", of="other")
    yield _method("learn", "20, ExportCallback('policy', 'onxx')", ValueError, "'onxx'", "torchscript", of="other")
    yield _method("learn", "20, lambda model: model.learn(5)", RuntimeError, "not from a callback", of="other")
    yield _method("learn", "20", ValueError, "no environment", "set_env", of="loaded", shown=True)
    yield _method("resume", "", NotResumableError, "no interrupted run", "learn", of="dict_model", shown=True)
    yield _method("resume", "callback=3", NotResumableError, "no interrupted run", of="dict_model")
    for value in ("3", "'x'", "None"):
        yield _method("resume", f"progress_bar={value}", TypeError, f"progress_bar={value}", "True or False")
    for value in ("None", "3", "[]", "[1]", "[1, 2, 3]", "np.zeros((3, 4))"):
        yield _method("predict", f"observation={value}", ValueError, "observation", "(2,)", shown=value == "[1, 2, 3]")
    for value in ("'x'", "['a', 'b']", "['1', '2']", "[1j, 0]", "[[1, 2], [1]]", "[object(), 0]"):
        code = f"observation={value}"
        yield _method("predict", code, ValueError, "observation", "numbers", "(2,)", shown=value == "['a', 'b']")
    yield _method("predict", "observation={'a': [0, 0]}", ValueError, "mapping", "(2,)")
    for value in ("[nan, 0]", "[inf, 0]", "[None, 0]", "[1e300, 0]"):
        yield _method(
            "predict", f"observation={value}", NonFiniteError, "observation", "not finite", shown=value == "[nan, 0]"
        )
    code = "observation=[[0, 0], [0, nan]]"
    yield _method("predict", code, NonFiniteError, "observation 1 of the batch", "nan", shown=True)
    good = "{'image': np.zeros((2, 2), np.uint8), 'speed': [0, 0]"
    for value, error, words, shown in (
        ("[0, 0]", ValueError, ("mapping", "['image', 'speed']"), True),
        ("{'speed': [0, 0]}", ValueError, ("['speed']", "['image', 'speed']"), False),
        (good + ", 'speed': [nan, 0]}", NonFiniteError, ("key 'speed'", "nan"), True),
        (good + ", 'speed': [0, 0, 0]}", ValueError, ("'speed': (3,)", "'speed': (2,)"), False),
        (good + ", 'speed': 'x'}", ValueError, ("observation 'speed'", "numbers"), False),
        (good + ", 'image': np.full((2, 2), 0.5)}", ValueError, ("observation 'image'", "0 to 255", "unscaled"), True),
    ):
        yield _method("predict", f"observation={value}", error, *words, shown=shown, of="dict_model")
    for value in ("3", "'x'", "None"):
        yield _method(
            "predict", f"observation=[0, 0], deterministic={value}", TypeError, f"deterministic={value}", "True or"
        )
    for value, error in (
        ("None", TypeError),
        ("3", TypeError),
        ("True", TypeError),
        ("b'x'", TypeError),
        ("''", ValueError),
    ):
        yield _method("save", f"path={value}", error, f"path={value}", "path", shown=value == "3")
        yield _method("export", f"path={value}", error, f"path={value}", "path")
        yield Case("Files", "load.path", f"SAC.load({value})", error, (f"path={value}", "path"))
        yield Case("Files", "load.path", f"load({value})", error, (f"path={value}", "path"))
    for value in ("'x'", "3", "None"):
        for flag in ("replay_buffer", "progress_bar"):
            yield _method("save", f"path='t.zip', {flag}={value}", TypeError, f"{flag}={value}", "True or False")
    for value in ("'tflite'", "3", "'TorchScript'"):
        shown = value == "'tflite'"
        yield _method(
            "export", f"path='policy', format={value}", ValueError, f"format={value}", "torchscript", shown=shown
        )
    yield _method("export", "path='policy.onxx'", ValueError, "'policy.onxx'", "torchscript (.pt)", shown=True)
    for value in ("None", "3", "[1]", "'x'"):
        yield _method(
            "set_parameters", f"parameters={value}", TypeError, "parameters: received", "dictionary of arrays"
        )
    for change, error, words, shown in (
        ("weight: parameters[weight] * nan", NonFiniteError, ("actor/trunk/0/weight", "NaN", "Nothing"), True),
        ("weight: parameters[weight][:1]", ValueError, ("[1, 8]", "[2, 8]"), False),
        ("weight: parameters[weight].astype(int)", ValueError, ("int64", "float32"), False),
        ("weight: parameters[weight] * 1j", ValueError, ("complex64", "float32"), False),
        ("weight: 'x'", ValueError, ("actor/trunk/0/weight",), False),
        ("weight: None", ValueError, ("actor/trunk/0/weight",), False),
        ("'x': 1", ValueError, ("'x'", "none of that name"), False),
    ):
        yield _method("set_parameters", f"{{**parameters, {change}}}", error, *words, shown=shown)
    yield _method("set_parameters", "{}", ValueError, "actor/trunk/0/weight", "missing", shown=True)
    yield _method("get_parameters", "3", TypeError, "positional")
    yield _method("get_env", "3", TypeError, "positional")
    for value in ("None", "3", "[]", "True"):
        yield _method("set_env", f"env={value}", TypeError, "env: received", "a factory")
    yield _method("set_env", "env='Pendulum-v1'", ValueError, "observation space", "the same")
    for value in ("0", "-1", "1.5", "True", "None", "nan", "'3'"):
        yield _method("evaluate", f"n_episodes={value}", ValueError, f"n_episodes={value}", "at least 1")
    for value in ("-1", "1.5", "True", "'x'", "nan"):
        yield _method("evaluate", f"seed={value}", ValueError, f"seed={value}", "at least 0")
    for value in ("3", "'x'", "None"):
        yield _method("evaluate", f"deterministic={value}", TypeError, f"deterministic={value}", "True or False")
    yield _method("evaluate", "env=3", TypeError, "received 3", "a factory")
    yield _method("evaluate", "env='Pendulum-v1'", ValueError, "observation space", "the same")
    yield _method("evaluate", "", ValueError, "no environment to evaluate in", of="loaded")


# -- files -------------------------------------------------------------------------------------------------------------


def _archives() -> Iterator[Case]:
    for about, code, error, words, shown in (
        ("path", "load('nothing')", FileNotFoundError, ("nothing", "nothing.zip"), True),
        ("path", "load('folder')", ArchiveError, ("folder", "agent.zip", "run's folder"), True),
        ("path", "load('foreign.zip')", ArchiveError, ("foreign.zip", "not a zip file"), True),
        ("path", "load('cut.zip')", ArchiveError, ("cut.zip", "cut short"), True),
        ("path", "load('damaged.zip')", ArchiveError, ("damaged.zip", "another copy"), True),
        ("path", "load('newer.zip')", ArchiveError, ("version 99", "Upgrade"), True),
        ("path", "load('td3.zip')", ArchiveError, ("'TD3'", "SAC, LAC"), False),
        ("path", "SAC.load('td3.zip')", ArchiveError, ("'TD3'", "own load"), True),
        ("path", "load('code.zip')", UntrustedCodeError, ("lr_a", "trust=True"), True),
        ("trust", "load('agent.zip', trust='no')", TypeError, ("trust='no'", "True or False"), True),
        ("progress_bar", "load('agent.zip', progress_bar=1)", TypeError, ("progress_bar=1", "True or False"), False),
        ("trust", "SAC.load('agent.zip', trust=1)", TypeError, ("trust=1", "True or False"), False),
        ("env", "load('agent.zip', 3)", TypeError, ("received 3", "a factory"), False),
        ("env", "load('agent.zip', 'Pendulum-v1')", ValueError, ("observation space", "the same"), True),
        ("eval_env", "load('agent.zip', eval_env='Pendulum-v1')", ValueError, ("eval_env", "the same"), False),
        ("device", "load('agent.zip', device='tpu')", ValueError, ("device='tpu'", "cpu"), False),
        ("device", "load('agent.zip', device=3)", ConfigError, ("device=3", "text"), False),
        ("verbose", "load('agent.zip', verbose='x')", TypeError, ("verbose", "'x'"), False),
        ("backend", "load('agent.zip', backend='torch')", ValueError, ("backend='torch'", "'pytorch', 'tf2'"), True),
        ("overrides", "load('agent.zip', lerning_rate=1.0)", TypeError, ("lerning_rate", "lr_a"), True),
        ("overrides", "load('agent.zip', gamma=7)", ConfigError, ("gamma=7", "1"), False),
        ("overrides", "load('agent.zip', custom_objects={})", TypeError, ("custom_objects", "leave it out"), False),
        ("overrides", "load('agent.zip', start_policy='x')", TypeError, ("start_policy", "the file says"), False),
        (
            "overrides",
            "load('agent.zip', policy_kwargs={'hidden_sizes': [9]})",
            ArchiveError,
            ("[2, 8]", "[2, 9]"),
            False,
        ),
        ("overrides", "load('full.zip', replay_size=10)", ArchiveError, ("20 transitions", "replay_size to 20"), True),
    ):
        yield Case("Files", f"load.{about}", code, error, words, shown)


def _zoo() -> Iterator[Case]:
    for code, error, words, shown in (
        ("zoo.make('sax', 'Pendulum-v1')", ValueError, ("algo='sax'", "sac"), True),
        ("zoo.make(3, 'Pendulum-v1')", ValueError, ("algo=3", "sac"), False),
        ("zoo.make('sac', 'Pendulum-v9')", FileNotFoundError, ("sac/Pendulum-v9", "did you mean"), True),
        ("zoo.make('sac', 3)", TypeError, ("env_id=3", "Pendulum-v1"), False),
        ("zoo.make('sac', 'Pendulum-v1', gama=0.9)", TypeError, ("gama", "gamma"), False),
        ("zoo.make('sac', 'Pendulum-v1', gamma=7)", ConfigError, ("gamma=7",), False),
        ("zoo.make('sac', 'Pendulum-v1', seed=-1)", ConfigError, ("seed=-1",), False),
        ("zoo.make('sac', 'Pendulum-v1', policy='x')", ValueError, ("policy='x'", "MlpPolicy"), False),
        ("zoo.make('sac', 'Pendulum-v1', env=DiscreteEnv)", UnsupportedSpaceError, ("Discrete(2)",), False),
        ("zoo.load_agent('sac', 'Pendulum-v9')", FileNotFoundError, ("sac/Pendulum-v9",), False),
        ("zoo.load_agent(3, 'Pendulum-v1')", TypeError, ("algo=3", "name"), False),
        ("zoo.agent_path('sac', '../x')", FileNotFoundError, ("sac/../x",), False),
        ("zoo.load_config('sax', 'Pendulum-v1')", FileNotFoundError, ("sax/Pendulum-v1", "sac/Pendulum-v1"), False),
        ("zoo.load_config('sac', 'Pendulum-v1', gamma='x')", ConfigError, ("gamma='x'", "number"), False),
        ("zoo.config_path('sac', None)", TypeError, ("env_id=None", "name"), False),
        (
            "zoo.load_config_file('nothing.yaml', SACConfig)",
            FileNotFoundError,
            ("nothing.yaml", "check the path"),
            False,
        ),
        ("zoo.load_config_file(None, SACConfig)", TypeError, ("path=None",), False),
        ("zoo.load_config_file('folder', SACConfig)", ConfigError, ("folder", "YAML"), False),
        ("zoo.load_config_file('agent.zip', SACConfig)", ConfigError, ("agent.zip", "UTF-8"), False),
        ("zoo.load_config_file('settings.yaml', SACConfig)", ConfigError, ("settings.yaml:2", "gamma=7"), True),
        ("zoo.load_config_file('list.yaml', SACConfig)", ConfigError, ("list.yaml:1", "key: value"), False),
        ("zoo.load_config_file('evil.yaml', SACConfig)", ConfigError, ("evil.yaml:1", "tags"), True),
        ("zoo.load_config_file('heir.yaml', SACConfig)", ConfigError, ("heir.yaml:2", "'zoo:sac/default'"), True),
        ("zoo.load_config_file('expression.yaml', SACConfig)", ConfigError, ("{type: linear", "Nothing"), True),
        ("zoo.load_config_file('zoo:sac/x', SACConfig)", FileNotFoundError, ("'sac/x'", "sac/Pendulum-v1"), False),
        ("zoo.make('sac', 'x', settings='defualt')", FileNotFoundError, ("'sac/defualt'", "sac/default"), False),
        ("zoo.make('sac', 'x', settings=3)", TypeError, ("3", "name"), False),
        ("zoo.agent_manifest('sac', 'Pendulum-v9')", FileNotFoundError, ("sac/Pendulum-v9",), False),
        ("zoo.pack_agent('nothing', 'x')", FileNotFoundError, ("nothing.zip", "check the path"), False),
        ("zoo.pack_agent(3, 'x')", TypeError, ("source", "received 3"), False),
        ("zoo.pack_agent('agent.zip', 3)", TypeError, ("path=3",), False),
        ("zoo.pack_agent('agent.zip', 'x')", ConfigError, ("env=None", "give one"), True),
        ("zoo.pack_agent('agent.zip', 'agent.zip')", ConfigError, ("'agent.zip'", "would be lost"), False),
        ("zoo.pack_agent('agent.zip', 'x', env=MyEnv, episodes=0)", ValueError, ("episodes=0", "at least 1"), False),
        ("zoo.pack_agent('agent.zip', 'x', env=MyEnv, seed=-1)", ValueError, ("seed=-1", "at least 0"), False),
        ("zoo.pack_agent('agent.zip', 'x', env=3)", TypeError, ("received 3", "a factory"), False),
        ("zoo.pack_agent('code.zip', 'x', env=MyEnv)", UntrustedCodeError, ("lr_a", "trust=True"), False),
    ):
        yield Case("The zoo and its files", f"zoo.{code[4:].split('(')[0]}", code, error, words, shown)


# -- parts -------------------------------------------------------------------------------------------------------------


def _schedulers() -> Iterator[Case]:
    for call, argument in (
        ("ConstantScheduler({})", "value"),
        ("LinearScheduler({}, 1)", "initial"),
        ("LinearScheduler(1, {})", "final"),
        ("ExponentialScheduler({}, 1)", "initial"),
        ("ExponentialScheduler(1, {})", "final"),
    ):
        name = call.split("(")[0]
        for value in ("True", "None", "'x'", "nan", "inf", "np.array([1.0])", "10**400"):
            code = call.format(value)
            yield Case("Parts", f"{name}.{argument}", code, ConfigError, (f"{argument}=", "must be a finite number"))
        shown = name == "LinearScheduler" and argument == "final"
        yield Case("Parts", f"{name}.{argument}", call.format(-1), ConfigError, (f"{argument}=-1", "must be >"), shown)
    yield Case(
        "Parts", "ExponentialScheduler.final", "ExponentialScheduler(1, 0)", ConfigError, ("final=0", "> 0"), True
    )
    for scheduler in ("ConstantScheduler(1)", "LinearScheduler(1, 0)", "ExponentialScheduler(1, 2)"):
        for value in ("'x'", "None", "nan", "-1", "2"):
            words = (f"progress={value}", "at least 0 and of at most 1")
            yield Case("Parts", "Scheduler.progress", f"{scheduler}({value})", ValueError, words)
    yield Case("Parts", "make_scheduler", "make_scheduler('cosine', 1, 0)", ConfigError, ("'cosine'", "'linear'"))


def _buffers() -> Iterator[Case]:
    def make(argument: str, code: str, *words: str, error: type[Exception] = ValueError, shown: bool = False) -> Case:
        return Case("Parts", f"ReplayBuffer.{argument}", f"ReplayBuffer({code})", error, words, shown)

    for value in ("0", "-1", "1.5", "True", "None", "'x'", "nan"):
        yield make("capacity", f"{value}, box, actions", f"capacity={value}", "at least 1")
        yield make("n_envs", f"10, box, actions, n_envs={value}", f"n_envs={value}", "at least 1")
    yield make("capacity", "10**12, box, actions", "capacity=1000000000000", "2147483647")
    yield make("n_envs", "10, box, actions, n_envs=20", "n_envs=20", "fewer envs")
    yield make("observation_space", "10, None, actions", "received None", "Box", error=UnsupportedSpaceError)
    for value in ("None", "gymnasium.spaces.Discrete(2)"):
        yield make("action_space", f"10, box, {value}", "action_space", "Box", error=UnsupportedSpaceError)
    for value in ("2", "-0.1", "nan", "'x'", "True", "None"):
        yield make("gamma", f"10, box, actions, gamma={value}", f"gamma={value}", "at most 1")
    for value in ("-1", "1.5", "True", "'x'"):
        yield make("seed", f"10, box, actions, seed={value}", f"seed={value}", "at least 0")

    def add(argument: str, value: str, *words: str, error: type[Exception] = ValueError, shown: bool = False) -> Case:
        code = f"buffer.add(**{{**step, '{argument}': {value}}})"
        return Case("Parts", f"ReplayBuffer.add.{argument}", code, error, (argument, *words), shown)

    for argument, width in (("observation", 3), ("next_observation", 3), ("action", 1)):
        for value in ("None", "3", "'x'", "np.zeros(7)"):
            yield add(argument, value, "shape", f"(2, {width})", shown=argument == "action" and value == "3")
        yield add(argument, f"np.full((2, {width}), nan)", "environment 0", "not finite", error=NonFiniteError)
        yield add(argument, f"np.full((2, {width}), 1e300)", "environment 0", "not finite", error=NonFiniteError)
        yield add(argument, f"np.zeros((2, {width}), complex)", "complex128", "numbers")
    yield add("observation", "{'a': 1}", "dict", "Box")
    yield add(
        "reward", "[0.0, nan]", "environment 1", "not finite", "Nothing was stored", error=NonFiniteError, shown=True
    )
    yield add("reward", "[-inf, 0.0]", "environment 0", "not finite", error=NonFiniteError)
    yield add("reward", "['a', 'b']", "numbers")
    yield add("reward", "0.0", "(2,)")
    for argument in ("terminated", "truncated", "valid"):
        for value in ("[2, 0]", "[0.5, 0]", "[nan, 0]"):
            yield add(argument, value, "True or False")
        yield add(argument, "['x', '']", "numbers")
        yield add(argument, "True", "(2,)")
    for value in ("0", "-1", "1.5", "True", "None", "'x'", "nan", "[2]"):
        words = (f"batch_size={value}", "at least 1")
        yield Case("Parts", "ReplayBuffer.sample", f"buffer.sample({value})", ValueError, words)
    for value in ("0", "-1", "1.5", "True", "None", "'3'", "nan"):
        code = f"FiniteHorizonReplayBuffer(10, box, actions, horizon_length={value})"
        words = (f"horizon_length={value}", "at least 1")
        yield Case("Parts", "FiniteHorizonReplayBuffer.horizon_length", code, ValueError, words)
    code = "FiniteHorizonReplayBuffer(10, box, actions, 3, horizon_length=4)"
    words = ("capacity=10", "12", "replay_size")
    yield Case("Parts", "FiniteHorizonReplayBuffer.horizon_length", code, ValueError, words, True)
    code = "ReplayBuffer(10, box, actions).sample(1)"
    yield Case("Parts", "ReplayBuffer.sample", code, ValueError, ("empty", "add some first"), True)
    for value in ("None", "3"):
        words = ("received", "state_dict()")
        yield Case("Parts", "ReplayBuffer.load_state_dict", f"buffer.load_state_dict({value})", TypeError, words)


def _callbacks() -> Iterator[Case]:
    def case(about: str, code: str, error: type[Exception], *words: str, shown: bool = False) -> Case:
        return Case("Callbacks", about, code, error, (about.split(".")[1], *words), shown)

    for value in ("0", "-1", "True", "1.5", "None", "'x'", "nan"):
        for name, argument, code in (
            ("EvalCallback", "eval_freq", "EvalCallback(MyEnv, eval_freq={})"),
            ("EvalCallback", "n_eval_episodes", "EvalCallback(MyEnv, n_eval_episodes={})"),
            ("CheckpointCallback", "save_freq", "CheckpointCallback({}, 'runs')"),
            ("HistogramCallback", "every", "HistogramCallback({})"),
            ("HistogramCallback", "n_samples", "HistogramCallback(n_samples={})"),
            ("VideoCallback", "video_freq", "VideoCallback(MyEnv, 'runs', {})"),
            ("VideoCallback", "n_episodes", "VideoCallback(MyEnv, 'runs', n_episodes={})"),
            ("EveryNTimesteps", "n_steps", "EveryNTimesteps({}, print)"),
            ("StopTrainingOnMaxEpisodes", "max_episodes", "StopTrainingOnMaxEpisodes({})"),
        ):
            if (argument, value) == ("save_freq", "None"):
                continue  # checkpoints by time alone
            words = (f"{name}: {argument}={value}", "at least 1")
            shown = value == "0" and name == "EvalCallback"
            yield case(f"{name}.{argument}", code.format(value), ValueError, *words, shown=shown)
    for value in ("0", "-1", "True", "1.5", "'x'"):
        code = f"CheckpointCallback(10, 'runs', keep={value})"
        yield case("CheckpointCallback.keep", code, ValueError, f"keep={value}", "at least 1")
    yield case("CheckpointCallback.save_freq", "CheckpointCallback(None, 'runs')", ValueError, "every_seconds=None")
    for value in ("-1", "True", "'x'", "nan"):
        code = f"CheckpointCallback(10, 'runs', every_seconds={value})"
        yield case("CheckpointCallback.every_seconds", code, ValueError, f"every_seconds={value}", "at least 0")
    for value in ("0", "True", "'x'", "nan"):
        code = f"VideoCallback(MyEnv, 'runs', fps={value})"
        yield case("VideoCallback.fps", code, ValueError, f"fps={value}", "at least 0.1")
    for value, error in (("'weights'", TypeError), ("3", TypeError), ("['weigths']", ValueError), ("[]", ValueError)):
        code = f"HistogramCallback(what={value})"
        yield case("HistogramCallback.what", code, error, f"what={value}", "weights")
    for value, error in (("3", TypeError), ("'avi'", ValueError)):
        yield case("VideoCallback.format", f"VideoCallback(MyEnv, 'runs', format={value})", error, value.strip("'"))
    yield case("VideoCallback.name_prefix", "VideoCallback(MyEnv, 'runs', name_prefix=3)", TypeError, "text")
    yield case("VideoCallback.env", "VideoCallback(3, 'runs')", TypeError, "received 3", "factory")
    for argument, code in (
        ("max_no_improvement_evals", "StopTrainingOnNoModelImprovement({})"),
        ("min_evals", "StopTrainingOnNoModelImprovement(3, {})"),
    ):
        for value in ("-1", "True", "1.5", "None", "'x'", "nan"):
            words = (f"{argument}={value}", "at least 0")
            yield case(f"StopTrainingOnNoModelImprovement.{argument}", code.format(value), ValueError, *words)
    for value in ("None", "True", "'x'", "nan", "inf", "[1]"):
        code = f"StopTrainingOnRewardThreshold({value})"
        yield case("StopTrainingOnRewardThreshold.reward_threshold", code, ValueError, value, "finite number")
    for about, code in (
        ("EvalCallback.log_path", "EvalCallback(MyEnv, log_path=3)"),
        ("EvalCallback.best_model_save_path", "EvalCallback(MyEnv, best_model_save_path=3)"),
        ("CheckpointCallback.save_path", "CheckpointCallback(10, 3)"),
        ("CheckpointCallback.save_path", "CheckpointCallback(10, None)"),
        ("ExportCallback.path", "ExportCallback(3)"),
        ("VideoCallback.folder", "VideoCallback(MyEnv, 3)"),
    ):
        yield case(about, code, TypeError, "path is needed")
    for about, code in (
        ("EvalCallback.deterministic", "EvalCallback(MyEnv, deterministic='x')"),
        ("EvalCallback.figures", "EvalCallback(MyEnv, figures='x')"),
        ("CheckpointCallback.save_replay_buffer", "CheckpointCallback(10, 'runs', save_replay_buffer='x')"),
        ("CheckpointCallback.keep_best", "CheckpointCallback(10, 'runs', keep_best='x')"),
        ("VideoCallback.deterministic", "VideoCallback(MyEnv, 'runs', deterministic='x')"),
    ):
        yield case(about, code, TypeError, "'x'", "True or False")
    for value in ("3", "None"):
        yield case(
            "CheckpointCallback.name_prefix", f"CheckpointCallback(10, 'runs', {value})", TypeError, value, "text"
        )
    for value in ("None", "3"):
        code = f"EvalCallback({value})"
        yield Case("Callbacks", "EvalCallback.eval_env", code, TypeError, (f"received {value}", "factory"))
    for argument in ("callback_on_new_best", "callback_after_eval"):
        code = f"EvalCallback(MyEnv, {argument}=3)"
        yield Case("Callbacks", f"EvalCallback.{argument}", code, TypeError, ("received 3", "f(model)"))
    yield Case("Callbacks", "ExportCallback.format", "ExportCallback('policy', 3)", TypeError, ("format=3", "name"))
    for value in ("3", "None", "'x'", "Callback"):
        yield case("CallbackList.callbacks", f"CallbackList({value})", TypeError, "list of callbacks")
    for value in ("3", "None", "Callback"):
        yield Case(
            "Callbacks", "EveryNTimesteps.callback", f"EveryNTimesteps(5, {value})", TypeError, ("callback", "function")
        )
        yield case("FunctionCallback.function", f"FunctionCallback({value})", TypeError, "f(model)")
        yield case("ForeignCallback.callback", f"ForeignCallback({value})", TypeError, "init_callback")
    yield case("ProgressBarCallback.console", "ProgressBarCallback(3)", TypeError, "rich.console.Console")
    yield Case("Callbacks", "Callback", "Callback().num_timesteps", RuntimeError, ("no model yet", "learn()"), True)
    code = "other.learn(20, EvalCallback('Pendulum-v1'))"
    yield Case("Callbacks", "EvalCallback.eval_env", code, ValueError, ("eval_env", "the same"), True)


def _evaluate_policy() -> Iterator[Case]:
    def case(argument: str, code: str, error: type[Exception], *words: str, shown: bool = False) -> Case:
        return Case("Parts", f"evaluate_policy.{argument}", f"evaluate_policy({code})", error, words, shown)

    for value in ("None", "3", "SAC", "object()"):
        yield case("model", f"{value}, MyEnv", TypeError, "model: received", "predict", shown=value == "SAC")
    yield case("model", "Says(([[nan]], None)), MyEnv", NonFiniteError, "environment 0", "nan", shown=True)
    for value in ("[[0, 0]]", "[0]", "None", "'x'", "[['a']]"):
        yield case("model", f"Says(({value}, None)), MyEnv", ValueError, "(1, 1)", "actions", shown=value == "[[0, 0]]")
    yield case("model", "Says([[0]]), MyEnv", TypeError, "tuple (actions, state)")
    yield case("env", "model, 3", TypeError, "received 3", "a factory")
    for argument, values, smallest in (
        ("n_eval_episodes", ("0", "-1", "1.5", "True", "None", "'3'", "nan"), 1),
        ("seed", ("-1", "1.5", "True", "'x'"), 0),
        ("max_ep_len", ("0", "-1", "1.5", "True", "'x'"), 1),
    ):
        for value in values:
            yield case(
                argument, f"model, MyEnv, {argument}={value}", ValueError, f"{argument}={value}", f"at least {smallest}"
            )
    for argument in ("deterministic", "return_episode_rewards"):
        for value in ("3", "'x'", "None"):
            yield case(argument, f"model, MyEnv, {argument}={value}", TypeError, f"{argument}={value}", "True or False")


def _evaluations() -> Iterator[Case]:
    """Of robustness, and of stability."""

    def case(function: str, argument: str, code: str, error: type[Exception], *words: str, shown: bool = False) -> Case:
        return Case("Parts", f"{function}.{argument}", f"{function}({code})", error, words, shown)

    name, short = "evaluate_robustness", "'action-bias', env=MyEnv, max_ep_len=3"
    yield case(name, "agents", f"3, {short}", TypeError, "received 3", "predict")
    yield case(name, "agents", f"'nothing', {short}", FileNotFoundError, "nothing.zip", "path")
    yield case(name, "agents", f"{{'a': model, 'b': dict_model}}, {short}", UnsupportedSpaceError, "b:", "the same")
    yield case(
        name, "agents", f"{{'a': model, 'b': LAC('MlpPolicy', MyEnv, **small)}}, {short}", ConfigError, "opt_type"
    )
    yield case(name, "disturbance", "model, 'wind', env=MyEnv", ValueError, "'wind'", "action-noise", shown=True)
    yield case(name, "disturbance", "model, 3, env=MyEnv", TypeError, "received 3", "a function")
    yield case(name, "sizes", f"model, {short}, sizes=[]", ValueError, "sizes=[]", "at least one")
    for value in ("nan", "'x'", "None"):
        yield case(name, "sizes", f"model, {short}, sizes=[{value}]", ValueError, f"sizes={value}", "finite number")
    no_limit = "the environment's episodes have no limit", "--max-ep-len"
    yield case(name, "max_ep_len", "model, 'action-bias', env=MyEnv", ConfigError, *no_limit)
    yield case(name, "env", "model, 'action-bias'", ConfigError, "env=None", "id or a factory")
    yield case(name, "opt_type", f"model, {short}, opt_type='min'", ValueError, "opt_type='min'", "'minimize'")
    yield case(name, "trust", f"'code.zip', {short}", UntrustedCodeError, "trust=True")
    yield case(name, "device", f"'agent.zip', {short}, device='tpu'", ValueError, "device='tpu'", "cpu")
    yield case(name, "progress_bar", f"model, {short}, progress_bar=3", TypeError, "progress_bar=3", "True or False")
    of_lac, lac = "measure_stability", "LAC('MlpPolicy', MyEnv, **small)"
    yield case(of_lac, "agent", "model, env=MyEnv", ConfigError, "class SAC", "no Lyapunov function", "LAC", shown=True)
    yield case(of_lac, "env", lac, ConfigError, "env=None", "id or a factory")
    yield case(
        of_lac, "steady_from", f"{lac}, env=MyEnv, max_ep_len=5, steady_from=5", ValueError, "steady_from=5", "1 to 4"
    )
    yield case(of_lac, "trust", "'code.zip', env=MyEnv", UntrustedCodeError, "trust=True")
    yield case(of_lac, "device", "'agent.zip', env=MyEnv, device='tpu'", ValueError, "device='tpu'", "cpu")
    for function, start in ((name, f"model, {short}"), (of_lac, f"{lac}, env=MyEnv, max_ep_len=3")):
        bare = start.replace(", max_ep_len=3", "")
        for argument, value, least in (("n_episodes", "0", 1), ("seed", "-1", 0), ("max_ep_len", "1.5", 1)):
            code = f"{bare if argument == 'max_ep_len' else start}, {argument}={value}"
            yield case(function, argument, code, ValueError, f"{argument}={value}", f"at least {least}")
        yield case(
            function, "deterministic", f"{start}, deterministic=3", TypeError, "deterministic=3", "True or False"
        )


# -- NaN and infinity --------------------------------------------------------------------------------------------------


def _non_finite() -> Iterator[Case]:
    for env, words in (
        ("MyEnv('reset')", ("observation", "reset()", "environment 0", "nan")),
        ("MyEnv('step')", ("observation", "step()", "environment 0", "after 2 steps", "nan")),
        ("MyEnv('step', inf)", ("observation", "step()", "environment 0", "after 2 steps", "inf")),
        ("MyEnv('step', key='speed')", ("observation 'speed'", "step()", "after 2 steps", "nan")),
        ("MyEnv('reset', key='speed')", ("observation 'speed'", "reset()", "nan")),
        ("MyEnv('reward')", ("reward", "environment 0", "after 2 steps", "nan")),
        ("MyEnv('reward', -inf)", ("reward", "environment 0", "after 2 steps", "-inf")),
    ):
        code = f"SAC('MlpPolicy', {env}, **small).learn(20)"
        yield Case("NaN and infinity", "learn", code, NonFiniteError, (*words, "keeps all that it has learned"), True)
    code = "SAC('MlpPolicy', [MyEnv, lambda: MyEnv('reward')], **small).learn(20)"
    yield Case("NaN and infinity", "learn", code, NonFiniteError, ("reward", "environment 1", "after 4 steps"), True)
    code = "SAC('MlpPolicy', MyEnv, **{**small, 'lr_a': 1e38, 'lr_c': 1e38, 'update_every': 1}).learn(20)"
    words = ("action", "environment 0", "at step 10", "train/actor_loss", "learning rates")
    yield Case("NaN and infinity", "learn", code, NonFiniteError, words, True)


# -- the command line --------------------------------------------------------------------------------------------------


def _commands() -> Iterator[Case]:
    train = "slc-agents train sac Pendulum-v1 "
    for line, code, words, shown in (
        ("slc-agents", 2, ("COMMAND",), False),
        ("slc-agents trian", 2, ("'trian'", "train"), True),
        ("slc-agents train sac", 2, ("ENV_ID",), False),
        ("slc-agents train sax Pendulum-v1", 2, ("'sax'", "sac"), False),
        (train + "--lr_a 1", 2, ("--lr_a", "--lr-a"), True),
        (train + "--learning-rate 1e-3", 2, ("--learning-rate", "--lr-a, --lr-c and --lr-alpha"), True),
        (train + "--use-sde", 2, ("--use-sde", "policy='GSDEPolicy'"), False),
        (train + "--action-noise 1", 2, ("--action-noise", "leave it out"), False),
        (train + "--gama 0.9", 2, ("--gama", "--gamma"), False),
        (train + "--gamma 7", 1, ("gamma=7", "1"), True),
        (train + "--lr-a x", 1, ("lr_a='x'", "finite number"), False),
        (train + "--epochs 1.5", 1, ("epochs=1.5", "integer"), False),
        (train + "--epochs", 2, ("--epochs", "argument"), False),
        (train + "--total-timesteps 0", 2, ("'0'", "at least 1"), True),
        (train + "--total-timesteps x", 2, ("'x'", "at least 1"), False),
        (train + "--eval-episodes -1", 2, ("'-1'", "at least 1"), False),
        (train + "--seed -1", 1, ("seed=-1", "0"), False),
        (train + "--device tpu", 1, ("device='tpu'", "cpu"), False),
        (train + "--config nothing.yaml", 1, ("nothing.yaml", "check the path"), False),
        (train + "--config settings.yaml", 1, ("settings.yaml:2", "gamma=7"), True),
        (train + "--out agent.zip", 1, ("--out agent.zip", "is a file"), False),
        (train + "--out used", 1, ("--out used", "another folder"), True),
        (train + "--policy-kwargs '{'", 2, ("'{'", "YAML"), False),
        (train + "--policy-kwargs '{hidden_sizes: [0]}'", 1, ("hidden_sizes=[0]", "positive"), False),
        (train + "--start-policy nothing", 1, ("nothing.zip", "path"), False),
        (train + "--opt-type min", 1, ("opt_type='min'", "'minimize'"), False),
        (train + "extra", 2, ("extra",), False),
        ("slc-agents evaluate", 2, ("RUN_OR_ARCHIVE",), False),
        ("slc-agents evaluate nothing", 1, ("nothing.zip", "path"), True),
        ("slc-agents evaluate foreign.zip", 1, ("foreign.zip", "zip"), False),
        ("slc-agents evaluate agent.zip", 1, ("--env ID",), True),
        ("slc-agents evaluate agent.zip --episodes 0", 2, ("'0'", "at least 1"), False),
        ("slc-agents evaluate agent.zip --seed -1", 2, ("'-1'", "at least 0"), False),
        ("slc-agents evaluate agent.zip --seed x", 2, ("'x'", "at least 0"), False),
        ("slc-agents evaluate agent.zip --env Pendulum-v1", 1, ("observation space",), False),
        ("slc-agents evaluate agent.zip --epsiodes 3", 2, ("--epsiodes", "--episodes"), False),
        ("slc-agents evaluate sac", 2, ("sac Pendulum-v1",), False),
        ("slc-agents evaluate sac Pendulum-v9", 1, ("sac/Pendulum-v9", "no pretrained agent"), True),
        ("slc-agents evaluate agent.zip Pendulum-v1", 2, ("Pendulum-v1", "'agent.zip'", "sac"), False),
        ("slc-agents robustness", 2, ("AGENT",), False),
        ("slc-agents robustness nothing", 1, ("nothing.zip", "path"), False),
        ("slc-agents robustness agent.zip", 1, ("env=None", "give its id"), False),
        ("slc-agents robustness agent.zip --sizes 0;1", 2, ("'0;1'", "0,0.5,1"), False),
        ("slc-agents robustness agent.zip --steps 5..1", 2, ("'5..1'", "1..5"), False),
        ("slc-agents robustness agent.zip --disturbance wind", 1, ("'wind'", "action-impulse"), False),
        ("slc-agents robustness sac/Pendulum-v1", 1, ("zoo:sac/Pendulum-v1",), True),
        ("slc-agents stability", 2, ("RUN_OR_ARCHIVE",), False),
        ("slc-agents stability zoo:sac/Pendulum-v1", 1, ("class SAC", "no Lyapunov function", "LAC"), False),
        ("slc-agents stability agent.zip --steady-from 0", 2, ("'0'", "at least 1"), False),
        ("slc-agents zoo", 2, ("ACTION",), False),
        ("slc-agents zoo show sac/Pendulum-v9", 1, ("sac/Pendulum-v9", "did you mean 'sac/Pendulum-v1'"), False),
        ("slc-agents zoo pack agent.zip", 1, ("env=None", "give one"), False),
        ("slc-agents plot", 2, ("RUN",), False),
        ("slc-agents plot nothing", 1, ("nothing", "progress.csv"), True),
        ("slc-agents plot folder", 1, ("folder", "progress.csv"), False),
        ("slc-agents plot agent.zip", 1, ("agent.zip", "progress.csv"), False),
    ):
        yield Case("The command line", line.partition(" ")[2].split(" ")[0], line, code, words, shown)


def _compute_kwargs() -> Iterator[Case]:
    for key, value, error, word in (
        ("precison", "'bfloat16'", TypeError, "did you mean 'precision'?"),
        ("threads", "2", TypeError, "here it is num_threads"),
        ("precision", "'float16'", ConfigError, "'float32', 'bfloat16'"),
        ("precision", "None", ConfigError, "'float32', 'bfloat16'"),
        ("num_threads", "0", ConfigError, "at least 1"),
        ("num_threads", "1.5", ConfigError, "at least 1"),
        ("matmul", "'mkl'", ConfigError, "'default', 'onednn'"),
        ("fused", "'no'", ConfigError, "True or False"),
        ("graphs", "'yes'", ConfigError, "True or False"),
        ("replay_on_device", "'cuda'", ConfigError, "True or False"),
    ):
        code = f"SACConfig(compute_kwargs={{'{key}': {value}}})"
        shown = value in ("'float16'",) or key == "threads"
        yield Case("compute_kwargs", f"compute_kwargs.{key}", code, error, (key, word), shown)
    code = "SACConfig(compute_kwargs={'precision': 'bfloat16', 'fused': False})"
    yield Case("compute_kwargs", "compute_kwargs.fused", code, ConfigError, ("'bfloat16'", "only fused networks"), True)


CASES: tuple[Case, ...] = (
    *_names(),
    *_fields(),
    *_fields_of_lac(),
    *_constructor(),
    *_policy_kwargs(),
    *_logger_kwargs(),
    *_compute_kwargs(),
    *_methods(),
    *_non_finite(),
    *_archives(),
    *_zoo(),
    *_schedulers(),
    *_buffers(),
    *_callbacks(),
    *_evaluate_policy(),
    *_evaluations(),
    *_commands(),
)
