"""`check_env`: what it finds, what it says, what it lets pass."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from broken_envs import BROKEN, DictEnv, GoodEnv, ImageEnv, broken, with_step
from gymnasium import spaces

from slc_agents.envs import check_env, make_vector_env
from slc_agents.errors import InvalidEnvironmentError


@pytest.mark.parametrize("env", ["Pendulum-v1", "MountainCarContinuous-v0", GoodEnv, GoodEnv(), DictEnv, ImageEnv])
def test_good_ones_pass_without_a_word(env: Any) -> None:
    check_env(env)


@pytest.mark.parametrize("name", BROKEN)
def test_what_stops_training_is_found(name: str) -> None:
    env, message = BROKEN[name]
    message = message.replace("def reset", "").replace("NoStepEnv.step", "step")
    with pytest.raises(InvalidEnvironmentError, match=message):
        check_env(env)


class UnseededEnv(GoodEnv):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self.reset_result()


class RandomStepEnv(GoodEnv):
    def step_result(self) -> Any:
        return self.observe(), np.random.default_rng().random(), False, False, {}


class RandomResetEnv(GoodEnv):
    def reset_result(self) -> Any:
        return np.random.default_rng().random(3).astype(np.float32), {}


class ReusingEnv(GoodEnv):
    array = np.zeros(3, np.float32)

    def observe(self) -> Any:
        return self.array


def raises(env: Any) -> Any:
    raise KeyError("mine")


WORSE: dict[str, tuple[Any, str]] = {
    "discrete actions": (broken(action_space=spaces.Discrete(2)), r"Discrete\(2\).*continuous actions only"),
    "actions without bounds": (broken(action_space=spaces.Box(-np.inf, np.inf, (1,))), "bounds are not finite"),
    "whole-numbered actions": (broken(action_space=spaces.Box(0, 5, (1,), np.int64)), "dtype int64"),
    "nested observations": (
        broken(observation_space=spaces.Dict({"a": spaces.Dict({"b": spaces.Box(0, 1)})})),
        "only Box is supported inside a Dict",
    ),
    "another dtype": (broken(observe=lambda env: np.zeros(3)), r"float64.*float32.*astype\(np.float32\)"),
    "a list": (broken(observe=lambda env: [0.0, 0.0, 0.0]), r"as list; an array is needed"),
    "outside": (
        broken(observe=lambda env: np.array([0, 0, 50], np.float32)),
        r"50.0 at \[2\], bounds -10.0 to 10.0",
    ),
    "NaN": (broken(observe=lambda env: np.full(3, np.nan, np.float32)), "which is not finite"),
    "infinite reward": (broken(step_result=with_step(reward=np.inf)), "the reward inf, which is not finite"),
    "no seed": (UnseededEnv, r"doesn't call super\(\).reset\(seed=seed\)"),
    "random reset": (RandomResetEnv, r"reset\(seed=123\) gave different results"),
    "random reward": (RandomStepEnv, r"step\(\) number 1 after reset\(seed=123\) gave different results"),
    "reused arrays": (ReusingEnv, "gymnasium's own checker: .*share an object"),
    "an error": (broken(step_result=raises), "its code raised KeyError: 'mine'"),
}


@pytest.mark.parametrize("name", WORSE)
def test_what_training_would_not_notice_is_found_too(name: str) -> None:
    env, message = WORSE[name]
    with pytest.raises(InvalidEnvironmentError, match=message) as caught:
        check_env(env)
    assert str(caught.value).startswith(f"{env.__name__} can't be trained in:\n  - ")


def test_both_spaces_are_named_at_once() -> None:
    env = broken(action_space=spaces.Discrete(2), observation_space=spaces.Discrete(3))
    with pytest.raises(InvalidEnvironmentError) as caught:
        check_env(env)
    assert [line[:10] for line in str(caught.value).splitlines()[1:]] == ["  - observ", "  - action"]


class DefaultSeedEnv(GoodEnv):
    def reset(self, *, seed: int | None = 3, options: dict[str, Any] | None = None) -> Any:
        return super().reset(seed=seed, options=options)


def test_what_is_only_suspicious_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"(?s)DefaultSeedEnv breaks no rule, but:.*default seed argument"):
        check_env(DefaultSeedEnv)


def test_warnings_are_listed_with_the_problems() -> None:
    class Both(DefaultSeedEnv, ReusingEnv):
        pass

    with pytest.raises(InvalidEnvironmentError, match=r"(?s)share an object.*Warnings:\n  - The default seed argument"):
        check_env(Both)


def test_an_environment_says_that_it_is_not_deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Random-v0", RandomStepEnv, nondeterministic=True)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    check_env(spec.id)


def test_actions_at_the_bounds_are_tried() -> None:
    class Fragile(GoodEnv):
        def step(self, action: Any) -> Any:
            return np.full(3, np.nan if abs(action[0]) == 1 else 0, np.float32), 0.0, False, False, {}

    with pytest.raises(InvalidEnvironmentError, match="not finite"):
        check_env(Fragile)


def test_who_closes() -> None:
    closed: list[str] = []
    env = broken(close=lambda env: closed.append("made"))
    check_env(env)
    assert closed == ["made"]
    check_env(env())
    assert closed == ["made"]


@pytest.mark.parametrize("env", [3, None, lambda: 3])
def test_no_environment(env: Any) -> None:
    with pytest.raises(TypeError, match=r"a gymnasium\.Env is needed"):
        check_env(env)


def test_a_vector_env_is_refused() -> None:
    with pytest.raises(TypeError, match="a single environment is needed"):
        check_env(make_vector_env(GoodEnv))  # type: ignore[arg-type]
