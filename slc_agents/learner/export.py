"""The files of an exported policy: writing them, comparing them with the policy, and the JSON file beside them.

A backend brings what writes a format and reads it again; see its own `export`. An export is a file, or a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from slc_agents.errors import ExportError
from slc_agents.spaces import ActionScale, observation_boxes, space_to_dict
from slc_agents.transition import Array, Observation

__all__ = ["BATCH", "description_path", "example_observation", "input_names", "output_name", "write_export"]

# From observations [B, *shape] to actions [B, *shape]; float32.
Runner: TypeAlias = Callable[[Observation], Array]

BATCH = "batch"  # stands in shapes where any number may
TOLERANCE = 1e-5  # of the action's range, between the export and the policy
REACH = 10.0  # of examples, from what is nearest to zero in a box; float32 itself is coarse for very large inputs


def write_export(
    policy: Any,
    path: Path,
    suffix: str,
    *,
    write: Callable[[Path], Runner],
    mean_action: Runner,
    about: Mapping[str, Any],
) -> None:
    """Writes an exported policy, and a JSON file beside it that says what it takes and gives.

    What was written is compared with the policy before the files get their names; where something goes wrong, older
    ones of these names stay as they were.

    Args:
        policy: The networks.
        path: The file or folder; the other file is `<path>.json`.
        suffix: That of the format.
        write: Writes the policy to a path, and returns what is read from there: to actions in the environment's units.
        mean_action: What the policy itself does: to actions [B, n_actions] in [-1, 1].
        about: What stands at the beginning of the JSON file, a JSON-able mapping.

    Raises:
        ExportError: If what was written doesn't compute what the policy does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    json_path = description_path(path)
    with _temporary(path, suffix) as file, _temporary(json_path, ".json") as description:
        _compare(write(file), mean_action, policy)
        description.write_text(describe(policy, path.name, file, about), encoding="utf-8")
        _replace(file, path)
        description.replace(json_path)


@contextlib.contextmanager
def _temporary(path: Path, suffix: str) -> Iterator[Path]:
    """Gives the name of a file or folder beside another one, and removes it in the end, if it is still there."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp{suffix}")
    try:
        yield temporary
    finally:
        _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """Gives a file or folder the name of another one, which goes."""
    if not source.is_dir():
        source.replace(target)
        return
    with _temporary(target, "") as old:  # a folder takes the place of an empty one alone
        if target.exists():
            target.replace(old)
        source.replace(target)


def _compare(written: Runner, mean_action: Runner, policy: Any) -> None:
    """Raises an `ExportError` unless what was written computes what the agent's `predict` does."""
    scale = ActionScale(policy.action_space)
    # Far from zero, float32 itself is coarser than a small part of a narrow range.
    rounding = 2 * np.spacing(np.maximum(np.abs(scale.low), np.abs(scale.high)).astype(np.float32))
    for batch in (1, 7):  # other sizes than it was traced with
        observation = example_observation(policy.observation_space, batch)
        expected = scale.to_env(mean_action(observation))
        try:
            action = written(observation)
        except Exception as error:  # each runtime has its own for shapes that it doesn't take
            raise ExportError(
                f"the exported policy doesn't run for {batch} observation(s), nothing was written: it must take any "
                f"batch size. {type(error).__name__}: {str(error)[:400]}"
            ) from error
        if action.shape != expected.shape or action.dtype != np.float32:
            raise ExportError(
                f"the exported policy gives {action.dtype} {action.shape} for {batch} observation(s), not float32 "
                f"{expected.shape}; nothing was written"
            )
        difference = np.abs(action.astype(np.float64) - expected).reshape(batch, -1)
        if not (difference <= TOLERANCE * 2 * scale.half_range + rounding).all():
            raise ExportError(
                f"the exported policy's actions differ from the policy's by up to {difference.max():g}; "
                "nothing was written"
            )


def example_observation(space: gymnasium.Space[Any], batch: int) -> Observation:
    """Makes observations inside the bounds of a space, always the same; a dict is in the order of its keys."""
    generator = np.random.default_rng(0)
    observation: dict[str, Array] = {}
    for key, box in observation_boxes(space).items():
        low, high = box.low.astype(np.float64), box.high.astype(np.float64)
        if box.dtype != np.uint8:
            nearest = np.clip(0.0, low, high)
            low, high = np.maximum(low, nearest - REACH), np.minimum(high, nearest + REACH)
        observation[key] = generator.uniform(low, high, (batch, *box.shape)).astype(np.float32)
    return observation[""] if set(observation) == {""} else observation


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
        file: Where it is now, a file or a folder.
        about: What stands at the beginning, a JSON-able mapping.
    """
    boxes: Any = observation_boxes(policy.observation_space)
    is_dict = isinstance(policy.observation_space, spaces.Dict)
    names = input_names(boxes if is_dict else None)
    output = output_name(boxes if is_dict else None)
    description = {
        **about,
        "file": name,
        "sha256": _checksums(file),
        "observation": "dict" if is_dict else "tensor",
        "inputs": [_port(name, box, _units(box)) for name, box in zip(names, boxes.values(), strict=True)],
        "outputs": [_port(output, policy.action_space, "the environment's own")],
    }
    return json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _checksums(path: Path) -> str | dict[str, str]:
    """Returns a file's checksum, or those of a folder's files by their paths in it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {file.relative_to(path).as_posix(): str(_checksums(file)) for file in files}
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
