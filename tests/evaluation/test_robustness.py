"""Episodes under disturbances: of a point of which all is known, so each figure can be checked."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracked_point import LENGTH, Feedback, make_point

from slc_agents import SAC
from slc_agents.envs.disturbances import ActionBias
from slc_agents.errors import ConfigError, InvalidEnvironmentError, UnsupportedSpaceError
from slc_agents.evaluation import RobustnessResult, evaluate_robustness
from slc_agents.evaluation import episodes as episodes_module
from slc_agents.intervals import confidence_interval, rate_interval

SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "seed": 0}


def starts(n: int, seed: int = 0) -> Any:
    return np.array([np.random.default_rng(seed + i).uniform(-1, 1) for i in range(n)])


def evaluate(agents: Any = None, **options: Any) -> RobustnessResult:
    settings: dict[str, Any] = {"disturbance": "action-bias", "sizes": [0, 2, 4], "env": make_point(), "n_episodes": 5}
    return evaluate_robustness(Feedback(1.0) if agents is None else agents, **{**settings, **options})


def test_returns_deaths_and_tracking_errors_are_those_of_the_episodes() -> None:
    result = evaluate(opt_type="minimize")  # the point is at the bias after each step, and dies of 4
    assert (result.env, result.disturbance, result.score, result.neutral) == ("point", "action-bias", "cost", 0.0)
    assert (result.agents, result.sizes, result.episode_limit) == (("Feedback",), (0, 2, 4), LENGTH)
    for size, cost, length, died in ((0, 0, 6, False), (2, 24, 6, False), (4, 16, 1, True)):
        outcome = result.outcome("Feedback", size)
        np.testing.assert_allclose(outcome.returns, np.full((1, 5), cost), atol=1e-5)
        assert (outcome.lengths == length).all()
        assert (outcome.deaths == died).all()
        assert outcome.tracking_errors == pytest.approx(np.full((1, 5, 1), size), abs=1e-5)
    row = result.rows()[2]
    assert row["agent"] == "Feedback"
    assert (row["size"], row["models"], row["episodes"], row["length"]) == (4, 1, 5, 1)
    assert (row["death_rate"], row["death_rate_low"], row["death_rate_high"]) == (1, *rate_interval(5, 5))
    assert row["cost"] == row["cost_per_step"] == pytest.approx(16)


def test_each_agent_and_size_starts_alike_whatever_died_before() -> None:
    agents = {"a": Feedback(0.0), "b": Feedback(0.0, push=1.0)}
    result = evaluate(agents, seed=7, n_episodes=4)
    expected = starts(4, seed=7).astype(np.float32)
    for agent in agents.values():
        assert len(agent.first_seen) == 3
        for seen in agent.first_seen:
            np.testing.assert_array_equal(seen[:, 0], expected)
    np.testing.assert_allclose(result.outcome("a", 0).returns[0], LENGTH * starts(4, seed=7) ** 2, rtol=1e-6)


def test_many_episodes_take_few_copies_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = evaluate(Feedback(0.0))
    monkeypatch.setattr(episodes_module, "MAX_COPIES", 2)
    policy = Feedback(0.0)
    parts = evaluate(policy)
    assert [len(seen) for seen in policy.first_seen] == 3 * [2, 2, 1]
    for one, other in zip(whole.outcomes, parts.outcomes, strict=True):
        np.testing.assert_array_equal(one.returns, other.returns)
        np.testing.assert_array_equal(one.states, other.states)


def test_intervals_of_one_model_are_over_its_episodes() -> None:
    row = evaluate(Feedback(0.0), sizes=[0]).rows()[0]
    low, high = confidence_interval(LENGTH * starts(5)[:, None] ** 2)
    assert row["return"] == pytest.approx((LENGTH * starts(5) ** 2).mean())
    assert (row["return_low"], row["return_high"]) == pytest.approx((low[0], high[0]), rel=1e-6)
    single = evaluate(Feedback(0.0), sizes=[0], n_episodes=1).rows()[0]
    assert math.isnan(single["return_low"])


def test_intervals_of_several_models_are_over_these() -> None:
    result = evaluate({"a": [Feedback(1.0, push=push) for push in (1.0, 2.0, 5.0)]}, sizes=[0])
    row = result.rows()[0]
    low, high = confidence_interval(np.array([[6.0], [24.0], [25.0]]))
    assert (row["models"], row["return"]) == (3, pytest.approx(55 / 3))
    assert (row["return_low"], row["return_high"]) == pytest.approx((low[0], high[0]))
    assert row["death_rate"] == pytest.approx(1 / 3)
    wide_low, wide_high = confidence_interval(np.array([[0.0], [0.0], [1.0]]))
    assert (row["death_rate_low"], row["death_rate_high"]) == (0.0, 1.0)
    assert wide_low[0] < 0
    assert wide_high[0] > 1
    alive = evaluate({"a": [Feedback(1.0), Feedback(0.5)]}, sizes=[0]).rows()[0]  # t alone would have no width
    assert (alive["death_rate_low"], alive["death_rate_high"]) == rate_interval(0, 10)


def test_differences_are_paired() -> None:
    agents = {"a": Feedback(0.0), "b": Feedback(0.0, push=0.1), "c": [Feedback(1.0), Feedback(1.0, push=5.0)]}
    result = evaluate(agents, sizes=[0])
    b, c = result.differences()
    returns = [result.outcome(name, 0).returns.mean(axis=0) for name in agents]
    low, high = confidence_interval((returns[1] - returns[0])[:, None])
    assert (b["agent"], b["against"], b["size"]) == ("b", "a", 0)
    assert b["return_difference"] == pytest.approx((returns[1] - returns[0]).mean())
    assert (b["return_difference_low"], b["return_difference_high"]) == pytest.approx((low[0], high[0]))
    assert c["return_difference"] == pytest.approx((returns[2] - returns[0]).mean())
    assert (b["death_rate_difference"], c["death_rate_difference"]) == (0, 0.5)
    assert evaluate(sizes=[0]).differences() == []


def test_several_numbers_are_tracked_one_by_one() -> None:
    result = evaluate(env=make_point(2), sizes=[2])
    row = result.rows()[0]
    assert (row["tracking_error_0"], row["tracking_error_1"]) == (pytest.approx(2), pytest.approx(4))
    assert "tracking_error" not in row
    figure = result.draw_trajectories()
    assert [axes.get_ylabel() for axes in figure.axes] == ["state [0]", "state [1]"]


def test_where_nothing_is_tracked() -> None:
    result = evaluate(env=make_point(0))
    assert [name for name in result.rows()[0] if "tracking" in name] == []
    assert result.outcome("Feedback", 0).tracking_errors is None
    assert len(result.draw().axes) == 3
    with pytest.raises(ConfigError, match="no 'reference' and 'state_of_interest'"):
        result.draw_trajectories()


def test_the_files_hold_what_was_found(tmp_path: Path) -> None:
    result = evaluate({"a": Feedback(1.0), "b": Feedback(0.5)}, n_episodes=1)
    paths = result.save(tmp_path / "deep" / "er")
    assert [path.name for path in paths] == ["robustness.csv", "robustness.json"]
    with paths[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["agent"], float(row["size"])) for row in rows] == [(name, size) for name in "ab" for size in (0, 2, 4)]
    assert float(rows[1]["return"]) == pytest.approx(24)
    assert rows[1]["return_low"] == ""
    found = json.loads(paths[1].read_text(encoding="utf-8"))
    assert (found["sizes"], found["seed"], found["episode_limit"]) == ([0, 2, 4], 0, LENGTH)
    assert found["rows"][1]["return_low"] is None
    assert found["episodes"][2]["deaths"] == [[True]]
    assert found["differences"][0]["agent"] == "b"


def test_the_figure_shows_the_rows() -> None:
    result = evaluate({"a": Feedback(1.0), "b": Feedback(0.0)}, sizes=[2, 0], opt_type="minimize")
    cost, per_step, deaths, errors = result.draw().axes
    assert cost.get_xlabel() == "size of action-bias"
    labels = [axes.get_ylabel() for axes in (cost, per_step, deaths, errors)]
    assert labels[:3] == ["mean cost of an episode", "mean cost of a step", "death rate"]
    assert labels[3].startswith("tracking error")
    rows = {(row["agent"], row["size"]): row for row in result.rows()}
    for line, agent in zip(cost.get_lines(), "ab", strict=True):
        assert (line.get_label(), line.get_xdata().tolist()) == (agent, [0, 2])
        assert line.get_ydata().tolist() == [rows[agent, size]["cost"] for size in (0, 2)]
    alike = evaluate(sizes=[0, 2]).draw().axes  # whose episodes all have one length
    assert [axes.get_ylabel() for axes in alike][:2] == ["mean return of an episode", "death rate"]


def test_the_courses_stand_against_the_reference() -> None:
    result = evaluate({"a": Feedback(1.0), "b": Feedback(0.0)}, sizes=[0, 1, 2, 3, 4])
    left, middle, right = result.draw_trajectories().axes
    titles = [axes.get_title(loc="left") for axes in (left, middle, right)]
    assert titles == ["action-bias 0 (undisturbed)", "action-bias 2", "action-bias 4"]
    a, b, reference = middle.get_lines()
    assert a.get_ydata() == pytest.approx([2] * LENGTH)
    assert b.get_ydata()[0] == pytest.approx(2 + starts(5).mean())
    assert len(b.get_ydata()) < LENGTH  # it has died in all episodes
    assert (reference.get_label(), reference.get_ydata().tolist()) == ("reference", [0] * LENGTH)
    assert len(result.draw_trajectories([3]).axes) == 1


def test_agents_of_files_and_what_they_were_trained_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = SAC("MlpPolicy", "slc/Oscillator-v1", opt_type="minimize", max_ep_len=5, **SMALL)
    model.save("run/agent.zip")
    options: dict[str, Any] = {"n_episodes": 2, "sizes": [0]}
    result = evaluate_robustness(
        {"file": "run/agent.zip", "folder": Path("run"), "live": model}, "action-noise", **options
    )
    assert (result.env, result.score, result.episode_limit) == ("slc/Oscillator-v1", "cost", 5)
    assert len({row["cost"] for row in result.rows()}) == 1
    assert evaluate_robustness("run", "action-delay", max_ep_len=3, **options).outcomes[0].lengths.tolist() == [[3, 3]]


def test_what_does_not_fit_together_is_said() -> None:
    model = SAC("MlpPolicy", "slc/Oscillator-v1", opt_type="minimize", **SMALL)
    other = SAC("MlpPolicy", "Pendulum-v1", **SMALL)
    with pytest.raises(ConfigError, match=r"different environments \(a: slc/Oscillator-v1, b: Pendulum-v1\)"):
        evaluate({"a": model, "b": other}, env=None)
    with pytest.raises(UnsupportedSpaceError, match="b: the environment: its observation space is"):
        evaluate({"a": Feedback(1.0), "b": other})
    with pytest.raises(ConfigError, match=r"opt_type: .*\(a: 'minimize', b: 'maximize'\).*Give opt_type="):
        evaluate({"a": model, "b": other})
    short = SAC("MlpPolicy", "slc/Oscillator-v1", opt_type="minimize", max_ep_len=5, **SMALL)
    with pytest.raises(ConfigError, match=r"max_ep_len: .*\(a: None, b: 5\)"):
        evaluate({"a": model, "b": short}, env=None)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"agents": 3}, TypeError, "agent: received 3"),
        ({"agents": {}}, ValueError, "at least one"),
        ({"agents": [Feedback(1.0), Feedback(0.0)]}, TypeError, "agents: received a list; .*by name"),
        ({"agents": {"a": []}}, ValueError, "'a' has no models"),
        ({"agents": "nothing"}, FileNotFoundError, "nothing"),
        ({"agents": "zoo:sac/Nothing-v0"}, FileNotFoundError, "no pretrained agent"),
        ({"env": None}, ConfigError, "no agent says which environment"),
        ({"env": make_point()()}, TypeError, "made already.*factory"),
        ({"env": make_point(length=None)}, ConfigError, "have no limit.*--max-ep-len"),
        ({"sizes": []}, ValueError, "at least one size"),
        ({"sizes": [1, 1]}, ValueError, "none of them twice"),
        ({"sizes": ["a"]}, ValueError, "sizes='a': a finite number"),
        ({"sizes": "0,1"}, TypeError, "a sequence of numbers"),
        ({"sizes": [-1], "disturbance": "action-noise"}, ValueError, "at least 0"),
        ({"sizes": [0.5], "disturbance": "action-delay"}, ValueError, "delay=0.5"),
        ({"opt_type": "min"}, ValueError, "opt_type='min'"),
        ({"n_episodes": 0}, ValueError, "n_episodes=0"),
        ({"seed": -1}, ValueError, "seed=-1"),
        ({"max_ep_len": 0}, ValueError, "max_ep_len=0"),
        ({"deterministic": 1}, TypeError, "deterministic=1"),
        ({"progress_bar": 1}, TypeError, "progress_bar=1"),
        ({"disturbance": "parameter:mass"}, ValueError, "no parameter 'mass'.*gain"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        evaluate(options.pop("agents", None), **options)


def test_an_info_that_is_no_number_is_named() -> None:
    def point() -> Any:
        env = make_point()()
        env.unwrapped._info = lambda: {"reference": "north"}
        return env

    with pytest.raises(InvalidEnvironmentError, match=r"info\['reference'\] is 'north'"):
        evaluate(env=point)


def test_an_info_may_say_less_in_an_episodes_last_step(tmp_path: Path) -> None:
    def point() -> Any:
        env = make_point()()
        plant: Any = env.unwrapped
        say = plant._info
        plant._info = lambda: {} if abs(plant.x) > 3 else say()
        return env

    result = evaluate({"a": Feedback(0.0), "b": Feedback(1.0)}, env=point, sizes=[1.5, 4])
    slow, dead = result.outcome("a", 1.5), result.outcome("b", 4)
    x = starts(5)[:, None] + 1.5 * np.arange(1, LENGTH + 1)
    known = np.where(x <= 3, x, np.nan)
    assert slow.lengths[0].tolist() == [2 if start > 0 else 3 for start in starts(5)]
    assert slow.tracking_errors is not None
    assert slow.tracking_errors[0, :, 0] == pytest.approx(np.sqrt(np.nanmean(known**2, axis=1)), rel=1e-5)
    assert dead.tracking_errors is None  # all have died in their first step
    last = result.rows()[-1]
    assert (last["agent"], last["size"]) == ("b", 4)
    assert math.isnan(last["tracking_error"])
    first, second = result.differences()
    assert not math.isnan(first["tracking_error_difference"])
    assert math.isnan(second["tracking_error_difference"])
    result.save(tmp_path)
    result.draw()
    line = result.draw_trajectories([1.5]).axes[0].get_lines()[0]
    assert line.get_ydata() == pytest.approx([np.nanmean(known[:, 0]), np.nanmean(known[:, 1]), np.nan], nan_ok=True)


def test_an_info_of_changing_size_is_named() -> None:
    def point() -> Any:
        env = make_point()()
        plant: Any = env.unwrapped
        plant._info = lambda: {"reference_error": np.zeros(1 + (abs(plant.x) > 1))}
        return env

    with pytest.raises(InvalidEnvironmentError, match=r"info\['reference_error'\] has 1 and 2 numbers"):
        evaluate(env=point, sizes=[0.5], agents=Feedback(0.0), n_episodes=1)


def test_samples_and_disturbances_of_ones_own() -> None:
    class Coin(Feedback):
        def predict(self, *args: Any, deterministic: bool = False) -> Any:
            action, state = super().predict(*args[:3])
            return action + (0 if args[3] else 1), state

    result = evaluate(Coin(1.0), disturbance=ActionBias, sizes=[0.5], deterministic=False)
    assert result.outcomes[0].returns == pytest.approx(np.full((1, 5), 6 * 1.5**2), rel=1e-5)
    assert (result.disturbance, result.neutral) == ("ActionBias", None)
