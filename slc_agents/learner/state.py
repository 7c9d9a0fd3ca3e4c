"""The state of a learner as an archive has it: one array a parameter, by names that all backends share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from slc_agents.transition import Array

__all__ = ["TensorSpec", "check_state", "member_name", "moment_name", "parameter_name"]


class TensorSpec(NamedTuple):
    """What a tensor of the agent's own looks like."""

    shape: tuple[int, ...]
    dtype: Any
    is_float: bool


def parameter_name(path: str) -> str:
    """Returns the name of a parameter at a path such as `actor.trunk.0.weight`."""
    return path.replace(".", "/")


def member_name(path: str, part: str, i: int) -> str:
    """Returns the name that the `i`th member of an ensemble, such as the part `critic`, has for a parameter."""
    return f"{part}/{i}/{parameter_name(path.removeprefix(f'{part}.'))}"


def moment_name(parameter: str, group: str, letter: str) -> str:
    """Returns the name of one of Adam's moments, `m` or `v`, of a parameter that the archive has by `parameter`."""
    # optimizer/critic/critic/0/... says nothing more than optimizer/critic/0/...
    inside = parameter if parameter.split("/")[0] == group else f"{group}/{parameter}"
    return f"optimizer/{inside}/{letter}"


def check_state(wanted: Mapping[str, TensorSpec], given: Mapping[str, Array]) -> None:
    """Raises a `ValueError` that names the first tensor which is missing, unknown, or has another shape or type.

    Args:
        wanted: The agent's own, by their archive names.
        given: What is to take their place.
    """
    for name, spec in wanted.items():
        if name not in given:
            raise ValueError(f"tensor {name!r} is missing; the agent has it with shape {list(spec.shape)}")
        if tuple(given[name].shape) != tuple(spec.shape):
            raise ValueError(
                f"tensor {name!r} has shape {list(given[name].shape)}; the agent's has {list(spec.shape)}. "
                "Spaces and policy_kwargs must be the same"
            )
        if given[name].dtype.kind not in ("f" if spec.is_float else "biu"):
            raise ValueError(f"tensor {name!r} has type {given[name].dtype}; the agent's has {spec.dtype}")
    for name in given:
        if name not in wanted:
            raise ValueError(f"tensor {name!r}: the agent has none of that name. Spaces and policy_kwargs must fit")
