"""The hyperparameters in a model's file of Stable-Baselines3 as ours."""

from __future__ import annotations

import base64
import binascii
import contextlib
import pickletools
from collections.abc import Container, Iterator, Mapping
from typing import Any

from slc_agents.compat.sb3.files import SB3File
from slc_agents.compat.sb3.hyperparameters import (
    RATES,
    TrainFrequency,
    kept_noise,
    moves_targets_each_step,
    rates,
    temperature,
    training_times,
    update_ratio,
)
from slc_agents.errors import ArchiveError, check_number, check_whole_number
from slc_agents.schedulers import LinearScheduler

__all__ = ["translate_noise", "translate_settings"]

ADAM = "<class 'torch.optim.adam.Adam'>"
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
    with _naming(file):
        settings = {
            "gamma": file.get("gamma"),
            "polyak": 1.0 - check_number("tau", file.get("tau")),
            "batch_size": file.get("batch_size"),
            "replay_size": file.get("buffer_size"),
            "target_entropy": None
            if file.get("target_entropy") == "auto"
            else check_number("target_entropy", file.get("target_entropy")),
            "seed": file.get("seed"),
            **temperature(file.get("ent_coef")),
            **_learning_rates(file, given, notes),
            **_training_times(file, given, notes),
        }
    interval = file.data.get("target_update_interval", 1)
    if not moves_targets_each_step(interval, settings["steps_per_update"]) and "polyak" not in given:
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


def translate_noise(file: SB3File) -> tuple[int, list[str]]:
    """Translates for how many steps a model with state-dependent exploration keeps its noise.

    Returns:
        `noise_steps`, and what of it has no counterpart, a sentence each.
    """
    with _naming(file):
        sample_freq = check_whole_number("sde_sample_freq", file.data.get("sde_sample_freq", -1), -1)
    frequency = _train_frequency(file.get("train_freq"))
    kept = kept_noise(sample_freq, frequency)
    if kept is not None:
        return kept, []
    kept = max(sample_freq, 1)
    note = (
        f"use_sde=True: sde_sample_freq is {sample_freq} and train_freq {_shown(frequency)}: there exploration keeps "
        f"its noise for stretches of different lengths, here for {kept} each"
    )
    return kept, [note]


@contextlib.contextmanager
def _naming(file: SB3File) -> Iterator[None]:
    """Names the file in an error about one of its values."""
    try:
        yield
    except ArchiveError:
        raise
    except ValueError as error:
        raise ArchiveError(f"{file.path}: {error}") from None


def _readable(entry: Any) -> Mapping[str, Any]:
    return entry if isinstance(entry, Mapping) else {}


def _learning_rates(file: SB3File, given: Container[str], notes: list[str]) -> dict[str, Any]:
    """They have one rate for all optimisers: a number, or an object whose class and attributes say what it is."""
    value = file.get("learning_rate")
    entry = _readable(value)
    kind = str(entry.get(":type:")).rpartition(".")[2].removesuffix("'>")
    if not isinstance(value, bool) and isinstance(value, (int, float)):
        return rates(float(value))
    if kind == "ConstantSchedule" and isinstance(entry.get("val"), (int, float)):
        return rates(float(entry["val"]))
    if kind == "LinearSchedule" and entry.get("end_fraction") == 1.0:
        return rates(LinearScheduler(float(entry["start"]), float(entry["end"])))
    try:
        rate = float(file.optimizers["actor"]["param_groups"][0]["lr"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise ArchiveError(f"{file.path}: its actor's optimiser says no learning rate") from None
    if any(name not in given for name in RATES):
        notes.append(
            f"learning_rate is a schedule, which is code: its last rate, {rate:g}, is taken for all three "
            "optimisers from now on; set lr_a=..., lr_c=... and lr_alpha=..., each a number or a Scheduler"
        )
    return rates(rate)


def _training_times(file: SB3File, given: Container[str], notes: list[str]) -> dict[str, int]:
    n_envs = check_whole_number("n_envs", file.data.get("n_envs", 1))
    gradient_steps = check_whole_number("gradient_steps", file.get("gradient_steps"), -1)
    frequency = _train_frequency(file.get("train_freq"))
    ratio = update_ratio(frequency, gradient_steps, n_envs)
    if ratio is None:
        ratio = {"update_every": 1, "steps_per_update": 1}
        if "update_every" not in given or "steps_per_update" not in given:
            notes.append(
                f"train_freq {_shown(frequency)}, gradient_steps is {gradient_steps}: one gradient step is taken for "
                "each environment step; set update_every=... and steps_per_update=..."
            )
    starts = check_whole_number("learning_starts", file.get("learning_starts"), 0)
    acts_at_once = bool(file.data.get("use_sde")) and bool(file.data.get("use_sde_at_warmup"))
    return {**ratio, **training_times(starts, ratio["update_every"], n_envs, acts_at_once=acts_at_once)}


def _shown(frequency: TrainFrequency | None) -> str:
    return "can't be read" if frequency is None else f"is {frequency.number} {frequency.unit}s"


def _train_frequency(entry: Any) -> TrainFrequency | None:
    """Reads a train_freq: a number, or a pickled pair of a number and a unit, of which no attribute is readable.

    The pickle is not loaded. Its instructions are listed, which runs none of them, and the one number and the one unit
    that they mention are taken.
    """
    if isinstance(entry, int) and not isinstance(entry, bool):
        return TrainFrequency(entry, "step")
    try:
        instructions = list(pickletools.genops(base64.b64decode(_readable(entry)[":serialized:"], validate=True)))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    texts = {argument.lower() for _, argument, _ in instructions if isinstance(argument, str)}
    numbers = [int(argument or 0) for code, argument, _ in instructions if code.name in _INTEGERS]
    units = texts & {"step", "episode"}
    if "trainfreq" not in texts or len(numbers) != 1 or len(units) != 1 or numbers[0] < 1:
        return None
    return TrainFrequency(numbers[0], units.pop())
