"""A trial's training: when it is evaluated, what counts, and how it ends."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents.errors import UnsupportedSpaceError
from slc_agents.tuning.training import Outcome, TrialPlan, counted, run_trial

TINY = {
    "start_steps": 10,
    "update_after": 10,
    "update_every": 10,
    "steps_per_update": 1,
    "batch_size": 4,
    "policy_kwargs": {"hidden_sizes": [4]},
}


class CountingEnv(gymnasium.Env[Any, Any]):
    """Pays how many of its episodes there have been, in each of 5 steps; so evaluations differ."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    made: list[CountingEnv] = []  # noqa: RUF012

    def __init__(self, broken_after: float = np.inf) -> None:
        self.episodes, self.elapsed, self.broken_after, self.closed = 0, 0, broken_after, False
        self.made.append(self)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.episodes, self.elapsed = self.episodes + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.elapsed += 1
        reward = np.nan if self.episodes > self.broken_after else float(self.episodes)
        return np.zeros(1, np.float32), reward, False, self.elapsed == 5, {}

    def close(self) -> None:
        self.closed = True


def plan(**changes: Any) -> TrialPlan:
    values: dict[str, Any] = {
        "algo": "sac",
        "env": CountingEnv,
        "policy": "MlpPolicy",
        "settings": TINY,
        "seeds": (1,),
        "timesteps": 35,
        "evaluations": 4,
        "eval_episodes": 1,
    }
    return TrialPlan(**{**values, **changes})


class Recorder:
    """Keeps what is reported, and answers."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.reports: list[tuple[int, float]] = []
        self.stop_at = stop_at

    def __call__(self, number: int, mean: float) -> bool:
        self.reports.append((number, mean))
        return number != self.stop_at


def test_the_last_third_counts() -> None:
    assert [counted(n) for n in (1, 2, 3, 4, 9, 10)] == [1, 1, 1, 2, 3, 4]


def test_evaluations_at_equal_intervals() -> None:
    CountingEnv.made.clear()
    report = Recorder()
    outcome = run_trial(plan(), report)
    # The evaluations' environment is reset at the beginning of each and at the end of its episode.
    assert report.reports == [(1, 5.0), (2, 15.0), (3, 25.0), (4, 35.0)]
    assert outcome == Outcome("complete", 30.0)
    assert len(CountingEnv.made) == 2
    assert all(env.closed for env in CountingEnv.made)


def test_when_it_is_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    from slc_agents.tuning import training

    run_episodes = training.run_episodes

    def noting(model: Any, *args: Any, **keywords: Any) -> Any:
        steps.append(model.num_timesteps)
        return run_episodes(model, *args, **keywords)

    monkeypatch.setattr(training, "run_episodes", noting)
    run_trial(plan(timesteps=35), Recorder())
    assert steps == [9, 18, 27, 35]
    steps.clear()
    run_trial(plan(timesteps=35, settings={**TINY, "n_envs": 10}), Recorder())
    assert steps == [10, 20, 30, 40]  # the last step of all ten goes beyond


def test_several_seeds() -> None:
    report = Recorder()
    outcome = run_trial(plan(seeds=(1, 2), evaluations=2, eval_episodes=2), report)
    assert [number for number, _ in report.reports] == [1, 2, 3, 4]
    assert outcome.value == np.mean([report.reports[1][1], report.reports[3][1]])


def test_the_settings_act_and_the_trial_writes_nothing(tmp_path: Any) -> None:
    seen: list[Any] = []

    class Recording(CountingEnv):
        def step(self, action: Any) -> Any:
            seen.append(float(action[0]))
            return super().step(action)

    logger_kwargs = {"output_dir": str(tmp_path / "run")}
    settings = {**TINY, "logger_kwargs": logger_kwargs, "export": True, "num_test_episodes": 3, "seed": 99}
    actions = []
    for seed in (1, 1, 2):
        seen.clear()
        assert run_trial(plan(env=Recording, settings=settings, seeds=(seed,)), Recorder()).state == "complete"
        assert len(seen) == 35 + 4 * 5  # training and evaluations, without test episodes
        actions.append(list(seen))
    assert actions[0] == actions[1] != actions[2]
    assert not (tmp_path / "run").exists()


def test_a_trial_that_is_given_up() -> None:
    CountingEnv.made.clear()
    report = Recorder(stop_at=2)
    outcome = run_trial(plan(), report)
    assert (outcome.state, outcome.value, len(report.reports)) == ("stopped", None, 2)
    assert all(env.closed for env in CountingEnv.made)


def test_a_trial_that_diverges() -> None:
    outcome = run_trial(plan(env=lambda: CountingEnv(broken_after=3)), Recorder())
    assert (outcome.state, outcome.value) == ("diverged", None)
    assert "nan" in outcome.reason
    outcome = run_trial(
        plan(settings={**TINY, "lr_a": 1e38, "lr_decay_type": "constant"}, env="Pendulum-v1"), Recorder()
    )
    assert outcome.state == "diverged"
    assert "action" in outcome.reason


def test_values_that_contradict_each_other() -> None:
    outcome = run_trial(plan(settings={**TINY, "alpha": 0.0}), Recorder())
    assert outcome.state == "invalid"
    assert "alpha=0" in outcome.reason


def test_other_errors_are_errors() -> None:
    with pytest.raises(UnsupportedSpaceError):
        run_trial(plan(env="CartPole-v1"), Recorder())


def test_a_trial_that_is_interrupted() -> None:
    report = Recorder()
    with pytest.raises(KeyboardInterrupt):
        run_trial(plan(), report, lambda: len(report.reports) == 2)
    assert len(report.reports) == 2
    # At its very end there is nothing left to interrupt.
    report = Recorder()
    assert run_trial(plan(), report, lambda: len(report.reports) == 4).state == "complete"
