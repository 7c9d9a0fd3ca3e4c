"""An environment that breaks gymnasium's rules is told so, wherever it breaks them."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from broken_envs import BROKEN, DictEnv, GoodEnv, ImageEnv, broken, with_step

from slc_agents import SAC
from slc_agents.envs import make_vector_env
from slc_agents.errors import InvalidEnvironmentError

SMALL = {
    "policy_kwargs": {"hidden_sizes": [4]},
    "seed": 0,
    "num_test_episodes": 0,
    "start_steps": 100,
    "update_after": 1000,
    "steps_per_epoch": 50,
}


@pytest.mark.parametrize("name", BROKEN)
def test_learn_says_what_is_broken(name: str) -> None:
    env, message = BROKEN[name]
    with pytest.raises(InvalidEnvironmentError, match=message) as caught:
        SAC("MlpPolicy", env, **SMALL).learn(30)
    notes = " ".join(getattr(caught.value, "__notes__", ()))
    assert not notes or "slc_agents.envs.check_env(env)" in notes


@pytest.mark.parametrize("env", [GoodEnv, DictEnv, ImageEnv])
def test_learn_with_a_good_one(env: type[GoodEnv]) -> None:
    assert SAC("MlpPolicy", env, **SMALL).learn(30).num_timesteps == 30


@pytest.mark.parametrize(
    "change",
    [
        {"observe": lambda env: np.zeros(3, np.float64)},
        {"observe": lambda env: [0, 1.0, 2]},
        {"observe": lambda env: np.full(3, 50.0, np.float32)},
        {"step_result": with_step(reward=1)},
        {"step_result": with_step(reward=np.float32(1))},
        {"step_result": with_step(reward=np.array(1.0))},
        {"step_result": with_step(terminated=np.bool_(False), truncated=np.array(False))},
    ],
)
def test_what_is_harmless_is_let_pass(change: dict[str, object]) -> None:
    assert SAC("MlpPolicy", broken(**change), **SMALL).learn(30).num_timesteps == 30


@pytest.mark.parametrize("name", ["step returns four values", "terminated None", "another shape at a later step"])
@pytest.mark.filterwarnings("ignore::UserWarning")  # gymnasium shows the worker's traceback, too
def test_in_a_worker_process(name: str) -> None:
    env, message = BROKEN[name]
    made = make_vector_env(env, 2, asynchronous=True)
    try:
        with pytest.raises(InvalidEnvironmentError, match=message):
            SAC("MlpPolicy", made, **SMALL).learn(30)
    finally:
        made.close(terminate=True)


@pytest.mark.parametrize(
    "name", ["reset returns only the observation", "step returns four values", "step returns no info", "other keys"]
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of gymnasium's own checker
def test_inside_the_wrappers_of_gymnasium_make(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env, message = BROKEN[name]
    spec = gymnasium.envs.registration.EnvSpec("slc_test/Broken-v0", env, max_episode_steps=50)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    with pytest.raises(InvalidEnvironmentError, match=message):
        SAC("MlpPolicy", spec.id, **SMALL).learn(30)


def test_a_vector_env_of_the_user_s_own_is_given_a_hint() -> None:
    env = gymnasium.vector.SyncVectorEnv([BROKEN["step returns four values"][0]])
    with pytest.raises(ValueError, match="expected 5, got 4") as caught:
        SAC("MlpPolicy", env, **SMALL).learn(30)
    assert "check_env(env)" in " ".join(caught.value.__notes__)


def raise_error(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error", [ValueError("not enough values to unpack"), TypeError("keyword argument"), KeyError(1)]
)
@pytest.mark.parametrize("method", ["reset_result", "step_result"])
def test_an_error_of_the_environment_s_own_stays_what_it_is(error: Exception, method: str) -> None:
    with pytest.raises(type(error)) as caught:
        SAC("MlpPolicy", broken(**{method: lambda env: raise_error(error)}), **SMALL).learn(30)
    assert caught.value is error
    assert "check_env" not in " ".join(error.__notes__)


def old_gym_env() -> object:
    base = type("Env", (), {"__module__": "gym.core"})
    return type("OldEnv", (base,), {"__module__": "mine"})()


@pytest.mark.parametrize("env", [old_gym_env(), old_gym_env])
def test_an_environment_of_the_old_gym(env: object) -> None:
    with pytest.raises(TypeError, match=r"'OldEnv', an environment of the old package gym.*shimmy"):
        SAC("MlpPolicy", env, **SMALL)


def test_a_factory_that_makes_none() -> None:
    with pytest.raises(TypeError, match=r"the factory returned None; a gymnasium\.Env is needed"):
        make_vector_env(lambda: None)


def test_a_guard_is_not_seen_in_the_spec() -> None:
    env = gymnasium.make("Pendulum-v1")
    assert make_vector_env(env).envs[0].spec is env.spec
