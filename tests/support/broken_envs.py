"""Environments that break one rule each."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class GoodEnv(gymnasium.Env[Any, Any]):
    """Breaks none. What others change is a method of its own."""

    observation_space: spaces.Space[Any] = spaces.Box(-10.0, 10.0, (3,), np.float32)
    action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (1,), np.float32)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.reset_result()

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.step_result()

    def observe(self) -> Any:
        return np.full(3, self.steps / 10, np.float32)

    def reset_result(self) -> Any:
        return self.observe(), {}

    def step_result(self) -> Any:
        return self.observe(), 0.5, False, self.steps >= 20, {}


class DictEnv(GoodEnv):
    observation_space = spaces.Dict({"a": spaces.Box(-1.0, 1.0, (2,)), "b": spaces.Box(-1.0, 1.0, (3,))})

    def observe(self) -> Any:
        return {"a": np.zeros(2, np.float32), "b": np.zeros(3, np.float32)}


class ImageEnv(GoodEnv):
    observation_space = spaces.Box(0, 255, (3,), np.uint8)

    def observe(self) -> Any:
        return np.zeros(3, np.uint8)


class NoSeedEnv(GoodEnv):
    def reset(self) -> Any:  # type: ignore[override]
        return self.reset_result()


class NoStepEnv(gymnasium.Env[Any, Any]):
    observation_space, action_space = GoodEnv.observation_space, GoodEnv.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}


def broken(base: type[GoodEnv] = GoodEnv, **methods: Any) -> type[GoodEnv]:
    """Makes a class with other methods, each a function of the environment."""
    return type("BrokenEnv", (base,), methods)


def with_step(observation: Any = None, reward: Any = 0.5, terminated: Any = False, truncated: Any = False) -> Any:
    """Makes a `step_result`."""
    return lambda env: (env.observe() if observation is None else observation, reward, terminated, truncated, {})


# What is broken, and what must be said of it.
BROKEN: dict[str, tuple[Any, str]] = {
    "reset returns only the observation": (
        broken(reset_result=lambda env: env.observe()),
        r"BrokenEnv.reset\(\) returned array of shape \(3,\) and dtype float32; \(observation, info\) is needed",
    ),
    "reset returns three values": (broken(reset_result=lambda env: (env.observe(), {}, 1)), "returned tuple of 3"),
    "reset returns no info": (broken(reset_result=lambda env: (env.observe(), None)), r"returned the info None"),
    "reset without keywords": (NoSeedEnv, r"def reset\(self, \*, seed=None, options=None\)"),
    "step is missing": (NoStepEnv, r"NoStepEnv.step\(\) is not there"),
    "step returns four values": (
        broken(step_result=lambda env: (env.observe(), 0.5, False, {})),
        r"BrokenEnv.step\(\) returned 4 values.*5 are needed.*Say instead of done",
    ),
    "step returns nothing": (broken(step_result=lambda env: None), r"step\(\) returned None"),
    "step returns no info": (
        broken(step_result=lambda env: (env.observe(), 0.5, False, False, [])),
        r"step\(\) returned the info list of 0; a dict is needed",
    ),
    "reward None": (broken(step_result=with_step(reward=None)), r"the reward None.*Return float\(reward\)"),
    "reward an array": (broken(step_result=with_step(reward=np.ones(1))), r"the reward array of shape \(1,\)"),
    "reward a text": (broken(step_result=with_step(reward="3")), "the reward '3'"),
    "terminated a text": (broken(step_result=with_step(terminated="no")), r"terminated as 'no'.*bool\(terminated\)"),
    "terminated None": (broken(step_result=with_step(terminated=None)), "terminated as None"),
    "terminated an array": (
        broken(step_result=with_step(terminated=np.array([False]))),
        r"of shape \(1,\) and dtype b",
    ),
    "truncated a number": (broken(step_result=with_step(truncated=0)), r"truncated as 0 \(int\).*bool\(truncated\)"),
    "another shape": (broken(observe=lambda env: np.zeros(4, np.float32)), r"of shape \(4,\); .* declares \(3,\)"),
    "another shape at a later step": (
        broken(observe=lambda env: np.zeros(4 if env.steps > 3 else 3, np.float32)),
        r"step\(\) returned an observation of shape \(4,\)",
    ),
    "no numbers": (broken(observe=lambda env: np.array(["a", "b", "c"])), "needs numbers"),
    "no observation": (broken(observe=lambda env: None), "the observation None"),
    "ragged": (broken(observe=lambda env: [[1], [1, 2], []]), "the observation list of 3; .* needs numbers"),
    "scaled images": (
        broken(ImageEnv, observe=lambda env: np.zeros(3)),
        "dtype float64, .*uint8.*unscaled, as np.uint8",
    ),
    "a dict for an array": (broken(observe=lambda env: {"a": np.zeros(3)}), r"dict with the keys \['a'\]"),
    "an array for a dict": (
        broken(DictEnv, observe=lambda env: np.zeros(5)),
        r"needs a dict with the keys \['a', 'b'\]",
    ),
    "other keys": (broken(DictEnv, observe=lambda env: {"a": np.zeros(2), "c": 0}), r"\['a', 'c'\]; .* \['a', 'b'\]"),
    "one key too many": (
        broken(DictEnv, observe=lambda env: DictEnv.observe(env) | {"c": np.zeros(3)}),
        r"keys \['a', 'b', 'c'\]",
    ),
    "a key of another shape": (
        broken(DictEnv, observe=lambda env: {"a": np.zeros(5), "b": np.zeros(3)}),
        r"observation 'a' of shape \(5,\)",
    ),
    "no spaces": (gymnasium.Env, "observation_space is None; one of gymnasium.spaces is needed"),
    "no action space": (broken(action_space=3), "action_space is 3"),
}
