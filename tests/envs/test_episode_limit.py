from __future__ import annotations

import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit
from scripted_envs import ForeignVectorEnv, ScriptedEnv

from slc_agents.envs import episode_limit, find_episode_limit, make_vector_env

LIMIT = "_max_episode_steps"


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def limited(request):
    env = make_vector_env([lambda: TimeLimit(ScriptedEnv(), 5), lambda: TimeLimit(ScriptedEnv(), 9)],
                          asynchronous=request.param)  # fmt: skip
    yield env
    env.close()


@pytest.mark.parametrize(("max_ep_len", "inside"), [(None, (5, 9)), (3, (5, 9)), (7, (7, 9)), (20, (20, 20))])
def test_lower_limits_are_raised_and_restored(limited, max_ep_len, inside):
    with episode_limit(limited, max_ep_len):
        assert limited.get_attr(LIMIT) == inside
    assert limited.get_attr(LIMIT) == (5, 9)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_limits_are_restored_after_an_exception(limited, error):
    with pytest.raises(error), episode_limit(limited, 20):
        raise error
    assert limited.get_attr(LIMIT) == (5, 9)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_environment_without_a_limit_is_left_alone(asynchronous):
    env = make_vector_env(ScriptedEnv, 2, asynchronous=asynchronous)
    with episode_limit(env, 7):
        assert env.call("has_wrapper_attr", LIMIT) == (False, False)
    env.close()


def test_the_limit_is_found(limited):
    assert find_episode_limit(limited, None) == 9
    assert find_episode_limit(limited, 3) == 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_where_there_is_no_limit_none_is_found(asynchronous):
    makers = [lambda: TimeLimit(ScriptedEnv(), 5), ScriptedEnv]
    for one, wanted in (([makers[0]] * 2, 5), ([makers[1]], None), (makers, None)):
        env = make_vector_env(one, asynchronous=asynchronous)
        assert find_episode_limit(env, None) == wanted
        env.close()


def test_the_limit_of_a_foreign_vector_env_is_its_spec_s():
    env = ForeignVectorEnv([ScriptedEnv()], AutoresetMode.SAME_STEP)
    assert find_episode_limit(env, None) is None
    env.spec = EnvSpec("Foreign-v0", max_episode_steps=40)
    assert find_episode_limit(env, None) == 40
    assert find_episode_limit(env, 7) == 7


def test_it_may_be_closed_inside():
    env = make_vector_env(lambda: TimeLimit(ScriptedEnv(), 5))
    with episode_limit(env, 7):
        env.close()


def test_a_foreign_vector_env_is_left_alone():
    env = ForeignVectorEnv([ScriptedEnv()], AutoresetMode.SAME_STEP)
    with episode_limit(env, 7):
        assert not hasattr(env, LIMIT)
