"""The zoo: settings that work, and agents trained with them, by algorithm and environment.

    from slc_agents import zoo

    model = zoo.make("sac", "Pendulum-v1", seed=0).learn()

Importing this costs no backend; agents are imported when the first one is made.
"""

from __future__ import annotations

from slc_agents.zoo.agents import agent_manifest, agent_path, list_agents, load_agent, make
from slc_agents.zoo.configs import (
    ConfigFile,
    Place,
    config_path,
    find_settings,
    list_configs,
    load_config,
    load_config_file,
    parse_yaml,
    read_config_file,
)
from slc_agents.zoo.hub import load_from_hub, push_to_hub
from slc_agents.zoo.packing import pack_agent

__all__ = [
    "ConfigFile",
    "Place",
    "agent_manifest",
    "agent_path",
    "config_path",
    "find_settings",
    "list_agents",
    "list_configs",
    "load_agent",
    "load_config",
    "load_config_file",
    "load_from_hub",
    "make",
    "pack_agent",
    "parse_yaml",
    "push_to_hub",
    "read_config_file",
]
