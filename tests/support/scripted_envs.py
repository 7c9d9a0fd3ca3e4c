"""Environments of which everything is known beforehand, so that each transition can be checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

KINDS = ("float32", "float64", "uint8", "dict")


class Step(NamedTuple):
    """A transition, told by the numbers of its episode and steps."""

    episode: int
    step: int  # of the observation; the next one has step + 1
    reward: float
    terminated: bool
    truncated: bool


class ScriptedEnv(gymnasium.Env[Any, Any]):
    """Shows (index, episode, step), pays 100 index + 10 episode + step, and ends its episodes as it is told.

    Args:
        index: Number of this environment.
        lengths: Lengths of its episodes, over and over; none: they don't end.
        terminates: Whether they end by terminating, not by truncating.
        kind: Of its observations: a dtype, or "dict" for {"numbers": float32, "image": uint8 [2, 2]}.
        wrong: What to do wrong in step number `wrong_at` of its life: a value to show, an error to raise.
        wrong_reward: A reward to pay there instead.
    """

    metadata: dict[str, Any] = {}  # noqa: RUF012 - as gymnasium has it

    def __init__(
        self,
        index: int = 0,
        lengths: Sequence[int] = (),
        *,
        terminates: bool = True,
        kind: str = "float32",
        wrong: float | Exception | None = None,
        wrong_reward: float | None = None,
        wrong_at: int = 3,
    ) -> None:
        self.index, self.lengths, self.terminates, self.kind = index, tuple(lengths), terminates, kind
        self.wrong, self.wrong_reward, self.wrong_at = wrong, wrong_reward, wrong_at
        self.episode, self.elapsed, self.life = -1, 0, 0
        self.actions: list[Any] = []
        self.seeds: list[int | None] = []
        self.closed = False
        self.action_space = spaces.Box(-2.0, 4.0, (2,), np.float32)
        if kind == "dict":
            self.observation_space: spaces.Space[Any] = spaces.Dict(
                {"numbers": spaces.Box(-np.inf, np.inf, (3,)), "image": spaces.Box(0, 255, (2, 2), np.uint8)}
            )
        elif kind == "uint8":
            self.observation_space = spaces.Box(0, 255, (3,), np.uint8)
        else:
            self.observation_space = spaces.Box(-np.inf, np.inf, (3,), np.dtype(kind).type)

    def observe(self) -> Any:
        return show(self.index, self.episode, self.elapsed, self.kind)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.episode, self.elapsed = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.actions.append(np.array(action))
        self.elapsed += 1
        self.life += 1
        observation, reward = self.observe(), 100.0 * self.index + 10.0 * self.episode + self.elapsed
        if self.life == self.wrong_at:
            if isinstance(self.wrong, Exception):
                raise self.wrong
            if self.wrong is not None:
                (observation["numbers"] if self.kind == "dict" else observation)[1] = self.wrong
            reward = reward if self.wrong_reward is None else self.wrong_reward
        ended = bool(self.lengths) and self.elapsed >= self.lengths[self.episode % len(self.lengths)]
        return observation, reward, ended and self.terminates, ended and not self.terminates, {}

    def close(self) -> None:
        self.closed = True


def show(index: int, episode: int, step: int, kind: str = "float32") -> Any:
    """Returns what a `ScriptedEnv` shows."""
    if kind == "dict":
        return {
            "numbers": np.array([index, episode, step], np.float32),
            "image": np.full((2, 2), 10 * index + step, np.uint8),
        }
    return np.array([index, episode, step], np.dtype(kind))


def script(
    index: int, n: int, lengths: Sequence[int] = (), *, terminates: bool = True, max_ep_len: int | None = None
) -> Iterator[Step]:
    """Yields the first `n` transitions of a `ScriptedEnv` whose episodes are cut at `max_ep_len`."""
    episode = step = 0
    for _ in range(n):
        ended = bool(lengths) and step + 1 >= lengths[episode % len(lengths)]
        terminated = ended and terminates
        truncated = (ended and not terminates) or (not terminated and step + 1 == max_ep_len)
        yield Step(episode, step, 100.0 * index + 10.0 * episode + step + 1, terminated, truncated)
        episode, step = (episode + 1, 0) if terminated or truncated else (episode, step + 1)


class ForeignVectorEnv(VectorEnv[Any, Any, Any]):
    """Somebody's own vector environment: it resets by itself, and knows no masks."""

    def __init__(self, members: Sequence[ScriptedEnv], mode: AutoresetMode | None, *, final_obs: bool = True) -> None:
        self.members, self.mode, self.final_obs = list(members), mode, final_obs
        self.num_envs = len(self.members)
        self.metadata = {"autoreset_mode": mode} if mode is not None else {}
        self.single_observation_space = self.members[0].observation_space
        self.single_action_space = self.members[0].action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._ended = [False] * self.num_envs

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._ended = [False] * self.num_envs
        return np.stack([member.reset(seed=seed)[0] for member in self.members]), {}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        rows, final = [], np.full(self.num_envs, None, object)
        for i, (member, action) in enumerate(zip(self.members, actions, strict=True)):
            if self._ended[i] and self.mode is AutoresetMode.NEXT_STEP:
                # What such a step says beside the observation means nothing.
                observation, reward, terminated, truncated = member.reset()[0], np.nan, i % 2 == 1, i % 2 == 1
                self._ended[i] = False
            else:
                observation, reward, terminated, truncated, _ = member.step(action)
                self._ended[i] = terminated or truncated
            if self._ended[i] and self.mode is AutoresetMode.SAME_STEP:
                final[i], observation = observation, member.reset()[0]
            rows.append((observation, reward, terminated, truncated))
        observations, rewards, terminated_, truncated_ = (np.stack(column) for column in zip(*rows, strict=True))
        info = {"final_obs": final} if self.final_obs and any(one is not None for one in final) else {}
        return observations, rewards, terminated_, truncated_, info
