"""The backends: what computes an agent's networks and gradient steps. Each is imported when it is needed.

A backend is a package of this name beside the others, with the modules `device` (`resolve_device`), `policies`
(`make_policy`) and one for each algorithm (`sac.SACLearner`, `lac.LACLearner`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from slc_agents.compute import ComputeOptions
from slc_agents.errors import require
from slc_agents.seeding import make_seed

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent, AgentLearner

__all__ = ["BACKENDS", "DEFAULT_BACKEND", "EXPORT_FORMATS", "Backend", "check_backend", "make_learner"]

Backend: TypeAlias = Literal["pytorch", "tf2"]

BACKENDS: tuple[Backend, ...] = get_args(Backend)
DEFAULT_BACKEND: Backend = "pytorch"
# What each exports to, so that one can say what is the other's: suffixes by the names of formats.
EXPORT_FORMATS: dict[Backend, dict[str, str]] = {
    "pytorch": {"torchscript": ".pt", "onnx": ".onnx", "torch_export": ".pt2"},
    "tf2": {"saved_model": ".savedmodel", "tflite": ".tflite"},
}


def check_backend(backend: Any) -> Backend:
    """Returns a backend's name; raises a `ValueError` if there is none of that name."""
    if backend not in BACKENDS:
        raise ValueError(f"backend={backend!r}: allowed are {', '.join(map(repr, BACKENDS))}")
    name: Backend = backend
    return name


def make_learner(agent: Agent[Any], algo: str, *, lyapunov: bool = False, **own: Any) -> AgentLearner:
    """Makes an agent's learner on its backend.

    Args:
        agent: The agent, which has its config, its spaces and its random streams.
        algo: Name of the algorithm in small letters, such as `sac`.
        lyapunov: Whether its critics are Lyapunov functions; see the backend's `policies.make_policy`.
        **own: What the algorithm's learner takes beside what every learner takes.

    Raises:
        ValueError: If the policy or the device is none, or the policy's keywords are out of range.
        TypeError: If the policy class doesn't take a keyword, or lacks a part.
        MissingDependencyError: If what the backend computes with isn't installed.
    """
    if agent.backend == "tf2":
        importlib.import_module("slc_agents.tf2")  # which prepares the environment that TensorFlow is imported in
        require("tensorflow", "tf2", "a TensorFlow agent")
    config = agent.config
    # First: a wrong device is said before networks are made.
    device = _module(agent, "device").resolve_device(config.device)
    policy = _module(agent, "policies").make_policy(
        agent.policy_class,
        agent.observation_space,
        agent.action_space,
        config.policy_kwargs,
        seed=make_seed(agent.seed, "network"),
        lyapunov=lyapunov,
        device=device,
    )
    learner: AgentLearner = getattr(_module(agent, algo), f"{algo.upper()}Learner")(
        policy=policy,
        device=device,
        batch_size=config.batch_size,
        polyak=config.polyak,
        alpha=config.alpha,
        adaptive_temperature=config.adaptive_temperature,
        target_entropy=config.target_entropy,
        generators=agent._generators,
        compute=ComputeOptions.parse(config.compute_kwargs),
        **own,
    )
    return learner


def _module(agent: Agent[Any], name: str) -> Any:
    return importlib.import_module(f"slc_agents.{agent.backend}.{name}")
