"""Agents: what the user holds."""

from __future__ import annotations

from slc_agents.agents.base import Agent
from slc_agents.agents.config import AgentConfig, LACConfig, SACConfig
from slc_agents.agents.lac import LAC
from slc_agents.agents.sac import SAC

__all__ = ["LAC", "SAC", "Agent", "AgentConfig", "LACConfig", "SACConfig"]
