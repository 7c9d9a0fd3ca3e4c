"""Stable-Baselines3's hyperparameters as ours."""

from __future__ import annotations

import base64
import binascii
import pickletools
from collections.abc import Container, Mapping
from typing import Any

from slc_agents.compat.sb3.files import SB3File
from slc_agents.errors import ArchiveError
from slc_agents.schedulers import LinearScheduler

__all__ = ["translate_settings"]

ADAM = "<class 'torch.optim.adam.Adam'>"
RATES = ("lr_a", "lr_c", "lr_alpha")
_INTEGERS = ("BININT", "BININT1", "BININT2")  # instructions of a pickle


def translate_settings(file: SB3File, given: Container[str]) -> tuple[dict[str, Any], list[str]]:
    """Translates what a model was to be trained with.

    Args:
        file: The file.
        given: Names of our hyperparameters that the user gives, about which there is nothing to say.

    Returns:
        Our hyperparameters, and what of theirs has no counterpart, a sentence each.
    """
    notes: list[str] = []
    settings = {
        "gamma": file.get("gamma"),
        "polyak": 1.0 - _number(file, "tau"),
        "batch_size": file.get("batch_size"),
        "replay_size": file.get("buffer_size"),
        "start_steps": file.get("learning_starts"),
        "update_after": file.get("learning_starts"),
        "target_entropy": None if file.get("target_entropy") == "auto" else _number(file, "target_entropy"),
        "seed": file.get("seed"),
        **_temperature(file),
        **_learning_rates(file, given, notes),
        **_update_ratio(file, given, notes),
    }
    interval = file.data.get("target_update_interval", 1)
    if interval != 1 and "polyak" not in given:
        notes.append(
            f"target_update_interval={interval}: here the targets move with every gradient step; set polyak=..."
        )
    if file.data.get("n_steps", 1) != 1:
        notes.append(f"n_steps={file.data['n_steps']}: here the critics learn from returns of one step")
    for name in ("action_noise", "replay_buffer_kwargs"):
        if file.data.get(name):
            notes.append(f"{name}: it has no counterpart here")
    kwargs = _readable(file.data.get("policy_kwargs"))
    if kwargs.get("optimizer_class", ADAM) != ADAM or kwargs.get("optimizer_kwargs"):
        notes.append("optimizer_class and optimizer_kwargs: here every optimiser is Adam with its usual settings")
    return settings, notes


def _readable(entry: Any) -> Mapping[str, Any]:
    return entry if isinstance(entry, Mapping) else {}


def _number(file: SB3File, name: str) -> float:
    value = file.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ArchiveError(f"{file.path}: {name} is {value!r}; a number is needed")
    return float(value)


def _temperature(file: SB3File) -> dict[str, Any]:
    """Their ent_coef is a fixed number, or "auto" or "auto_0.1" for a learned temperature that starts at 1 or 0.1."""
    value = file.get("ent_coef")
    try:
        if isinstance(value, str) and value.partition("_")[0] == "auto":
            return {"alpha": float(value.partition("_")[2] or 1.0), "adaptive_temperature": True}
        return {"alpha": float(value), "adaptive_temperature": False}
    except (TypeError, ValueError):
        raise ArchiveError(f"{file.path}: ent_coef is {value!r}; a number, 'auto' or 'auto_0.1' is needed") from None


def _learning_rates(file: SB3File, given: Container[str], notes: list[str]) -> dict[str, Any]:
    """They have one rate for all optimisers: a number, or an object whose class and attributes say what it is."""
    value = file.get("learning_rate")
    entry = _readable(value)
    kind = str(entry.get(":type:")).rpartition(".")[2].removesuffix("'>")
    rate: Any
    if not isinstance(value, bool) and isinstance(value, (int, float)):
        rate = float(value)
    elif kind == "ConstantSchedule" and isinstance(entry.get("val"), (int, float)):
        rate = float(entry["val"])
    elif kind == "LinearSchedule" and entry.get("end_fraction") == 1.0:
        rate = LinearScheduler(float(entry["start"]), float(entry["end"]))
    else:
        try:
            rate = float(file.optimizers["actor"]["param_groups"][0]["lr"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise ArchiveError(f"{file.path}: its actor's optimiser says no learning rate") from None
        if any(name not in given for name in RATES):
            notes.append(
                f"learning_rate is a schedule, which is code: its last rate, {rate:g}, is taken for all three "
                "optimisers from now on; set lr_a=..., lr_c=... and lr_alpha=..., each a number or a Scheduler"
            )
    return {**dict.fromkeys(RATES, rate), "lr_decay_type": "constant", "lr_decay_ref": "step"}


def _update_ratio(file: SB3File, given: Container[str], notes: list[str]) -> dict[str, int]:
    """They count steps of all parallel environments together, we transitions; -1: as many as there are new ones."""
    n_envs, gradient_steps = file.data.get("n_envs", 1), file.get("gradient_steps")
    if not isinstance(n_envs, int) or not isinstance(gradient_steps, int):
        raise ArchiveError(f"{file.path}: n_envs={n_envs!r}, gradient_steps={gradient_steps!r}: numbers are needed")
    frequency = _train_frequency(file.get("train_freq"))
    if frequency is not None and frequency[1] == "step" and gradient_steps != 0:
        transitions = frequency[0] * n_envs
        return {"update_every": transitions, "steps_per_update": transitions if gradient_steps < 0 else gradient_steps}
    if "update_every" not in given or "steps_per_update" not in given:
        shown = "can't be read" if frequency is None else f"is {frequency[0]} {frequency[1]}s"
        notes.append(
            f"train_freq {shown}, gradient_steps is {gradient_steps}: one gradient step is taken for each environment "
            "step; set update_every=... and steps_per_update=..."
        )
    return {"update_every": 1, "steps_per_update": 1}


def _train_frequency(entry: Any) -> tuple[int, str] | None:
    """Reads a train_freq: a number, or a pickled pair of a number and a unit, of which no attribute is readable.

    The pickle is not loaded. Its instructions are listed, which runs none of them, and the one number and the one unit
    that they mention are taken.
    """
    if isinstance(entry, int) and not isinstance(entry, bool):
        return entry, "step"
    try:
        instructions = list(pickletools.genops(base64.b64decode(_readable(entry)[":serialized:"], validate=True)))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    texts = {argument.lower() for _, argument, _ in instructions if isinstance(argument, str)}
    numbers = [int(argument or 0) for code, argument, _ in instructions if code.name in _INTEGERS]
    units = texts & {"step", "episode"}
    if "trainfreq" not in texts or len(numbers) != 1 or len(units) != 1 or numbers[0] < 1:
        return None
    return numbers[0], units.pop()
