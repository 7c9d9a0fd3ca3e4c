"""The statistics of Stable-Baselines3's VecNormalize as those of our normaliser, which is a part of the policy."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from slc_agents.errors import ArchiveError
from slc_agents.spaces import observation_boxes
from slc_agents.transition import Array

__all__ = ["Statistics", "read_normalizer"]

Statistics: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any]"

KEYS = ("mean", "var", "count", "epsilon", "clip_obs")
EPSILON, CLIP = 1e-8, 10.0  # what our normaliser has
TOLERANCE = 1e-6  # relative, of a normalised observation
EXPORT = """
    env = VecNormalize.load("vecnormalize.pkl", venv)
    rms = env.obs_rms
    numpy.savez("vecnormalize.npz", mean=rms.mean, var=rms.var, count=rms.count, epsilon=env.epsilon, \
clip_obs=env.clip_obs)"""


def read_normalizer(source: Statistics, space: gymnasium.Space[Any]) -> dict[str, Array]:
    """Reads the statistics of observations.

    Args:
        source: A file `.npz` or `.json`, or a mapping, with the keys `mean`, `var`, `count`, `epsilon` and `clip_obs`.
            For a Dict space, `mean` and `var` are mappings by the space's keys.
        space: The observation space.

    Returns:
        Tensors of our normaliser by their archive names.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If the file is of another kind, or can't be read.
        ValueError: If the statistics don't fit the space, or our normaliser would compute something else.
    """
    statistics = source if isinstance(source, Mapping) else _read_file(Path(source))
    missing = [key for key in KEYS if key not in statistics]
    if missing:
        raise ValueError(f"vec_normalize lacks {', '.join(missing)}; it needs {', '.join(KEYS)}")
    try:
        mean, var = (_join(statistics[key], space, key) for key in ("mean", "var"))
        count, epsilon, clip = (float(statistics[key]) for key in KEYS[2:])
    except (KeyError, TypeError) as error:
        raise ValueError(f"vec_normalize: numbers are needed ({error})") from error
    finite = np.isfinite(mean).all() and np.isfinite(var).all() and np.isfinite(count)
    if not finite or (var < 0).any() or count < 0:
        raise ValueError("vec_normalize: finite numbers are needed, and none below 0 in var and count")
    if clip != CLIP:
        raise ValueError(f"vec_normalize: clip_obs={clip:g}; here observations are clipped to ±{CLIP:g}")
    if not (abs(epsilon - EPSILON) <= TOLERANCE * 2 * (var + EPSILON)).all():
        raise ValueError(
            f"vec_normalize: epsilon={epsilon:g}; here it is {EPSILON:g}, which makes a difference for observations "
            f"that vary as little as these, with a variance of {var.min():g}"
        )
    return {"normalizer/mean": mean, "normalizer/var": var, "normalizer/count": np.array(count)}


def _read_file(path: Path) -> Mapping[str, Any]:
    if path.suffix not in (".npz", ".json"):
        raise ArchiveError(
            f"{path}: VecNormalize saves itself as a pickle, which would have to be run to be read. Where "
            f"Stable-Baselines3 is installed, write its statistics into a plain file:{EXPORT}\n"
            'and give vec_normalize="vecnormalize.npz"'
        )
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
        else:
            with np.load(path, allow_pickle=False) as arrays:
                content = dict(arrays)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, RecursionError, zipfile.BadZipFile) as error:
        raise ArchiveError(f"{path}: can't be read ({error})") from error
    if not isinstance(content, dict):
        raise ArchiveError(f"{path}: holds a {type(content).__name__}; a mapping is needed")
    return content


def _join(values: Any, space: gymnasium.Space[Any], name: str) -> Array:
    """Joins a statistic in the order in which the policy joins observations, without images."""
    boxes = {key: box for key, box in observation_boxes(space).items() if box.dtype != np.uint8}
    if isinstance(space, spaces.Dict):
        if not isinstance(values, Mapping) or set(values) != set(boxes):
            keys = sorted(values) if isinstance(values, Mapping) else type(values).__name__
            raise ValueError(
                f"vec_normalize, {name}: received {keys}; a mapping with the keys {sorted(boxes)} is needed"
            )
    else:
        values = {"": values}
    for key, box in boxes.items():
        if np.shape(values[key]) != box.shape:
            raise ValueError(
                f"vec_normalize, {name}{f', key {key!r}' if key else ''}: received shape {np.shape(values[key])}; the "
                f"observation space has {box.shape}"
            )
    parts = [np.asarray(values[key], np.float64).reshape(-1) for key in boxes]
    if not parts:
        raise ValueError("vec_normalize: all that is observed are images, which are divided by 255 instead")
    return np.concatenate(parts)
