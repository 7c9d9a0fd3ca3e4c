"""What the JSON file beside an exported policy says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from slc_agents.spaces import observation_boxes, space_to_dict

__all__ = ["BATCH", "describe", "description_path", "input_names", "output_name"]

BATCH = "batch"  # stands in shapes where any number may


def description_path(path: Path) -> Path:
    """Returns the JSON file's path: `policy.onnx.json` for `policy.onnx`."""
    return path.with_name(f"{path.name}.json")


def input_names(observation: object) -> list[str]:
    """Returns how the inputs are called: by the keys of a dict, in its order, or `observation`."""
    return list(observation) if isinstance(observation, dict) else ["observation"]


def output_name(observation: object) -> str:
    """Returns how the output is called: `action`, with an underscore where the observation has such a key."""
    name = "action"
    while name in input_names(observation):
        name += "_"
    return name


def describe(policy: Any, name: str, file: Path, about: Mapping[str, Any]) -> str:
    """Returns the JSON file's text.

    Args:
        policy: The networks.
        name: What the exported file will be called.
        file: Where it is now.
        about: What stands at the beginning, a JSON-able mapping.
    """
    boxes: Any = observation_boxes(policy.observation_space)
    is_dict = isinstance(policy.observation_space, spaces.Dict)
    names = input_names(boxes if is_dict else None)
    output = output_name(boxes if is_dict else None)
    description = {
        **about,
        "file": name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "observation": "dict" if is_dict else "tensor",
        "inputs": [_port(name, box, _units(box)) for name, box in zip(names, boxes.values(), strict=True)],
        "outputs": [_port(output, policy.action_space, "the environment's own")],
    }
    return json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _port(name: str, box: spaces.Box, units: str) -> dict[str, Any]:
    space = space_to_dict(box)
    return {
        "name": name,
        "shape": [BATCH, *space["shape"]],
        "dtype": "float32",
        "low": space["low"],
        "high": space["high"],
        "units": units,
    }


def _units(box: spaces.Box) -> str:
    if box.dtype == np.uint8:
        return "the environment's own, whole numbers (uint8), not divided by 255"
    return "the environment's own, not normalised"
