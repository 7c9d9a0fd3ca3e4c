from __future__ import annotations

import functools
import gc
import os
import pickle
import signal

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from scripted_envs import ForeignVectorEnv, ScriptedEnv

from slc_agents.envs import make_test_env, make_vector_env
from slc_agents.envs.vector import autoreset_mode, cuts_by_mask, resets_by_mask

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED


# -- making ------------------------------------------------------------------------------------------------------------


def test_from_an_id():
    env = make_vector_env("Pendulum-v1", 2, g=9.0)
    assert isinstance(env, SyncVectorEnv)
    assert env.num_envs == 2
    assert env.get_attr("g") == (9.0, 9.0)
    assert autoreset_mode(env) is DISABLED


def test_from_an_environment():
    env = ScriptedEnv(7)
    made = make_vector_env(env)
    assert made.num_envs == 1
    assert made.envs[0].unwrapped is env


def test_from_a_factory_and_from_a_class():
    assert make_vector_env(lambda: ScriptedEnv(3), 2).get_attr("index") == (3, 3)
    assert make_vector_env(ScriptedEnv, 2).get_attr("index") == (0, 0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_from_a_list_of_factories(asynchronous):
    factories = [lambda i=i: ScriptedEnv(i) for i in (4, 5, 6)]
    env = make_vector_env(factories, asynchronous=asynchronous)
    assert isinstance(env, AsyncVectorEnv if asynchronous else SyncVectorEnv)
    assert env.get_attr("index") == (4, 5, 6)
    assert autoreset_mode(env) is DISABLED
    env.close()


def test_a_vector_env_is_returned_as_it_is():
    env = SyncVectorEnv([ScriptedEnv, ScriptedEnv])
    assert make_vector_env(env) is env
    assert make_vector_env(env, 2) is env


@pytest.mark.parametrize(
    ("env", "n_envs", "message"),
    [
        ("Pendulum-v1", 0, "n_envs=0: a whole number of at least 1"),
        (ScriptedEnv(), 2, r"n_envs=2, asynchronous=False: an environment can't be copied. Give its id or a factory"),
        ([ScriptedEnv, ScriptedEnv], 3, "n_envs=3: the list has 2 factories"),
        (SyncVectorEnv([ScriptedEnv, ScriptedEnv]), 3, "n_envs=3: the vector environment has 2"),
    ],
)
def test_n_envs_that_does_not_fit(env, n_envs, message):
    with pytest.raises(ValueError, match=message):
        make_vector_env(env, n_envs)


def test_an_environment_has_no_process_of_its_own():
    with pytest.raises(ValueError, match="asynchronous=True"):
        make_vector_env(ScriptedEnv(), asynchronous=True)


@pytest.mark.parametrize("env", [None, 3, [], ["Pendulum-v1"], [ScriptedEnv()]])
def test_what_is_no_environment_is_a_type_error(env):
    with pytest.raises(TypeError, match="allowed are an id"):
        make_vector_env(env)


def test_keywords_need_an_id():
    with pytest.raises(TypeError, match=r"\['g'\] are for gymnasium.make"):
        make_vector_env(ScriptedEnv, g=9.0)


@pytest.mark.parametrize("wrap", [lambda env: env, gymnasium.wrappers.OrderEnforcing])
def test_a_factory_must_make_a_new_environment_each_time(wrap):
    shared = ScriptedEnv()
    with pytest.raises(ValueError, match="same environment twice"):
        make_vector_env(lambda: wrap(shared), 2)


def test_a_borrowed_environment_stays_open():
    env = ScriptedEnv()
    made = make_vector_env(env)
    made.close()
    del made
    made = make_vector_env(env)
    del made
    gc.collect()
    assert not env.closed


def test_what_was_made_is_closed():
    made = make_vector_env(ScriptedEnv, 2)
    envs = made.envs
    made.close()
    assert [env.unwrapped.closed for env in envs] == [True, True]


class SignalEnv(ScriptedEnv):
    @property
    def ignores_ctrl_c(self):
        return signal.getsignal(signal.SIGINT) is signal.SIG_IGN

    @property
    def process(self):
        return os.getpid()


def test_workers_ignore_ctrl_c_and_this_process_does_not():
    env = make_vector_env(SignalEnv, 2, asynchronous=True)
    assert env.get_attr("ignores_ctrl_c") == (True, True)
    assert len({os.getpid(), *env.get_attr("process")}) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    env.close()


# -- modes -------------------------------------------------------------------------------------------------------------


def foreign(mode, n=2):
    return ForeignVectorEnv([ScriptedEnv(i) for i in range(n)], mode)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
def test_autoreset_mode_of_anything_that_says_it(mode):
    assert autoreset_mode(foreign(mode)) is mode
    assert autoreset_mode(SyncVectorEnv([ScriptedEnv], autoreset_mode=mode)) is mode
    by_name = foreign(mode)
    by_name.metadata = {"autoreset_mode": mode.value}
    assert autoreset_mode(by_name) is mode


@pytest.mark.parametrize("metadata", [None, {}, {"autoreset_mode": "sometimes"}])
def test_autoreset_mode_of_what_does_not_say_it(metadata):
    env = foreign(SAME_STEP)
    env.metadata = metadata
    with pytest.raises(ValueError, match="autoreset_mode"):
        autoreset_mode(env)


def test_masks_are_sent_only_where_they_are_known_to_work():
    for mode in (NEXT_STEP, SAME_STEP, DISABLED):
        assert resets_by_mask(SyncVectorEnv([ScriptedEnv], autoreset_mode=mode))
        assert not resets_by_mask(foreign(mode))
        assert not cuts_by_mask(foreign(mode))
    assert resets_by_mask(foreign(DISABLED, 1))  # the whole of one
    assert not resets_by_mask(foreign(NEXT_STEP, 1))


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", [NEXT_STEP, DISABLED])
def test_masks_in_worker_processes(shared_memory, mode):
    env = AsyncVectorEnv([ScriptedEnv], shared_memory=shared_memory, autoreset_mode=mode)
    assert cuts_by_mask(env)
    assert resets_by_mask(env) == (shared_memory or mode is DISABLED)
    env.close()


# -- test environments -------------------------------------------------------------------------------------------------


def made_for_tests(env):
    vector_env = make_vector_env(env)
    return vector_env, make_test_env(env, vector_env)


def test_test_env_from_an_id():
    _, test_env = made_for_tests("Pendulum-v1")
    assert test_env.num_envs == 1
    assert test_env.envs[0].spec.id == "Pendulum-v1"


def test_test_env_from_a_factory():
    calls = []
    factory = lambda: calls.append(1) or ScriptedEnv(8)  # noqa: E731
    vector_env, test_env = made_for_tests(factory)
    assert len(calls) == 2
    assert test_env.get_attr("index") == (8,)
    assert test_env.envs[0].unwrapped is not vector_env.envs[0].unwrapped


def test_test_env_from_a_list_and_from_the_factories_of_a_vector_env():
    factories = [lambda: ScriptedEnv(8), lambda: ScriptedEnv(9)]
    for env in (factories, SyncVectorEnv(factories)):
        _, test_env = made_for_tests(env)
        assert test_env.get_attr("index") == (8,)


def test_test_env_from_a_spec():
    env = gymnasium.make("Pendulum-v1", g=3.0)
    env.unwrapped.mark = "a copy would have it"
    _, test_env = made_for_tests(env)
    assert test_env.envs[0].unwrapped is not env.unwrapped
    assert test_env.get_attr("g") == (3.0,)
    assert not hasattr(test_env.envs[0].unwrapped, "mark")
    assert test_env.get_attr("_max_episode_steps") == (200,)


def test_test_env_by_a_deep_copy():
    env = ScriptedEnv(5)
    env.reset()
    _, test_env = made_for_tests(env)
    test_env.reset()
    assert test_env.envs[0].unwrapped is not env
    assert (env.episode, test_env.envs[0].unwrapped.episode) == (0, 1)


def test_a_wrapper_that_a_spec_cannot_tell_is_copied():
    class Doubled(gymnasium.ActionWrapper):
        def action(self, action):
            return 2 * action

    env = Doubled(gymnasium.make("Pendulum-v1"))
    _, test_env = made_for_tests(env)
    assert isinstance(test_env.envs[0].env, Doubled)
    assert test_env.envs[0].unwrapped is not env.unwrapped


def test_a_factory_that_returns_the_environment_in_use_is_not_believed():
    env = ScriptedEnv(5)
    vector_env, test_env = made_for_tests(lambda: env)
    assert vector_env.envs[0].unwrapped is env
    assert test_env.envs[0].unwrapped is not env
    assert test_env.get_attr("index") == (5,)
    wrapped_again = lambda: gymnasium.wrappers.OrderEnforcing(env)  # noqa: E731
    _, test_env = made_for_tests(wrapped_again)
    assert test_env.envs[0].unwrapped is not env
    assert not env.closed


def test_test_env_of_a_foreign_vector_env_is_a_copy():
    env = foreign(SAME_STEP)
    assert make_test_env(env, env).reset()[0].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert env.members[0].episode == -1


def test_there_may_be_no_way_to_make_a_test_env():
    class Unique(ScriptedEnv):
        def __deepcopy__(self, memo):
            raise TypeError("there is only one")

    env = Unique()
    assert make_test_env(env, make_vector_env(env)) is None
    assert make_test_env(lambda: env, make_vector_env(lambda: env)) is None


def test_test_env_of_workers():
    vector_env = make_vector_env(lambda: ScriptedEnv(3), 2, asynchronous=True)
    test_env = make_test_env(vector_env, vector_env)
    assert test_env.get_attr("index") == (3,)
    vector_env.close()


def test_a_whole_of_one_is_stepped_through_the_borrowed_wrapper():
    env = ScriptedEnv(1)
    made = make_vector_env(env)
    made.reset(seed=4)
    observation, *_ = made.step(np.zeros((1, 2), np.float32))
    assert observation.tolist() == [[1, 0, 1]]
    assert env.seeds == [4]


# -- wrappers ----------------------------------------------------------------------------------------------------------


class Named(gymnasium.Wrapper):
    def __init__(self, env, name="class"):
        super().__init__(env)
        self.names = [*getattr(env, "names", ()), name]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("env", ["Pendulum-v1", ScriptedEnv, [ScriptedEnv, ScriptedEnv]])
def test_wrappers_are_put_around_each_copy_in_their_order(env, asynchronous):
    wrappers = [Named, functools.partial(Named, name="partial")]
    made = make_vector_env(env, 2, asynchronous=asynchronous, wrappers=wrappers)
    assert made.get_attr("names") == (["class", "partial"], ["class", "partial"])
    made.close()


def test_wrappers_act_and_keywords_stay_those_of_make():
    limit = functools.partial(gymnasium.wrappers.TimeLimit, max_episode_steps=3)
    made = make_vector_env("Pendulum-v1", wrappers=[limit, gymnasium.wrappers.FlattenObservation], g=9.0)
    assert made.get_attr("g") == (9.0,)
    made.reset(seed=0)
    assert [made.step(np.zeros((1, 1), np.float32))[3][0] for _ in range(3)] == [False, False, True]


def test_a_wrapped_factory_can_be_pickled():
    factory = make_vector_env("Pendulum-v1", wrappers=[Named]).env_fns[0]
    assert pickle.loads(pickle.dumps(factory))().get_wrapper_attr("names") == ["class"]


def test_test_env_has_the_wrappers():
    for asynchronous in (False, True):
        vector_env = make_vector_env(ScriptedEnv, 2, asynchronous=asynchronous, wrappers=[Named])
        assert make_test_env(vector_env, vector_env).get_attr("names") == (["class"],)
        vector_env.close()


@pytest.mark.parametrize(
    ("env", "wrappers", "error", "message"),
    [
        (ScriptedEnv(), [Named], ValueError, "which is made already. Give its id or a factory"),
        (SyncVectorEnv([ScriptedEnv]), [Named], ValueError, "which is made already"),
        (ScriptedEnv, Named, TypeError, r"a sequence is needed: wrappers=\["),
        (ScriptedEnv, "TimeLimit", TypeError, "a sequence is needed"),
        (ScriptedEnv, [3], TypeError, "received 3; each must be a wrapper's class"),
        (ScriptedEnv, [Named(ScriptedEnv())], TypeError, "each must be a wrapper's class"),
        (ScriptedEnv, [lambda env: None], TypeError, "wrappers: <function.*returned None; a gymnasium.Env"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True])
def test_wrappers_that_make_no_sense(env, wrappers, error, message, asynchronous):
    with pytest.raises(error, match=message):
        make_vector_env(env, wrappers=wrappers, asynchronous=asynchronous and error is TypeError)
