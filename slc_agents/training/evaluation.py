"""How good is a policy? Episodes of anything that can `predict`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, overload

import numpy as np
from gymnasium.vector import VectorEnv

from slc_agents.envs import EnvLike, episode_limit, make_vector_env
from slc_agents.errors import NonFiniteError, check_flag, check_whole_number
from slc_agents.spaces import NUMBERS, row_not_finite
from slc_agents.training.collector import Collector
from slc_agents.transition import Array, Episode, Step

__all__ = ["Predictor", "evaluate_policy", "run_episodes"]


class Predictor(Protocol):
    """Anything with Stable-Baselines3's `predict`."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Returns actions [n, *shape] for observations [n, *shape], and the policy's next recurrent state."""


@overload
def evaluate_policy(
    model: Predictor,
    env: EnvLike,
    n_eval_episodes: int = ...,
    deterministic: bool = ...,
    return_episode_rewards: Literal[False] = ...,
    *,
    seed: int | None = ...,
    max_ep_len: int | None = ...,
) -> tuple[float, float]: ...
@overload
def evaluate_policy(
    model: Predictor,
    env: EnvLike,
    n_eval_episodes: int = ...,
    deterministic: bool = ...,
    *,
    return_episode_rewards: Literal[True],
    seed: int | None = ...,
    max_ep_len: int | None = ...,
) -> tuple[list[float], list[int]]: ...
def evaluate_policy(
    model: Predictor,
    env: EnvLike,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    return_episode_rewards: bool = False,
    *,
    seed: int | None = None,
    max_ep_len: int | None = None,
) -> tuple[float, float] | tuple[list[float], list[int]]:
    """Runs episodes and returns the mean and standard deviation of their returns.

    Args:
        model: Anything with a `predict` like the agents'.
        env: An id, an environment, a factory, a list of factories or a vector environment.
        n_eval_episodes: Number of episodes, shared out evenly over parallel environments, so that those with short
            episodes don't count more.
        deterministic: Whether the policy's mean action is taken, not a sample.
        return_episode_rewards: Whether to return the list of returns and the list of lengths instead.
        seed: Seed of the first reset.
        max_ep_len: Length at which episodes are truncated. None: the environment's own limit.

    Raises:
        TypeError: If the model can't predict, or a switch is neither True nor False.
        ValueError: If a number is out of range, or the model's actions don't fit the environment.
        NonFiniteError: If an observation, a reward or an action is NaN or infinite.
    """
    return_episode_rewards = check_flag("return_episode_rewards", return_episode_rewards)
    vector_env = make_vector_env(env)
    try:
        episodes = run_episodes(
            model, vector_env, n_eval_episodes, deterministic=deterministic, seed=seed, max_ep_len=max_ep_len
        )
    finally:
        if vector_env is not env:
            vector_env.close()
    if return_episode_rewards:
        return [episode.reward for episode in episodes], [episode.length for episode in episodes]
    returns = [episode.reward for episode in episodes]
    return float(np.mean(returns)), float(np.std(returns))


def run_episodes(
    model: Predictor,
    env: VectorEnv[Any, Any, Any],
    n_episodes: int,
    *,
    deterministic: bool = True,
    seed: int | None = None,
    max_ep_len: int | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> list[Episode]:
    """Runs episodes of a policy in a vector environment; see `evaluate_policy`.

    `on_step` is called with what each vector step brought. Of the last environment at least one episode is always seen
    to its end.
    """
    n_episodes = check_whole_number("n_eval_episodes", n_episodes)
    deterministic = check_flag("deterministic", deterministic)
    if seed is not None:
        seed = check_whole_number("seed", seed, 0)
    if max_ep_len is not None:
        max_ep_len = check_whole_number("max_ep_len", max_ep_len)
    if isinstance(model, type) or not callable(getattr(model, "predict", None)):
        raise TypeError(f"model: received {model!r}; an object with a method predict is needed, such as an agent")
    collector = Collector(env, max_ep_len, purpose="evaluation")
    quotas = [(n_episodes + i) // env.num_envs for i in range(env.num_envs)]
    episodes: list[Episode] = []
    state: Any = None
    episode_start = np.ones(env.num_envs, bool)
    with episode_limit(env, max_ep_len):
        collector.reset(seed)
        while any(quotas):
            answer = model.predict(collector.observation, state, episode_start, deterministic)
            if not isinstance(answer, tuple) or len(answer) != 2:
                raise TypeError(f"model: its predict returned {answer!r:.80}; a tuple (actions, state) is needed")
            action, state = np.asarray(answer[0]), answer[1]
            _check_action(action, env, collector.steps)
            transition, ended = collector.step(action)
            if on_step is not None and collector.last_step is not None:
                on_step(collector.last_step)
            episode_start = (transition.terminated | transition.truncated) | ~transition.valid
            for episode in ended:
                if quotas[episode.env_index] > 0:
                    quotas[episode.env_index] -= 1
                    episodes.append(episode)
    return episodes


def _check_action(action: Array, env: VectorEnv[Any, Any, Any], step: int) -> None:
    """Checks what a model that may be anybody's wants the environments to do."""
    shape = env.single_action_space.shape
    if shape is None:  # of spaces that are no arrays
        return
    if action.shape != (env.num_envs, *shape) or action.dtype.kind not in NUMBERS:
        raise ValueError(
            f"model: its predict returned actions of shape {action.shape} and dtype {action.dtype}; for observations "
            f"of {env.num_envs} environment(s) numbers of shape {(env.num_envs, *shape)} are needed"
        )
    row = row_not_finite(action)
    if row is not None:
        raise NonFiniteError(
            f"model: its action for environment {row} is not finite after {step} steps of evaluation: {action[row]!r}"
        )
