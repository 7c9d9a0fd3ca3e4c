"""Replay buffers: the memory of an off-policy agent. Plain numpy, usable without any agent."""

from __future__ import annotations

from slc_agents.buffers.finite_horizon import FiniteHorizonReplayBuffer
from slc_agents.buffers.replay_buffer import ReplayBuffer

__all__ = ["FiniteHorizonReplayBuffer", "ReplayBuffer"]
