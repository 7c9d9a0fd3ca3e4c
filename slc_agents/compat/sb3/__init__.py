"""Stable-Baselines3's files: agents that its SAC saved, and settings of RL Baselines3 Zoo. No code from them is run."""

from __future__ import annotations

from slc_agents.compat.sb3.agent import load_agent
from slc_agents.compat.sb3.zoo import ZooConfig, read_zoo_config

__all__ = ["ZooConfig", "load_agent", "read_zoo_config"]
