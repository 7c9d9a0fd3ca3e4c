"""All of an agent that a resumed run must have in common with one that was never interrupted."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from slc_agents.agents.base import Agent
from slc_agents.seeding import generator_state

WALL_CLOCK = {"time/fps", "time/time_elapsed"}


def fingerprint(model: Agent[Any]) -> dict[str, str]:
    """A hash for each part: so that a difference says where it is."""
    state = model._state.state_dict()
    state["run"].pop("seconds")
    return {
        "parameters": _hash(model.get_parameters()),
        "buffer": _hash(model.replay_buffer.state_dict()),
        "streams": _text_hash({name: generator_state(stream) for name, stream in model._generators.items()}),
        "state": _text_hash(state),
        "schedules": _text_hash([state["run"]["finished_epochs"], state["run"]["finished_blocks"]]),
        "metrics": _text_hash(model._learner.metrics_state()),
        "exploration": _hash(model._learner.exploration_state()),
        "callbacks": _text_hash(model.callbacks.state_dict()),
    }


def progress_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a `progress.csv`, as texts, without wall-clock columns."""
    with path.open(newline="") as file:
        return [{key: cell for key, cell in row.items() if key not in WALL_CLOCK} for row in csv.DictReader(file)]


def _hash(arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _text_hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
