"""Learning from images, alone and beside vectors: tasks of one step whose best action can be seen."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents import SAC

SEEDS = (0, 1, 2)
SETTINGS: dict[str, Any] = {
    "alpha": 0.2,
    "lr_a": 3e-3,
    "lr_c": 3e-3,
    "lr_alpha": 3e-3,
    "lr_decay_type": "constant",
    "update_every": 1,
    "update_after": 100,
    "steps_per_update": 1,
    "batch_size": 64,
    "replay_size": 2000,
    "num_test_episodes": 0,
    "steps_per_epoch": 1000,
}
CNN: dict[str, Any] = {"hidden_sizes": [64, 64], "cnn_layers": [(8, 4, 2), (16, 3, 2)], "cnn_features": 32}


def draw(at: NDArray[Any]) -> NDArray[np.uint8]:
    """A bright dot, 3 by 3 pixels, on a dark image."""
    image = np.zeros((16, 16, 1), np.uint8)
    image[at[0] - 1 : at[0] + 2, at[1] - 1 : at[1] + 2] = 255
    return image


class Dot(gymnasium.Env[Any, Any]):
    """The best action is where the dot is, in [-1, 1]²."""

    observation_space: Any = spaces.Box(0, 255, (16, 16, 1), np.uint8)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at = self.np_random.integers(1, 15, 2)
        self.sign = self.np_random.choice([-1.0, 1.0])
        return self.observe(), {}

    def observe(self) -> Any:
        return draw(self.at)

    def best(self) -> NDArray[Any]:
        best: NDArray[Any] = (self.at - 7.5) / 6.5
        return best

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return self.observe(), -float(((action - self.best()) ** 2).sum()), True, False, {}


class SignedDot(Dot):
    """The best action is where the dot is, or opposite: a number beside the image says which."""

    observation_space = spaces.Dict({"camera": Dot.observation_space, "sign": spaces.Box(-1.0, 1.0, (1,))})

    def observe(self) -> Any:
        return {"camera": draw(self.at), "sign": np.array([self.sign], np.float32)}

    def best(self) -> NDArray[Any]:
        return self.sign * super().best()


def mean_error(model: SAC, env: Dot, n: int = 100) -> float:
    """Mean distance between an action's number and the best one; an untrained agent's is about 0.5."""
    errors = []
    for i in range(n):
        observation, _ = env.reset(seed=1000 + i)
        action, _ = model.predict(observation, deterministic=True)
        errors.append(np.abs(action - env.best()).mean())
    return float(np.mean(errors))


def test_where_a_dot_is_roughly() -> None:
    model = SAC("CnnPolicy", Dot(), seed=0, policy_kwargs=CNN, **SETTINGS)
    assert mean_error(model.learn(400), Dot()) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("share_encoder", [False, True])
def test_where_a_dot_is(share_encoder: bool) -> None:
    for seed in SEEDS:
        model = SAC("CnnPolicy", Dot(), seed=seed, policy_kwargs={**CNN, "share_encoder": share_encoder}, **SETTINGS)
        assert mean_error(model, Dot()) > 0.4
        assert mean_error(model.learn(1000), Dot()) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("share_encoder", [False, True])
def test_an_image_and_a_number(share_encoder: bool) -> None:
    for seed in SEEDS:
        kwargs = {**CNN, "share_encoder": share_encoder, "normalize_observations": True}
        model = SAC("MultiInputPolicy", SignedDot(), seed=seed, policy_kwargs=kwargs, **SETTINGS)
        assert mean_error(model, SignedDot()) > 0.4
        assert mean_error(model.learn(2000), SignedDot()) < 0.2
