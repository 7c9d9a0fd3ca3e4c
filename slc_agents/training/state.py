"""Where training stands: counters of the agent's life, and of the run that `learn` planned."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from slc_agents.errors import check_flag, check_number, check_whole_number
from slc_agents.transition import Episode

__all__ = ["Run", "TrainingState"]

COUNTERS = ("num_timesteps", "num_episodes", "n_updates", "env_resets")
EPISODE_WINDOW = 100  # episodes over which the log's return and length are averaged, as in Stable-Baselines3


@dataclass
class Run:
    """One `learn`, from its first to its planned last step.

    Attributes:
        start: The agent's step count at its beginning.
        total: Steps that it is to make.
        steps_per_epoch: Steps in an epoch; borders count from `start`.
        blocks: Blocks of gradient steps that it will do.
        log_interval: Epochs between two rows of the log.
        finished_epochs: Epochs that are over.
        finished_blocks: Blocks that are done.
        due_blocks: Blocks that are due, and wait for the memory to have enough to sample.
        seconds: Time spent so far, over all its interruptions.
        exact: Whether going on from here gives what going through would have given.
    """

    start: int
    total: int
    steps_per_epoch: int
    blocks: int
    log_interval: int = 1
    finished_epochs: int = 0
    finished_blocks: int = 0
    due_blocks: int = 0
    seconds: float = 0.0
    exact: bool = True

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Makes the run that `asdict` described.

        Raises:
            TypeError or ValueError: If it describes none.
        """
        least = {"total": 1, "steps_per_epoch": 1, "log_interval": 1}
        numbers = {
            name: check_whole_number(name, value, least.get(name, 0))
            for name, value in values.items()
            if name not in ("seconds", "exact")
        }
        seconds = check_number("seconds", values["seconds"], minimum=0)
        return cls(**numbers, seconds=seconds, exact=check_flag("exact", values["exact"]))

    @property
    def epochs(self) -> int:
        """Epochs that it will have; a last, shorter one is an epoch too."""
        return -(-self.total // self.steps_per_epoch)

    def is_finished(self, num_timesteps: int) -> bool:
        """Whether the agent's step count has reached the end."""
        return num_timesteps >= self.start + self.total

    def epochs_at(self, num_timesteps: int) -> int:
        """Epochs that are over at a step count."""
        done = num_timesteps - self.start
        return self.epochs if done >= self.total else done // self.steps_per_epoch

    def progress(self, reference: str) -> float:
        """Progress p from 0 to 1 that the learning rates follow: k / (N - 1), the last epoch or block being at 1."""
        done, planned = (
            (self.finished_epochs, self.epochs) if reference == "epoch" else (self.finished_blocks, self.blocks)
        )
        return min(1.0, done / (planned - 1)) if planned > 1 else 0.0


@dataclass
class TrainingState:
    """Counters of an agent's life.

    Attributes:
        num_timesteps: Environment steps, summed over parallel environments.
        num_episodes: Finished episodes.
        n_updates: Gradient steps.
        run: The run that `learn` planned last; None before the first.
        recent_episodes: The last episodes to have finished.
        last_episode: The one that `on_episode_end` is about.
        env_resets: How often the environments were all reset; never starts anew, for each reset has a seed of its own.
    """

    num_timesteps: int = 0
    num_episodes: int = 0
    n_updates: int = 0
    run: Run | None = None
    recent_episodes: deque[Episode] = field(default_factory=lambda: deque(maxlen=EPISODE_WINDOW))
    last_episode: Episode | None = None
    env_resets: int = 0

    def reset_counters(self) -> None:
        """Starts counting anew."""
        self.num_timesteps = self.num_episodes = self.n_updates = 0
        self.recent_episodes.clear()
        self.last_episode = None

    def add_episodes(self, episodes: list[Episode]) -> None:
        """Counts finished episodes."""
        self.num_episodes += len(episodes)
        self.recent_episodes.extend(episodes)

    def rollout_metrics(self) -> dict[str, float]:
        """Returns mean return and length of the recent episodes; nothing before the first has finished."""
        if not self.recent_episodes:
            return {}
        return {
            "rollout/ep_rew_mean": float(np.mean([episode.reward for episode in self.recent_episodes])),
            "rollout/ep_len_mean": float(np.mean([episode.length for episode in self.recent_episodes])),
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns all of it in JSON-able values."""
        values = asdict(self)
        values["recent_episodes"] = [list(episode) for episode in self.recent_episodes]
        values["last_episode"] = None if self.last_episode is None else list(self.last_episode)
        return values

    @classmethod
    def from_counters(cls, counters: Mapping[str, Any]) -> Self:
        """Makes a state of the counters alone.

        Raises:
            KeyError: If one is missing.
            ValueError: If one is no whole number of at least 0.
        """
        state = cls()
        for name in COUNTERS:
            setattr(state, name, check_whole_number(name, counters[name], 0))
        return state

    @classmethod
    def from_state_dict(cls, values: Mapping[str, Any]) -> Self:
        """Makes the state that `state_dict` described.

        Raises:
            KeyError, TypeError or ValueError: If it describes none.
        """
        state = cls.from_counters(values)
        if values["run"] is not None:
            state.run = Run.from_dict(values["run"])
        state.recent_episodes.extend(Episode(*episode) for episode in values["recent_episodes"])
        state.last_episode = Episode(*values["last_episode"]) if values["last_episode"] is not None else None
        return state
