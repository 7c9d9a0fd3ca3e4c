"""Ending training by what happened in it."""

from __future__ import annotations

from slc_agents.callbacks.base import Callback
from slc_agents.errors import check_whole_number

__all__ = ["StopTrainingOnMaxEpisodes"]


class StopTrainingOnMaxEpisodes(Callback):
    """Ends training after a number of finished episodes, summed over parallel environments.

    Args:
        max_episodes: Number of episodes, as the agent's `num_episodes` counts them.
    """

    def __init__(self, max_episodes: int) -> None:
        self.max_episodes = check_whole_number(f"{type(self).__name__}: max_episodes", max_episodes)

    def on_step(self) -> bool:
        """Ends training when there were enough."""
        return self.model.num_episodes < self.max_episodes
