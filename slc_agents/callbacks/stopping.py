"""Ending training by what happened in it."""

from __future__ import annotations

from slc_agents.callbacks.base import Callback

__all__ = ["StopTrainingOnMaxEpisodes"]


class StopTrainingOnMaxEpisodes(Callback):
    """Ends training after a number of finished episodes, summed over parallel environments.

    Args:
        max_episodes: Number of episodes, as the agent's `num_episodes` counts them.
    """

    def __init__(self, max_episodes: int) -> None:
        if max_episodes < 1:
            raise ValueError(f"max_episodes={max_episodes}: at least 1 is needed")
        self.max_episodes = max_episodes

    def on_step(self) -> bool:
        """Ends training when there were enough."""
        return self.model.num_episodes < self.max_episodes
