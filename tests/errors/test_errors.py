"""Every wrong input of `error_cases.py` gives a clear error, nothing is lost by it, and nothing has no case."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import error_cases
import numpy as np
import pytest
from error_cases import CASES, SMALL, PushEnv

import slc_agents.callbacks as callbacks
from slc_agents import SAC, LACConfig, SACConfig, load
from slc_agents.buffers import ReplayBuffer
from slc_agents.compute import ComputeOptions
from slc_agents.errors import ArchiveError, NonFiniteError
from slc_agents.evaluation import evaluate_policy, evaluate_robustness, measure_stability
from slc_agents.logger import LOGGER_KEYS
from slc_agents.pytorch.policies import EncoderPolicy


@pytest.fixture(scope="module")
def names() -> Iterator[dict[str, Any]]:
    with error_cases.world() as known:
        yield known


def counters(model: Any) -> tuple[int, ...]:
    return model.num_timesteps, model.n_updates, model.num_episodes, len(model.replay_buffer)


@pytest.mark.parametrize("about", dict.fromkeys((case.group, case.about) for case in CASES), ids=": ".join)
def test_a_wrong_input_is_named_with_what_is_allowed(about: tuple[str, str], names: dict[str, Any]) -> None:
    for case in CASES:
        if (case.group, case.about) != about:
            continue
        kind, message = error_cases.provoke(case, names)
        if isinstance(kind, type) and isinstance(case.error, type):
            assert issubclass(kind, case.error), f"{case.code}: {kind.__name__}: {message}"
        else:
            assert kind == case.error, f"{case.code}: {message}"
        assert [word for word in case.words if word not in message] == [], f"{case.code}: {message}"
        assert "pydantic" not in message
        assert "Input should" not in message
        assert len(message) < 1000
        assert not isinstance(kind, int) or "\n" not in message, "a command says it in one line"


def test_nothing_is_lost(names: dict[str, Any]) -> None:
    model = names["model"]
    failing = [case for case in CASES if case.group == "Methods" and case.code.startswith("model.")]
    assert len(failing) > 80
    parameters, before = model.get_parameters(), counters(model)
    files = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for case in failing:
        error_cases.provoke(case, names)
        assert counters(model) == before, case.code
    after = model.get_parameters()
    assert all((after[name] == value).all() for name, value in parameters.items())
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == files
    action, _ = model.predict(np.zeros(2), deterministic=True)
    assert np.isfinite(action).all()
    model.learn(20)  # it can still train
    model.evaluate(1, env=lambda: names["gymnasium"].wrappers.TimeLimit(PushEnv(), 5))


def test_a_file_that_was_there_stays_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = SAC("MlpPolicy", PushEnv, **SMALL)
    path = tmp_path / "agent.zip"
    model.save(path)
    whole = path.read_bytes()
    monkeypatch.setattr(model._learner, "state_dict", lambda: {"broken": np.array([object()])})
    with pytest.raises(ArchiveError):
        model.save(path)
    assert path.read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["agent.zip"]
    load(path)


# -- NaN ---------------------------------------------------------------------------------------------------------------


def diverging(at: int) -> Any:
    """A callback that makes the actor's weights NaN at a step, as a gradient step that went wrong does."""

    def ruin(agent: Any) -> None:
        if agent.num_timesteps == at:
            agent.policy.actor.mean.bias.data.fill_(np.nan)

    return ruin


@pytest.mark.parametrize("start_steps", [0, 1000])
def test_divergence_shows_at_once_not_at_the_end_of_a_long_epoch(start_steps: int) -> None:
    model = SAC("MlpPolicy", PushEnv, **{**SMALL, "start_steps": start_steps, "steps_per_epoch": 10_000})
    with pytest.raises(NonFiniteError, match=r"action for environment 0 is not finite at step 1[25]"):
        model.learn(200, diverging(12))
    # While actions are random it is looked for after each block of gradient steps, here at every fifth step.
    assert model.num_timesteps == (15 if start_steps else 12)
    assert len(model.replay_buffer) == model.num_timesteps


def test_divergence_names_the_losses_and_comes_before_the_test_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SAC("MlpPolicy", PushEnv, **{**SMALL, "num_test_episodes": 1, "steps_per_epoch": 15})
    update, ruin = model._learner.update, diverging(15)

    def ruinous_update(memory: Any, n: int) -> None:
        ruin(model)
        update(memory, n)

    monkeypatch.setattr(model._learner, "update", ruinous_update)
    with pytest.raises(NonFiniteError, match=r"environment 0 .* at step 15.*train/critic_loss, train/actor_loss"):
        model.learn(200)
    with pytest.raises(NonFiniteError, match="action for observation 0 is not finite at step 15"):
        model.predict(np.zeros(2))


def test_an_agent_keeps_what_it_has_learned_when_the_environment_fails(tmp_path: Path) -> None:
    model = SAC("MlpPolicy", lambda: PushEnv("reward", at=18), **SMALL)
    with pytest.raises(NonFiniteError, match="after 17 steps"):
        model.learn(100)
    assert (model.num_timesteps, model.n_updates, len(model.replay_buffer)) == (17, 2, 17)
    model.save(tmp_path / "kept.zip", replay_buffer=True)
    assert load(tmp_path / "kept.zip").num_timesteps == 17
    model.learn(10, reset_num_timesteps=False)
    assert model.num_timesteps == 27


def test_the_buffer_stores_nothing_of_what_is_refused() -> None:
    box = PushEnv().observation_space
    buffer = ReplayBuffer(10, box, PushEnv().action_space, n_envs=2)
    zeros, flags = np.zeros((2, 2)), np.zeros(2, bool)
    with pytest.raises(NonFiniteError, match=r"reward of environment 1 .* in transition 1"):
        buffer.add(zeros, np.zeros((2, 1)), np.array([0.0, np.nan]), zeros, flags, flags)
    assert len(buffer) == 0
    # What an environment that only reset itself says beside its observation means nothing.
    buffer.add(zeros, np.zeros((2, 1)), np.array([0.0, np.nan]), zeros, flags, flags, valid=np.array([True, False]))
    assert len(buffer) == 1


def test_an_optimisers_infinity_is_taken_back() -> None:
    model = SAC("MlpPolicy", PushEnv, **SMALL)
    parameters = model.get_parameters()
    name = next(name for name in parameters if name.startswith("optimizer/") and name.endswith("/v"))
    parameters[name] = np.full_like(parameters[name], np.inf)
    model.set_parameters(parameters)
    assert np.isinf(model.get_parameters()[name]).all()


# -- completeness ------------------------------------------------------------------------------------------------------


def parameters_of(function: Any) -> set[str]:
    skipped = ("self", "cls", "kwargs", "hyperparameters")
    return {name for name in inspect.signature(function).parameters if name not in skipped}


def test_everything_has_a_case() -> None:
    sac = {field.name for field in dataclasses.fields(SACConfig)}
    wanted = {f"SACConfig.{name}" for name in sac}
    wanted |= {f"LACConfig.{field.name}" for field in dataclasses.fields(LACConfig) if field.name not in sac}
    wanted |= {f"policy_kwargs.{name}" for name in EncoderPolicy.__init__.__kwdefaults__}
    wanted |= {f"logger_kwargs.{key}" for key in LOGGER_KEYS}
    wanted |= {f"compute_kwargs.{field.name}" for field in dataclasses.fields(ComputeOptions)}
    wanted |= {f"SAC.{name}" for name in ("policy", "env", "config", "eval_env", "verbose")}
    methods = ("learn", "resume", "save", "export", "set_parameters", "set_env", "evaluate")
    wanted |= {f"{method}.{name}" for method in methods for name in parameters_of(getattr(SAC, method))}
    wanted |= {"predict.observation", "get_parameters.", "get_env."}  # predict takes any state and episode_start
    wanted |= {f"load.{name}" for name in parameters_of(load)}
    wanted |= {f"ReplayBuffer.{name}" for name in parameters_of(ReplayBuffer)}
    wanted |= {"FiniteHorizonReplayBuffer.horizon_length"}
    wanted |= {f"ReplayBuffer.add.{name}" for name in parameters_of(ReplayBuffer.add)}
    for function in (evaluate_policy, evaluate_robustness, measure_stability):
        wanted |= {f"{function.__name__}.{name}" for name in parameters_of(function)}
    for name in callbacks.__all__:
        value = getattr(callbacks, name)
        if inspect.isclass(value) and issubclass(value, callbacks.Callback):
            wanted |= {f"{name}.{argument}" for argument in parameters_of(value)} - {f"{name}.args"}
    # These have only cases in which they aren't the first argument.
    inside = {"export.format", "save.replay_buffer", "save.progress_bar", "learn.log_interval"}
    assert wanted - {case.about for case in CASES} - inside == set()
    assert len({case.code for case in CASES}) == len(CASES)


def test_the_table_has_no_addresses_and_no_folders_of_this_machine() -> None:
    shown = [case for case in CASES if case.shown]
    assert 60 <= len(shown) <= 130
    text = error_cases.table([*shown[:5], *(case for case in shown if case.group == "Files")])
    assert "0x" not in text
    assert "/tmp" not in text
    assert "exit code None" not in text
    assert text.count("### ") == 2
