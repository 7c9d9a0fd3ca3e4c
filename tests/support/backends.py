"""Small learners of each backend, with minibatches for them: what the tests of all backends' learners share."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents.buffers import ReplayBuffer
from slc_agents.compute import ComputeOptions
from slc_agents.seeding import make_generator
from slc_agents.spaces import map_observation
from slc_agents.transition import Batch

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason="TensorFlow is not installed")
BACKENDS = ["pytorch", pytest.param("tf2", marks=needs_tensorflow)]

BOX = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTION = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32))

RATES = {"lr_a": 1e-2, "lr_c": 1e-2, "lr_alpha": 1e-2}


class BackendUnderTest:
    """A backend, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def module(self, name: str) -> ModuleType:
        """One of its modules."""
        return importlib.import_module(f"slc_agents.{self.name}.{name}")

    def make_learner(self, *spaces_and_policy: Any, **keywords: Any) -> Any:
        """A learner of SAC."""
        return self.module("sac").SACLearner(**self._arguments(*spaces_and_policy, lyapunov=False, **keywords))

    def make_lac_learner(
        self,
        *spaces_and_policy: Any,
        alpha3: float = 0.2,
        labda: float = 0.9,
        labda_min: float = 1e-4,
        horizon_length: int = 0,
        terminal_target: tuple[float, float] = (7.0, 0.0),
        terminal_value: tuple[float, float] = (7.0, 0.0),
        **keywords: Any,
    ) -> Any:
        """A learner of LAC."""
        return self.module("lac").LACLearner(
            **self._arguments(*spaces_and_policy, lyapunov=True, **keywords),
            alpha3=alpha3,
            labda=labda,
            labda_min=labda_min,
            horizon_length=horizon_length,
            terminal_target=terminal_target,
            terminal_value=terminal_value,
        )

    def _arguments(
        self,
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
        device: Any = None,
        compute: ComputeOptions | None = None,
        **policy_kwargs: Any,
    ) -> dict[str, Any]:
        """What every learner takes; what isn't known here is the policy's."""
        policy_kwargs = {"hidden_sizes": [8, 8], **policy_kwargs}
        if compute is None:  # TensorFlow's graphs take seconds to be made
            compute = ComputeOptions(graphs=False) if self.name == "tf2" else ComputeOptions()
        return {
            "policy": self.module("policies").make_policy(
                policy, observation_space, action_space, policy_kwargs, seed, lyapunov=lyapunov
            ),
            "device": self.module("device").resolve_device("cpu") if device is None else device,
            "batch_size": batch_size,
            "polyak": polyak,
            "alpha": alpha,
            "adaptive_temperature": adaptive_temperature,
            "target_entropy": target_entropy,
            "generators": {stream: make_generator(seed, stream) for stream in ("action", "learner")},
            "compute": compute,
        }

    def make_batch(self, learner: Any, seed: int, gamma: float = 0.9) -> tuple[Any, Any]:
        """A random minibatch with noise for it, as the backend's tensors; see `random_batch`."""
        batch, noise = random_batch(learner, seed, gamma)
        return self.to_batch(batch), self.tensor(noise)

    def to_batch(self, batch: Batch) -> Any:
        """A minibatch of numpy arrays as one of tensors."""
        if self.name == "pytorch":
            return self.module("batches").to_batch(batch, self.module("device").resolve_device("cpu"))
        return self.module("batches").to_batch(batch)

    def tensor(self, array: Any) -> Any:
        """An array, or a dict of arrays, as tensors."""
        if self.name == "pytorch":
            import torch

            return map_observation(torch.from_numpy, array)  # type: ignore[arg-type]
        import tensorflow as tf

        return map_observation(tf.convert_to_tensor, array)

    def array(self, tensor: Any) -> Any:
        """A tensor as an array."""
        return (tensor.detach() if hasattr(tensor, "detach") else tensor).numpy()


def random_batch(learner: Any, seed: int, gamma: float = 0.9) -> tuple[Batch, Any]:
    """A random batch with noise for it; a third of the transitions have terminated. For LAC its rewards are costs."""
    rng = np.random.default_rng(seed)
    space, n, size = learner.policy.observation_space, learner.batch_size, learner.n_actions

    def floats(*shape: int, scale: float = 1.0) -> Any:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def observation() -> Any:
        def values(box: Any) -> Any:
            if box.dtype == np.uint8:
                return rng.integers(0, 256, (n, *box.shape), dtype=np.uint8)
            return floats(n, *(box.shape or ()))

        if isinstance(space, gymnasium.spaces.Dict):
            return {key: values(box) for key, box in space.spaces.items()}
        return values(space)

    terminated = rng.random(n) < 1 / 3
    batch = Batch(
        observation=observation(),
        action=rng.uniform(-1, 1, (n, size)).astype(np.float32),
        reward=floats(n, scale=2.0),
        next_observation=observation(),
        discount=(gamma * ~terminated).astype(np.float32),
        terminated=terminated,
    )
    noise = floats(learner.n_samples, n, size)
    if "labda" in learner.modules():
        batch = batch._replace(reward=np.abs(batch.reward))
        if learner.n_samples == 2:  # the horizon is finite
            batch = batch._replace(horizon_return=3.0 * np.abs(floats(n)))
    return batch, noise


def make_buffer(learner: Any, n: int = 40, seed: int = 0) -> ReplayBuffer:
    """A replay buffer of random transitions in the space that a learner observes."""
    rng = np.random.default_rng(seed)
    space = learner.policy.observation_space
    action_space = gymnasium.spaces.Box(-1, 1, (learner.n_actions,))

    def observation() -> Any:
        if isinstance(space, gymnasium.spaces.Dict):
            return {key: rng.standard_normal((1, *(box.shape or ()))) for key, box in space.spaces.items()}
        return rng.standard_normal((1, *space.shape))

    buffer = ReplayBuffer(n, space, action_space, seed=make_generator(seed, "buffer"))
    for _ in range(n):
        buffer.add(
            observation(),
            rng.uniform(-1, 1, (1, learner.n_actions)),
            rng.standard_normal(1),
            observation(),
            rng.random(1) < 0.1,
            rng.random(1) < 0.1,
        )
    return buffer
