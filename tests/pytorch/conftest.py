"""Small learners for the tests of the PyTorch backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from slc_agents.compute import ComputeOptions
from slc_agents.pytorch.lac import LACLearner
from slc_agents.pytorch.learner import TensorBatch, TorchLearner
from slc_agents.pytorch.policies import make_policy
from slc_agents.pytorch.sac import SACLearner
from slc_agents.seeding import make_generator

BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTION = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))


def _arguments(
    observation_space: Any = BOX,
    action_space: Any = ACTION,
    policy: Any = "MlpPolicy",
    *,
    lyapunov: bool,
    seed: int = 0,
    batch_size: int = 16,
    polyak: float = 0.9,
    alpha: float = 0.7,
    adaptive_temperature: bool = True,
    target_entropy: float | None = None,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - it doesn't change
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008 - it is frozen
    **policy_kwargs: Any,
) -> dict[str, Any]:
    """What every learner takes; what isn't known here is the policy's."""
    policy_kwargs = {"hidden_sizes": [8, 8], **policy_kwargs}
    return {
        "policy": make_policy(policy, observation_space, action_space, policy_kwargs, seed, lyapunov=lyapunov),
        "device": device,
        "batch_size": batch_size,
        "polyak": polyak,
        "alpha": alpha,
        "adaptive_temperature": adaptive_temperature,
        "target_entropy": target_entropy,
        "generators": {stream: make_generator(seed, stream) for stream in ("action", "learner")},
        "compute": compute,
    }


def _make_learner(*spaces_and_policy: Any, **keywords: Any) -> SACLearner:
    return SACLearner(**_arguments(*spaces_and_policy, lyapunov=False, **keywords))


def _make_lac_learner(
    *spaces_and_policy: Any,
    alpha3: float = 0.2,
    labda: float = 0.9,
    labda_min: float = 1e-4,
    horizon_length: int = 0,
    terminal_target: tuple[float, float] = (7.0, 0.0),
    terminal_value: tuple[float, float] = (7.0, 0.0),
    **keywords: Any,
) -> LACLearner:
    return LACLearner(
        **_arguments(*spaces_and_policy, lyapunov=True, **keywords),
        alpha3=alpha3,
        labda=labda,
        labda_min=labda_min,
        horizon_length=horizon_length,
        terminal_target=terminal_target,
        terminal_value=terminal_value,
    )


def _make_batch(learner: TorchLearner, seed: int, gamma: float = 0.9) -> tuple[TensorBatch, torch.Tensor]:
    """A random batch with noise for it; a third of the transitions have terminated. For LAC its rewards are costs."""
    rng = np.random.default_rng(seed)
    space, n, size = learner.policy.observation_space, learner.batch_size, learner.n_actions

    def floats(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.from_numpy((scale * rng.standard_normal(shape)).astype(np.float32))

    def observation() -> Any:
        def values(box: Any) -> torch.Tensor:
            if box.dtype == np.uint8:
                return torch.from_numpy(rng.integers(0, 256, (n, *box.shape), dtype=np.uint8))
            return floats(n, *(box.shape or ()))

        if isinstance(space, gymnasium.spaces.Dict):
            return {key: values(box) for key, box in space.spaces.items()}
        return values(space)

    terminated = torch.from_numpy(rng.random(n) < 1 / 3)
    batch = TensorBatch(
        observation=observation(),
        action=torch.from_numpy(rng.uniform(-1, 1, (n, size)).astype(np.float32)),
        reward=floats(n, scale=2.0),
        next_observation=observation(),
        discount=gamma * (~terminated).float(),
        terminated=terminated,
    )
    noise = floats(learner.n_samples, n, size)
    if isinstance(learner, LACLearner):
        batch = batch._replace(reward=batch.reward.abs())
        if learner.n_samples == 2:  # the horizon is finite
            batch = batch._replace(horizon_return=3.0 * floats(n).abs())
    return batch, noise


def _losses(learner: SACLearner, batch: TensorBatch, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The critics' and the actor's loss, as a gradient step has them before it moves anything."""
    alpha = learner.alpha().detach()
    next_sample, draw_sample = learner.sample_actions(batch, noise)
    critic_loss, _ = learner.critic_loss(batch, alpha, next_sample)
    return critic_loss, learner.actor_loss(batch, alpha, draw_sample())


@pytest.fixture
def losses() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return _losses


@pytest.fixture
def make_learner() -> Callable[..., SACLearner]:
    return _make_learner


@pytest.fixture
def make_lac_learner() -> Callable[..., LACLearner]:
    return _make_lac_learner


@pytest.fixture
def make_batch() -> Callable[..., tuple[TensorBatch, torch.Tensor]]:
    return _make_batch
