"""How each library is told to do the same thing: the same nets, batch, ratio and optimiser's rates, on one device.

Used by `benchmarks.workers`, in whose process one of these libraries is imported.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

IMAGES = "images"  # instead of an environment's id: the spaces of a task with small images
EPISODE = 1_000  # environment steps


@dataclass(frozen=True)
class Setting:
    """What is the same for all libraries in a comparison."""

    env_id: str = "HalfCheetah-v5"
    threads: int = 1
    batch_size: int = 256
    n_envs: int = 1
    hidden: tuple[int, ...] = (256, 256)
    n_critics: int = 2
    replay_size: int = 100_000
    device: str = "cpu"  # or "cuda"


class Step(NamedTuple):
    """A step of all parallel environments."""

    observation: Any  # [n_envs, *shape]
    action: Any  # [n_envs, n_actions]
    reward: Any  # [n_envs]
    next_observation: Any  # [n_envs, *shape]
    truncated: Any  # [n_envs], bool


class Library(ABC):
    """A library's SAC agent and replay buffer.

    Args:
        setting: What all libraries have in common.
        extras: More keyword arguments of the agent.

    Attributes:
        model: The agent, once `make_agent` has made it.
        only_updates: Whether gradient steps are all that it can do.
    """

    only_updates = False

    def __init__(self, setting: Setting, extras: Mapping[str, Any]) -> None:
        self.setting = setting
        self.extras = extras
        self.model: Any = None

    @abstractmethod
    def make_agent(self) -> None:
        """Makes the agent, whose replay buffer is empty."""

    @abstractmethod
    def make_buffer(self) -> Any:
        """Makes a replay buffer of the setting's size without an agent."""

    @abstractmethod
    def add(self, buffer: Any, step: Step) -> None:
        """Adds a step to a replay buffer."""

    @abstractmethod
    def buffer_bytes(self, buffer: Any) -> int:
        """Returns what a replay buffer reserves."""

    @abstractmethod
    def update(self, n: int) -> None:
        """Does `n` gradient steps in one call."""

    def wait(self) -> None:
        """Waits until all that was asked of a GPU is done."""
        if self.setting.device != "cpu":
            import torch

            torch.cuda.synchronize()

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Writes the agent with its replay buffer."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Reads the agent with its replay buffer."""

    def learn(self, n: int) -> int:
        """Goes on training for at least `n` environment steps, and returns how many it did."""
        before = self.model.num_timesteps
        self.model.learn(n, reset_num_timesteps=False)
        return int(self.model.num_timesteps - before)

    def predict(self, observation: Any, deterministic: bool) -> Any:
        """Chooses actions."""
        return self.model.predict(observation, deterministic=deterministic)[0]

    def sample(self) -> Any:
        """Draws a minibatch."""
        return self.model.replay_buffer.sample(self.setting.batch_size)

    def fill(self, buffer: Any) -> None:
        """Fills a replay buffer to the brim with transitions of random numbers, in episodes."""
        episodes = math.ceil(self.setting.replay_size / (EPISODE * self.setting.n_envs))
        for seed in range(episodes):
            for step in self.episode(seed):
                self.add(buffer, step)

    def episode(self, seed: int) -> Iterator[Step]:
        """Yields the steps of an episode, each of which begins where the last one ended."""
        observation_space, action_space = self.spaces()
        n_envs = self.setting.n_envs
        generator = np.random.default_rng(seed)
        observations = random_observations(observation_space, (EPISODE + 1, n_envs), generator)
        actions = generator.uniform(-1, 1, (EPISODE, n_envs, *action_space.shape)).astype(np.float32)
        rewards = generator.standard_normal((EPISODE, n_envs))
        for i in range(EPISODE):
            truncated = np.full(n_envs, i == EPISODE - 1)
            yield Step(observations[i], actions[i], rewards[i], observations[i + 1], truncated)

    def spaces(self) -> tuple[Any, Any]:
        """Returns the spaces of observations and actions."""
        import gymnasium

        if self.setting.env_id == IMAGES:
            return gymnasium.spaces.Box(0, 255, (84, 84, 1), np.uint8), gymnasium.spaces.Box(-1, 1, (6,), np.float32)
        env = gymnasium.make(self.setting.env_id)
        return env.observation_space, env.action_space


class SlcAgents(Library):
    """Ours."""

    def __init__(self, setting: Setting, extras: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(setting.threads)
        super().__init__(setting, extras)

    @property
    def agent_class(self) -> Any:
        """The class of the agent."""
        from slc_agents import SAC

        return SAC

    def make_agent(self) -> None:  # noqa: D102
        setting = self.setting
        self.model = self.agent_class(
            "MlpPolicy",
            setting.env_id,
            n_envs=setting.n_envs,
            policy_kwargs={"hidden_sizes": list(setting.hidden), "n_critics": setting.n_critics},
            batch_size=setting.batch_size,
            replay_size=setting.replay_size,
            # One gradient step for each environment step, done after each step of all environments.
            update_every=setting.n_envs,
            steps_per_update=setting.n_envs,
            update_after=setting.n_envs,
            alpha=1.0,
            lr_a=3e-4,
            lr_c=3e-4,
            lr_alpha=3e-4,
            lr_decay_type="constant",
            num_test_episodes=0,
            seed=0,
            device=setting.device,
            **self.extras,
        )

    def make_buffer(self) -> Any:  # noqa: D102
        from slc_agents.buffers import ReplayBuffer

        return ReplayBuffer(self.setting.replay_size, *self.spaces(), self.setting.n_envs, seed=0)

    def add(self, buffer: Any, step: Step) -> None:  # noqa: D102
        terminated = np.zeros_like(step.truncated)
        buffer.add(step.observation, step.action, step.reward, step.next_observation, terminated, step.truncated)

    def buffer_bytes(self, buffer: Any) -> int:  # noqa: D102
        return int(buffer.nbytes)

    def update(self, n: int) -> None:  # noqa: D102
        self.model._learner.update(self.model.replay_buffer, n)

    def save(self, folder: Path) -> None:  # noqa: D102
        self.model.save(folder / "agent.zip", replay_buffer=True)

    def load(self, folder: Path) -> None:  # noqa: D102
        len(self.agent_class.load(folder / "agent.zip").replay_buffer)  # it is read when it is needed


class SlcAgentsOnTensorFlow(SlcAgents):
    """Ours, where TensorFlow computes."""

    def __init__(self, setting: Setting, extras: Mapping[str, Any]) -> None:
        Library.__init__(self, setting, extras)  # TensorFlow has as many threads as the process has processors

    @property
    def agent_class(self) -> Any:
        """The class of the agent."""
        from slc_agents.tf2 import SAC

        return SAC

    def wait(self) -> None:
        """Waits until all is computed: the metrics are read back from the device."""
        self.model._learner.metrics_state()


class StableBaselines3(Library):
    """Stable-Baselines3."""

    def __init__(self, setting: Setting, extras: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(setting.threads)
        super().__init__(setting, extras)

    @property
    def agent_class(self) -> Any:
        """The class of the agent."""
        from stable_baselines3 import SAC

        return SAC

    def make_agent(self) -> None:  # noqa: D102
        from stable_baselines3.common.env_util import make_vec_env

        setting, hidden = self.setting, list(self.setting.hidden)
        self.model = self.agent_class(
            "MlpPolicy",
            make_vec_env(setting.env_id, n_envs=setting.n_envs),
            policy_kwargs={"net_arch": {"pi": hidden, "qf": hidden}, "n_critics": setting.n_critics},
            batch_size=setting.batch_size,
            buffer_size=setting.replay_size,
            train_freq=1,
            gradient_steps=-1,  # as many as there were environment steps
            learning_starts=0,
            seed=0,
            device=setting.device,
            **self.extras,
        )

    def make_buffer(self) -> Any:  # noqa: D102
        from stable_baselines3.common.buffers import ReplayBuffer  # SBX has the same

        setting = self.setting
        return ReplayBuffer(setting.replay_size, *self.spaces(), device=setting.device, n_envs=setting.n_envs)

    def add(self, buffer: Any, step: Step) -> None:  # noqa: D102
        infos = [{"TimeLimit.truncated": bool(truncated)} for truncated in step.truncated]
        buffer.add(step.observation, step.next_observation, step.action, step.reward, step.truncated, infos)

    def buffer_bytes(self, buffer: Any) -> int:  # noqa: D102
        return sum(value.nbytes for value in vars(buffer).values() if isinstance(value, np.ndarray))

    def update(self, n: int) -> None:  # noqa: D102
        self.model.train(n, self.setting.batch_size)

    def save(self, folder: Path) -> None:  # noqa: D102
        self.model.save(folder / "agent.zip")
        self.model.save_replay_buffer(folder / "buffer.pkl")

    def load(self, folder: Path) -> None:  # noqa: D102
        self.agent_class.load(folder / "agent.zip").load_replay_buffer(folder / "buffer.pkl")


class SBX(StableBaselines3):
    """SBX: its gradient steps are JAX's, a call's compiled into one loop; the rest is Stable-Baselines3's."""

    @property
    def agent_class(self) -> Any:
        """The class of the agent."""
        from sbx import SAC

        return SAC

    def update(self, n: int) -> None:
        """Does `n` gradient steps in one call, and waits until all is computed."""
        import jax

        super().update(n)
        jax.block_until_ready((self.model.policy.actor_state.params, self.model.policy.qf_state.params))


def plain_torch(setting: Setting, extras: Mapping[str, Any]) -> Library:
    """Plain torch with CUDA graphs."""
    from benchmarks.graphed_torch import GraphedTorch

    return GraphedTorch(setting, extras)


LIBRARIES: dict[str, Callable[[Setting, Mapping[str, Any]], Library]] = {
    "slc_agents": SlcAgents,
    "tensorflow": SlcAgentsOnTensorFlow,
    "stable_baselines3": StableBaselines3,
    "sbx": SBX,
    "torch": plain_torch,
}


def random_observations(space: Any, shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    """Returns observations `[*shape, *space.shape]` in the space's dtype."""
    if space.dtype == np.uint8:
        return generator.integers(0, 256, (*shape, *space.shape), np.uint8)
    return generator.standard_normal((*shape, *space.shape)).astype(space.dtype)
