"""Agents that Stable-Baselines3's SAC saved: `load_agent` makes ours of them, without running code from the file."""

from __future__ import annotations

from slc_agents.compat.sb3.agent import load_agent

__all__ = ["load_agent"]
