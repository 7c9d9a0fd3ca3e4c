"""What every agent's learner is made of, on the backend that computes, PyTorch, which is imported when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slc_agents.compute import ComputeOptions
from slc_agents.seeding import make_seed

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent

__all__ = ["learner_arguments"]


def learner_arguments(agent: Agent[Any], *, lyapunov: bool = False) -> dict[str, Any]:
    """Returns the keyword arguments that every agent's learner takes, from its hyperparameters and spaces.

    Args:
        agent: The agent, which has its config, its spaces and its random streams.
        lyapunov: Whether its critics are Lyapunov functions; see `slc_agents.pytorch.policies.make_policy`.

    Raises:
        ValueError: If the policy or the device is none, or the policy's keywords are out of range.
        TypeError: If the policy class doesn't take a keyword, or lacks a part.
    """
    from slc_agents.pytorch.device import resolve_device
    from slc_agents.pytorch.policies import make_policy

    config = agent.config
    device = resolve_device(config.device)  # first: a wrong one is said before networks are made
    policy = make_policy(
        agent.policy_class,
        agent.observation_space,
        agent.action_space,
        config.policy_kwargs,
        seed=make_seed(agent.seed, "network"),
        lyapunov=lyapunov,
    )
    return {
        "policy": policy,
        "device": device,
        "batch_size": config.batch_size,
        "polyak": config.polyak,
        "alpha": config.alpha,
        "adaptive_temperature": config.adaptive_temperature,
        "target_entropy": config.target_entropy,
        "generators": agent._generators,
        "compute": ComputeOptions.parse(config.compute_kwargs),
    }
