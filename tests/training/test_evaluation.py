from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from scripted_envs import ForeignVectorEnv, ScriptedEnv

from slc_agents.envs import make_vector_env
from slc_agents.evaluation import evaluate_policy
from slc_agents.training.evaluation import run_episodes


class Model:
    """All that evaluation needs."""

    def __init__(self):
        self.calls = []

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.calls.append((np.array(observation), state, episode_start.tolist(), deterministic))
        return np.zeros((len(observation), 2), np.float32), len(self.calls)


def returns(index, lengths, n):
    """Of the first episodes: 100 index + 10 episode + step is paid."""
    length = [lengths[e % len(lengths)] for e in range(n)]
    return [sum(100 * index + 10 * e + s for s in range(1, length[e] + 1)) for e in range(n)], length


def test_mean_and_deviation():
    mean, std = evaluate_policy(Model(), lambda: ScriptedEnv(0, [2, 4]), 4)
    expected, _ = returns(0, [2, 4], 4)
    assert expected == [3, 50, 43, 130]
    assert (mean, std) == (pytest.approx(np.mean(expected)), pytest.approx(np.std(expected)))
    assert type(mean) is type(std) is float


def test_returns_and_lengths():
    rewards, lengths = evaluate_policy(Model(), lambda: ScriptedEnv(0, [2, 4]), 3, return_episode_rewards=True)
    assert (rewards, lengths) == returns(0, [2, 4], 3)


@pytest.mark.parametrize(("n", "quotas"), [(1, (0, 0, 1)), (5, (1, 2, 2)), (6, (2, 2, 2)), (7, (2, 2, 3))])
@pytest.mark.parametrize("mode", [None, AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_parallel_environments_have_equal_shares(n, quotas, mode):
    """Else environments with short episodes would count more."""
    factories = [lambda i=i: ScriptedEnv(i, [(1, 9, 4)[i]]) for i in range(3)]
    env = make_vector_env(factories) if mode is None else ForeignVectorEnv([make() for make in factories], mode)
    rewards, lengths = evaluate_policy(Model(), env, n, return_episode_rewards=True)
    expected = []
    for i, quota in enumerate(quotas):
        expected += zip(*returns(i, [(1, 9, 4)[i]], quota), strict=True)
    assert sorted(zip(rewards, lengths, strict=True)) == sorted(expected)


def test_what_the_model_is_told():
    model = Model()
    evaluate_policy(model, [lambda: ScriptedEnv(0, [2]), lambda: ScriptedEnv(1, [3])], 3, deterministic=False)
    observations, states, starts, deterministic = zip(*model.calls, strict=True)
    assert [one[:, 2].tolist() for one in observations] == [[0, 0], [1, 1], [0, 2], [1, 0], [0, 1], [1, 2]]
    assert list(states) == [None, 1, 2, 3, 4, 5]
    assert list(starts) == [[True, True], [False, False], [True, False], [False, True], [True, False], [False, False]]
    assert set(deterministic) == {False}
    evaluate_policy(model, ScriptedEnv(0, [2]), 1)
    assert model.calls[-1][3] is True


def test_a_foreign_reset_step_starts_an_episode():
    model = Model()
    evaluate_policy(model, ForeignVectorEnv([ScriptedEnv(0, [2])], AutoresetMode.NEXT_STEP), 2)
    assert [call[2] for call in model.calls] == [[True], [False], [True], [True], [False]]


class Noisy(ScriptedEnv):
    def step(self, action):
        observation, _, *rest = super().step(action)
        return observation, float(self.np_random.normal()), *rest


def test_a_seed_makes_it_reproducible():
    make = lambda: Noisy(0, [5])  # noqa: E731
    first, second, other = (evaluate_policy(Model(), make, 3, seed=seed)[0] for seed in (1, 1, 2))
    assert first == second != other


def test_the_users_environments_stay_open():
    env, members = ScriptedEnv(0, [2]), [ScriptedEnv(i, [2]) for i in range(2)]
    evaluate_policy(Model(), env, 1)
    vector_env = SyncVectorEnv([lambda: members[0], lambda: members[1]])
    evaluate_policy(Model(), vector_env, 1)
    assert not any(one.closed for one in (env, *members))
    assert not vector_env.closed


def test_what_was_made_is_closed_also_after_an_error():
    made = []

    def make():
        made.append(ScriptedEnv(0, [5], wrong=OSError("broken")))
        return made[-1]

    with pytest.raises(OSError, match="broken"):
        evaluate_policy(Model(), make, 1)
    evaluate_policy(Model(), lambda: made.append(ScriptedEnv(0, [2])) or made[-1], 1)
    assert [env.closed for env in made] == [True, True]


def test_max_ep_len():
    env = TimeLimit(ScriptedEnv(0), 5)
    for max_ep_len, lengths in ((None, [5, 5]), (3, [3, 3]), (8, [8, 8])):
        assert evaluate_policy(Model(), env, 2, return_episode_rewards=True, max_ep_len=max_ep_len)[1] == lengths
    assert env._max_episode_steps == 5


@pytest.mark.parametrize("n", [0, -1])
def test_at_least_one_episode(n):
    with pytest.raises(ValueError, match=rf"n_eval_episodes={n}: a whole number of at least 1"):
        evaluate_policy(Model(), ScriptedEnv(0, [2]), n)


def test_run_episodes_tells_which_environment():
    episodes = run_episodes(Model(), make_vector_env([lambda: ScriptedEnv(0, [2]), lambda: ScriptedEnv(1, [3])]), 4)
    assert [(episode.env_index, episode.length) for episode in episodes] == [(0, 2), (1, 3), (0, 2), (1, 3)]


@pytest.mark.parametrize("n", [1, 2])
def test_each_vector_step_is_told_and_the_last_environments_first_episode_whole(n):
    steps = []
    env = make_vector_env([lambda: ScriptedEnv(0, [2]), lambda: ScriptedEnv(1, [3])])
    run_episodes(Model(), env, n, on_step=steps.append)
    assert [step.transition.reward.tolist() for step in steps] == [[1, 101], [2, 102], [11, 103]]
    assert [step.transition.terminated[1] for step in steps] == [False, False, True]
