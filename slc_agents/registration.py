"""Registers the control tasks with gymnasium, by names: nothing of theirs is imported until one is made."""

from __future__ import annotations

import gymnasium

__all__ = ["CONTROL_TASKS", "register_control_tasks"]

# The name of each class, its module in `slc_agents.envs`, and the length of its episodes in steps.
CONTROL_TASKS = {
    "Oscillator": ("oscillator", 400),
    "OscillatorComplicated": ("oscillator", 400),
    "CartPoleCost": ("cart_pole", 250),
    "CartPoleTrackingCost": ("cart_pole", 250),
    "SwimmerCost": ("velocity_cost", 250),
    "HalfCheetahCost": ("velocity_cost", 200),
    "HopperCost": ("velocity_cost", 250),
    "Walker2dCost": ("velocity_cost", 250),
    "AntCost": ("velocity_cost", 250),
    "HumanoidCost": ("velocity_cost", 250),
}


def register_control_tasks() -> None:
    """Registers each task as `slc/NAME-v1`, unless there is one of that name."""
    for name, (module, max_episode_steps) in CONTROL_TASKS.items():
        if f"slc/{name}-v1" not in gymnasium.registry:
            gymnasium.register(
                id=f"slc/{name}-v1",
                entry_point=f"slc_agents.envs.{module}:{name}",
                max_episode_steps=max_episode_steps,
            )
