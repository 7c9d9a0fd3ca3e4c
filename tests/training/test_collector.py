from __future__ import annotations

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from scripted_envs import KINDS, ForeignVectorEnv, ScriptedEnv, Step, script, show

from slc_agents.envs import episode_limit, make_vector_env
from slc_agents.errors import NonFiniteError
from slc_agents.training.collector import Collector

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
LENGTHS = ((3,), (2, 5), (4, 1))  # episodes of the three environments; a length of 1 ends twice in a row


def factories(kind="float32", *, terminates=True, lengths=LENGTHS, limit=None):
    def make(i):
        env = ScriptedEnv(i, lengths[i], kind=kind, terminates=terminates)
        return env if limit is None else TimeLimit(env, limit)

    return [lambda i=i: make(i) for i in range(len(lengths))]


def check_observation(observation, index, episode, step, kind):
    expected = show(index, episode, step, kind)
    stored = {"float64": np.float32}.get(kind)
    if kind == "dict":
        assert observation.keys() == expected.keys()
        for key in expected:
            assert observation[key].dtype == expected[key].dtype
            np.testing.assert_array_equal(observation[key][index], expected[key])
    else:
        assert observation.dtype == (stored or expected.dtype)
        np.testing.assert_array_equal(observation[index], expected)


def collect(collector, n_steps, kind="float32"):
    """Steps, checks that every observation is the one that it should be, and returns each environment's steps."""
    collector.reset(seed=5)
    steps = [[] for _ in range(collector.n_envs)]
    episodes = []
    action = np.zeros((collector.n_envs, 2), np.float32)
    for _ in range(n_steps):
        before = collector.observation
        transition, ended = collector.step(action)
        episodes += ended
        assert transition.observation is before
        assert transition.reward.dtype == np.float32
        for i in range(collector.n_envs):
            if not transition.valid[i]:
                continue
            where = transition.observation["numbers"] if kind == "dict" else transition.observation
            _, episode, step = (int(number) for number in where[i])
            check_observation(transition.observation, i, episode, step, kind)
            check_observation(transition.next_observation, i, episode, step + 1, kind)
            row = Step(episode, step, transition.reward[i], transition.terminated[i], transition.truncated[i])
            steps[i].append(row)
    return steps, episodes


def check(collector, n_steps=17, kind="float32", *, lengths=LENGTHS, terminates=True, max_ep_len=None):
    steps, episodes = collect(collector, n_steps, kind)
    expected_episodes = set()
    for i, own in enumerate(steps):
        expected = list(script(i, len(own), lengths[i], terminates=terminates, max_ep_len=max_ep_len))
        assert own == expected
        rewards = []
        for row in expected:
            rewards.append(row.reward)
            if row.terminated or row.truncated:
                expected_episodes.add((i, row.episode, sum(rewards), len(rewards)))
                rewards = []
    counted = {}
    for episode in episodes:
        counted[episode.env_index] = counted.get(episode.env_index, -1) + 1
        expected_episodes.remove((episode.env_index, counted[episode.env_index], episode.reward, episode.length))
    assert not expected_episodes
    assert collector.steps == sum(map(len, steps))
    return steps


@pytest.mark.parametrize("terminates", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", [None, NEXT_STEP, SAME_STEP, DISABLED])
def test_each_transition_is_true_in_every_mode(mode, kind, terminates):
    made = factories(kind, terminates=terminates)
    env = make_vector_env(made) if mode is None else SyncVectorEnv(made, autoreset_mode=mode)
    steps = check(Collector(env), kind=kind, terminates=terminates)
    assert [len(own) for own in steps] == [17, 17, 17]


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
@pytest.mark.parametrize("max_ep_len", [None, 2])
def test_each_transition_is_true_in_worker_processes(mode, shared_memory, max_ep_len):
    env = AsyncVectorEnv(factories("dict"), shared_memory=shared_memory, autoreset_mode=mode)
    try:
        steps = check(Collector(env, max_ep_len), kind="dict", max_ep_len=max_ep_len)
    finally:
        env.close()
    skips = mode is NEXT_STEP and not shared_memory  # there its own resets can't be forestalled
    assert [len(own) == 17 for own in steps] == [not skips or max_ep_len == 2, not skips, not skips]


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
@pytest.mark.parametrize("n", [1, 3])
def test_each_transition_is_true_in_a_foreign_vector_env(mode, n):
    env = ForeignVectorEnv([factory() for factory in factories()][:n], mode)
    steps = check(Collector(env), lengths=LENGTHS[:n])
    if mode is NEXT_STEP:  # each reset takes a step, which is not counted; its reward of NaN doesn't matter
        for i, own in enumerate(steps):
            resets = sum(row.terminated for row in own) - own[-1].terminated
            assert len(own) == 17 - resets, i
    else:
        assert [len(own) for own in steps] == [17] * n


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
@pytest.mark.parametrize("max_ep_len", [1, 2, 3, 4])
def test_max_ep_len_truncates_at_exactly_that_length(mode, max_ep_len):
    env = SyncVectorEnv(factories(), autoreset_mode=mode)
    check(Collector(env, max_ep_len), max_ep_len=max_ep_len)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
@pytest.mark.parametrize("max_ep_len", [2, 3, 7])
def test_max_ep_len_beside_a_time_limit(mode, max_ep_len, asynchronous):
    endless = ((), (), ())
    make = AsyncVectorEnv if asynchronous else SyncVectorEnv
    env = make(factories(lengths=endless, limit=3), autoreset_mode=mode)
    try:
        collector = Collector(env, max_ep_len)
        with episode_limit(env, max_ep_len):
            check(collector, lengths=endless, max_ep_len=max_ep_len)
        assert env.get_attr("_max_episode_steps") == (3, 3, 3)
    finally:
        env.close()


def test_a_termination_at_max_ep_len_is_no_truncation():
    collector = Collector(make_vector_env(lambda: ScriptedEnv(0, [2])), 2)
    collector.reset()
    collector.step(np.zeros((1, 2)))
    transition, _ = collector.step(np.zeros((1, 2)))
    assert transition.terminated.tolist() == [True]
    assert transition.truncated.tolist() == [False]


def test_an_environment_that_truncates_by_itself_contradicts_a_longer_max_ep_len():
    env = make_vector_env([lambda: ScriptedEnv(0), lambda: ScriptedEnv(1, [3], terminates=False)])
    with pytest.raises(ValueError, match=r"max_ep_len=5: environment 1 truncated an episode by itself after 3 steps"):
        collect(Collector(env, 5), 5)
    own = make_vector_env(lambda: ScriptedEnv(0, [3], terminates=False))
    check(Collector(own, 3), lengths=((3,),), terminates=False, max_ep_len=3)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_a_foreign_vector_env_cannot_be_cut(mode):
    env = ForeignVectorEnv([ScriptedEnv(0), ScriptedEnv(1)], mode)
    with pytest.raises(ValueError, match=r"max_ep_len=5: .* can't reset single environments"):
        Collector(env, 5)


def spec(limit):
    return gymnasium.envs.registration.EnvSpec("Scripted-v0", max_episode_steps=limit)


def test_a_foreign_vector_env_may_have_just_that_limit():
    members = [ScriptedEnv(i, [3], terminates=False) for i in range(2)]
    env = ForeignVectorEnv(members, SAME_STEP)
    env.spec = spec(3)
    check(Collector(env, 3), lengths=((3,), (3,)), terminates=False, max_ep_len=3)
    with pytest.raises(ValueError, match=r"max_ep_len=4: .* truncates episodes after 3 steps by itself"):
        Collector(env, 4)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP])
def test_a_foreign_vector_env_that_breaks_its_promise_is_refused(mode):
    env = ForeignVectorEnv([ScriptedEnv(0), ScriptedEnv(1)], mode)
    env.spec = spec(3)
    with pytest.raises(ValueError, match=r"max_ep_len=3: .* didn't truncate"):
        collect(Collector(env, 3), 3)


def test_one_foreign_environment_without_resets_of_its_own_is_reset_and_cut():
    env = ForeignVectorEnv([ScriptedEnv(0, [4, 2])], DISABLED)
    check(Collector(env, 3), lengths=((4, 2),), max_ep_len=3)


@pytest.mark.parametrize(
    ("mode", "message"), [(DISABLED, "leaves resets to its user"), (None, r"metadata\['autoreset_mode'\]=None")]
)
def test_foreign_vector_envs_that_leave_resets_open_are_refused(mode, message):
    with pytest.raises(ValueError, match=message):
        Collector(ForeignVectorEnv([ScriptedEnv(0), ScriptedEnv(1)], mode))


def test_a_lost_last_observation_is_an_error():
    env = ForeignVectorEnv([ScriptedEnv(0, [2])], SAME_STEP, final_obs=False)
    with pytest.raises(ValueError, match="has no 'final_obs'"):
        collect(Collector(env), 3)


def test_resets_restart_the_counts():
    collector = Collector(make_vector_env(lambda: ScriptedEnv(0, [4])))
    for _ in range(2):
        collector.reset()
        for _ in range(3):
            collector.step(np.zeros((1, 2)))
    _, (episode,) = collector.step(np.zeros((1, 2)))
    assert (episode.reward, episode.length) == (11 + 12 + 13 + 14, 4)


@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP, DISABLED])
def test_what_the_last_step_brought_is_kept(mode):
    collector = Collector(SyncVectorEnv(factories(), autoreset_mode=mode))
    collector.reset()
    assert collector.last_step is None
    for _ in range(4):
        transition, episodes = collector.step(np.zeros((3, 2), np.float32))
        step = collector.last_step
        assert step.transition is transition
        assert step.episodes is episodes
        assert step.observation is collector.observation
        assert isinstance(step.info, dict)
    collector.reset()
    assert collector.last_step is None


def test_step_needs_a_reset_first():
    with pytest.raises(RuntimeError, match="reset"):
        Collector(make_vector_env(ScriptedEnv)).step(np.zeros((1, 2)))


def wrong(kind="float32", **what):
    return make_vector_env([lambda: ScriptedEnv(0, kind=kind), lambda: ScriptedEnv(1, kind=kind, **what)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("kind", "name"), [("float32", "observation"), ("float64", "observation"), ("dict", "observation 'numbers'")]
)
def test_observations_that_are_not_finite_are_named(kind, name, value):
    with pytest.raises(
        NonFiniteError, match=rf"the {name} from step\(\) of environment 1 .* after 4 steps of training: "
    ):
        collect(Collector(wrong(kind, wrong=value)), 5, kind)


def test_a_double_too_large_for_a_float_is_not_finite():
    with pytest.raises(NonFiniteError, match=r"environment 1 .* float32"):
        collect(Collector(wrong("float64", wrong=1e39)), 5, "float64")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_rewards_that_are_not_finite_are_named(value):
    with pytest.raises(
        NonFiniteError,
        match=rf"the reward .* environment 1 is not finite after 4 steps of training: {re.escape(str(value))} ",
    ):
        collect(Collector(wrong(wrong_reward=value)), 5)


def test_large_values_are_no_error():
    steps, _ = collect(Collector(make_vector_env(lambda: ScriptedEnv(0, wrong_reward=3e38))), 3)
    assert steps[0][2].reward == np.float32(3e38)


def test_a_last_observation_that_is_not_finite_is_named():
    env = SyncVectorEnv([lambda: ScriptedEnv(0, [3], wrong=np.nan)], autoreset_mode=SAME_STEP)
    with pytest.raises(NonFiniteError, match="final_obs"):
        collect(Collector(env), 3)


def test_an_error_of_the_environment_gets_a_note_and_a_reset_helps():
    collector = Collector(wrong(wrong=OSError("broken")))
    with pytest.raises(OSError, match="broken") as raised:
        collect(collector, 5)
    assert "Raised by the environment in step(), after 4 steps" in raised.value.__notes__[0]
    assert "learn() or resume()" in raised.value.__notes__[0]
    assert collector.observation is None
    collector.reset()
    collector.step(np.zeros((2, 2)))
    assert collector.observation[:, 1].tolist() == [1, 1]


def test_an_error_in_reset_gets_a_note():
    class Broken(ScriptedEnv):
        def reset(self, **_):
            raise OSError("broken")

    with pytest.raises(OSError, match="broken") as raised:
        Collector(make_vector_env(Broken)).reset()
    assert "in reset()" in raised.value.__notes__[0]


@pytest.mark.filterwarnings("ignore")  # gymnasium's report of the worker's end
def test_an_error_in_a_worker_asks_for_another_environment():
    env = make_vector_env([lambda: ScriptedEnv(0, wrong=OSError("broken"))], asynchronous=True)
    with pytest.raises(OSError, match="broken") as raised:
        collect(Collector(env), 5)
    assert "set_env()" in raised.value.__notes__[0]
    env.close(terminate=True)


@pytest.mark.parametrize("answered", [0, 1, 2])
def test_ctrl_c_in_a_step_of_workers_leaves_them_usable(monkeypatch, answered):
    env = make_vector_env(factories(), asynchronous=True)
    collector = Collector(env)
    collector.reset()

    def interrupted(timeout=None):
        for pipe in env.parent_pipes[:answered]:
            pipe.recv()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(env, "step_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            collector.step(np.zeros((3, 2), np.float32))
    assert collector.observation is None
    collector.reset()
    np.testing.assert_array_equal(collector.observation, [[0, 1, 0], [1, 1, 0], [2, 1, 0]])
    transition, _ = collector.step(np.zeros((3, 2), np.float32))
    np.testing.assert_array_equal(transition.next_observation, [[0, 1, 1], [1, 1, 1], [2, 1, 1]])
    env.close()


def test_observations_are_copies():
    env = make_vector_env(lambda: ScriptedEnv(0))
    collector = Collector(env)
    collector.reset()
    first, _ = collector.step(np.zeros((1, 2)))
    collector.step(np.zeros((1, 2)))
    assert first.observation.tolist() == [[0, 0, 0]]
    assert first.next_observation.tolist() == [[0, 0, 1]]
