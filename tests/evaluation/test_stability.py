"""The measured drift of a Lyapunov function of which all is known."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracked_point import LENGTH, Feedback, make_point

from slc_agents import LAC, SAC, LACConfig
from slc_agents.errors import ConfigError, UnsupportedSpaceError
from slc_agents.evaluation import StabilityResult, measure_stability
from slc_agents.intervals import rate_interval
from slc_agents.zoo import pack_agent

GAMMA = 0.5


class Lyapunov(Feedback):
    """Brings the point half of the way, unless it pushes; L(x, a) = x² + a² / 100."""

    def __init__(self, gain: float = 0.5, push: float = 0.0, **settings: Any) -> None:
        super().__init__(gain, push)
        self.config = LACConfig(gamma=GAMMA, **settings)

    def lyapunov_value(self, observation: Any, action: Any) -> Any:
        return (observation**2 + action**2 / 100)[:, 0]


FACTOR = 1 + 0.5**2 / 100  # L of that policy is this times x²


def starts(n: int) -> Any:
    return np.array([np.random.default_rng(i).uniform(-1, 1) for i in range(n)])


def measure(model: Any = None, **options: Any) -> StabilityResult:
    return measure_stability(model or Lyapunov(), **{"env": make_point(), "n_episodes": 5, "steady_from": 3, **options})


def test_values_and_drift_of_a_contraction() -> None:
    result = measure()
    courses = starts(5)[:, None] * 0.5 ** np.arange(LENGTH + 1)  # [5, 7]
    np.testing.assert_allclose(result.values, FACTOR * courses**2, rtol=1e-5)  # behind the last step too
    np.testing.assert_allclose(result.costs, courses[:, 1:] ** 2, rtol=1e-5)
    np.testing.assert_allclose(result.drifts, np.diff(FACTOR * courses**2), rtol=1e-5)
    assert (result.episode_limit, result.steady_from, result.alpha3) == (LENGTH, 3, 0.2)
    for phase, steps in zip(result.phases, (range(6), range(3), range(3, 6)), strict=True):
        x = courses[:, steps]
        assert (phase.first, phase.last, phase.steps) == (steps[0], steps[-1], 5 * len(steps))
        assert phase.lyapunov_value[0] == pytest.approx(FACTOR * (x**2).mean(), rel=1e-5)
        assert phase.cost[0] == pytest.approx((x**2).mean() / 4, rel=1e-5)
        assert phase.drift[0] == pytest.approx(-0.75 * FACTOR * (x**2).mean(), rel=1e-5)
        # L - L' is this many times the cost in each step: the ratio is exact, however episodes are drawn.
        assert phase.alpha3_max == pytest.approx((3 * FACTOR,) * 3, rel=1e-5)
        assert phase.delta[0] == pytest.approx(phase.drift[0] + 0.2 * phase.cost[0], rel=1e-5)
        assert phase.drift[1] < phase.drift[0] < phase.drift[2] < 0
    assert [phase.name for phase in result.phases] == ["whole", "transient", "steady"]
    assert result.decay == pytest.approx(((4.0**-3 + 4.0**-4 + 4.0**-5) / 3,) * 3, rel=1e-5)
    assert result.death_rate == (0.0, *rate_interval(0, 5))


def test_intervals_are_over_episodes_and_cover_what_these_vary() -> None:
    few, many = measure(n_episodes=10), measure(n_episodes=40)
    width = [high - low for low, high in (result.phases[0].drift[1:] for result in (few, many))]
    assert 0 < width[1] < width[0]
    alone = measure(n_episodes=1).phases[0]
    assert alone.drift[0] < 0
    assert math.isnan(alone.drift[1])


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({}, (1 - GAMMA**LENGTH) / (1 - GAMMA)),
        ({"terminal_cost": "zero"}, (1 - GAMMA**LENGTH) / (1 - GAMMA)),  # whatever it was trained with
        ({"terminal_cost": "absorbing", "terminal_horizon": 2}, (1 - GAMMA**LENGTH) / (1 - GAMMA)),
        ({"horizon_length": 4}, 4),
    ],
)
def test_behind_a_death_stands_the_last_cost_going_on(settings: dict[str, Any], factor: float) -> None:
    result = measure(Lyapunov(1.0, push=3.5, **settings), n_episodes=2)
    assert result.deaths.all()
    assert result.values.shape == (2, 2)
    assert result.values[:, 1] == pytest.approx([factor * 3.5**2] * 2, rel=1e-5)
    whole, _, steady = result.phases
    assert whole.drift[0] > 0
    assert whole.alpha3_max[0] < 0
    assert steady.steps == 0
    assert all(math.isnan(number) for number in (*steady.drift, *steady.alpha3_max, *result.decay))
    assert result.death_rate[0] == 1
    assert len(result.draw().axes) == 3


def test_what_stands_behind_a_death_is_no_step_of_its_episode() -> None:
    class Half(Lyapunov):
        def predict(self, observation: Any, *args: Any, **options: Any) -> Any:
            dies = observation > 0
            return np.where(dies, 4.0, -observation / 2), None

        def lyapunov_value(self, observation: Any, action: Any) -> Any:
            return np.ones(len(observation))

    result = measure(Half(), n_episodes=5, steady_from=1)
    assert result.deaths.tolist() == (starts(5) > 0).tolist()
    assert result.values[result.deaths, 1] == pytest.approx(
        (starts(5)[result.deaths] + 4) ** 2 * (2 - 0.5**5), rel=1e-5
    )
    whole, transient, steady = result.phases
    n_dead = int(result.deaths.sum())
    assert 0 < n_dead < 5
    assert (whole.steps, transient.steps, steady.steps) == (n_dead + 6 * (5 - n_dead), 5, 5 * (5 - n_dead))
    for phase in result.phases:
        assert phase.lyapunov_value == (1, 1, 1)
    assert result.decay == (1, 1, 1)
    assert np.nansum(result.values_of_steps) == whole.steps
    assert result.draw().axes[0].get_lines()[0].get_ydata().tolist() == [1] * LENGTH


def test_samples_of_the_policy_are_measured_with_their_own_actions() -> None:
    class Pushing(Lyapunov):
        def predict(self, observation: Any, *args: Any, deterministic: bool = False) -> Any:
            known = args[2] if len(args) > 2 else deterministic
            return -observation + (0.0 if known else 1.0), None

    assert measure(Pushing()).costs == pytest.approx(np.zeros((5, LENGTH)), abs=1e-10)
    sampled = measure(Pushing(), deterministic=False)
    assert sampled.values[:, -1] == pytest.approx(np.ones(5), rel=1e-5)  # at 1 the action is 0


def test_the_steady_phase_is_the_second_half_by_default() -> None:
    assert measure(steady_from=None).steady_from == LENGTH // 2
    for step in (LENGTH, 0):
        with pytest.raises(ValueError, match=rf"steady_from={step}: a"):
            measure(steady_from=step)
    with pytest.raises(ValueError, match="truncated after 1 step, so there is no steady phase"):
        measure(max_ep_len=1, steady_from=None)


def test_only_agents_with_a_lyapunov_function() -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=0, policy_kwargs={"hidden_sizes": [8]})
    with pytest.raises(ConfigError, match=r"class SAC, which has no Lyapunov function.*LAC has one"):
        measure(model)
    with pytest.raises(ConfigError, match="class Feedback"):
        measure(Feedback(1.0))


def test_of_a_file_and_of_a_packed_one(tmp_path: Path) -> None:
    small: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "seed": 0, "max_ep_len": 5}
    model = LAC("MlpPolicy", "slc/Oscillator-v1", **small)
    model.save(tmp_path / "agent.zip")
    packed = pack_agent(model, tmp_path / "packed.zip", episodes=1)
    options: dict[str, Any] = {"n_episodes": 2, "env": None, "steady_from": 2}
    results = [measure(agent, **options) for agent in (model, tmp_path, packed)]
    for result in results:
        np.testing.assert_array_equal(result.values, results[0].values)
    assert (results[0].env, results[0].values.shape) == ("slc/Oscillator-v1", (2, 6))
    with pytest.raises(UnsupportedSpaceError, match="LAC: the environment: its observation space"):
        measure(model, env="Pendulum-v1")


def test_the_files_and_the_figure_hold_what_was_found(tmp_path: Path) -> None:
    result = measure()
    paths = result.save(tmp_path / "deep")
    with paths[0].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["phase"] for row in rows] == ["whole", "transient", "steady"]
    assert float(rows[0]["drift"]) == result.phases[0].drift[0]
    found = json.loads(paths[1].read_text(encoding="utf-8"))
    assert found["phases"][2]["alpha3_max"] == pytest.approx(list(result.phases[2].alpha3_max))
    assert (found["deaths"], found["steady_from"], found["env"]) == (0, 3, "point")
    above, middle, below = result.draw().axes
    assert above.get_yscale() == "log"
    assert above.get_lines()[0].get_ydata() == pytest.approx(result.values[:, :-1].mean(axis=0))
    assert middle.get_lines()[0].get_ydata() == pytest.approx(result.costs.mean(axis=0))
    drift, condition = below.get_lines()[:2]
    assert drift.get_ydata() == pytest.approx(result.drifts.mean(axis=0))  # a block is one step here
    assert condition.get_ydata() == pytest.approx(-0.2 * result.costs.mean(axis=0))
