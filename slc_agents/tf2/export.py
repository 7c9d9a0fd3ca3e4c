"""Exporting the deterministic policy: a SavedModel, or a file of TensorFlow Lite."""

from __future__ import annotations

import tempfile
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import tensorflow as tf

from slc_agents.errors import ExportError
from slc_agents.learner.export import output_name, write_export
from slc_agents.spaces import ActionScale, map_observation
from slc_agents.tf2.acting import observation_spec, spelled
from slc_agents.tf2.networks import Tensor
from slc_agents.tf2.policies import TensorObservation
from slc_agents.transition import Array, Observation

__all__ = ["FORMATS", "DeterministicPolicy", "Format", "export_policy"]

Runner: TypeAlias = Callable[[Observation], Array]


class DeterministicPolicy(tf.Module):
    """From the environment's observations to its actions: normalisation, mean action, scaling, bounds.

    `act(observation)`: observations, float32 [B, *observation shape], for Dict observations a dict of these, to float32
    [B, *action shape] in the environment's units.

    Args:
        policy: The networks.
    """

    def __init__(self, policy: Any) -> None:
        super().__init__()
        scale = ActionScale(policy.action_space)
        low, high, center, half_range = (
            tf.constant(getattr(scale, name), tf.float32) for name in ("low", "high", "center", "half_range")
        )
        shape = policy.action_space.shape

        def act(observation: TensorObservation) -> Tensor:
            action = policy.actor.mean_action(policy.features(observation))
            bounded = tf.clip_by_value(center + half_range * action, low, high)
            return tf.reshape(bounded, [-1, *shape])

        signature = [observation_spec(policy.observation_space, as_stored=False)]
        self.act = tf.function(act, input_signature=signature, autograph=False)
        # A SavedModel holds what its module holds: what acting needs, and no more; and `__call__`, where it is the
        # module's own and not its class's, so that what is loaded can be called.
        self.variables_used = list(self.act.get_concrete_function().variables)
        self.__call__ = self.act


class Format(ABC):
    """A format that a policy can be exported to.

    Attributes:
        suffix: That of its files or folders.
    """

    suffix: str

    @abstractmethod
    def write(self, module: DeterministicPolicy, space: Any, path: Path) -> None:
        """Writes a module, for any batch size.

        Args:
            module: From observations [B, *shape] to actions [B, *shape].
            space: The space of observations.
            path: The file or folder.
        """

    @abstractmethod
    def load(self, path: Path) -> Runner:
        """Reads it again: a function of numpy arrays, float32."""


class SavedModel(Format):
    """A folder, for `tf.saved_model.load` in Python, and for TensorFlow Serving and C++ by its signature."""

    suffix = ".savedmodel"

    def write(self, module: DeterministicPolicy, space: Any, path: Path) -> None:
        """Saves the module, with its signature `serving_default`."""
        spec = observation_spec(space, as_stored=False)
        output = output_name(spec)
        serving = tf.function(
            lambda observation: {output: module.act(observation)}, input_signature=[spec], autograph=False
        )
        tf.saved_model.save(module, str(path), signatures=serving.get_concrete_function())

    def load(self, path: Path) -> Runner:
        """Reads it by `tf.saved_model.load`."""
        loaded = tf.saved_model.load(str(path))
        return lambda observation: np.asarray(loaded(map_observation(tf.convert_to_tensor, observation)))


class TFLite(Format):
    """A file for TensorFlow Lite, by its signature; a Dict observation is one input a key."""

    suffix = ".tflite"

    def write(self, module: DeterministicPolicy, space: Any, path: Path) -> None:
        """Converts a SavedModel, in which the signature has its names."""
        with tempfile.TemporaryDirectory() as folder:
            SavedModel().write(module, space, Path(folder))
            path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(folder).convert())

    def load(self, path: Path) -> Runner:
        """Reads it by TensorFlow's own interpreter."""
        with warnings.catch_warnings():  # the interpreter is to move to a package of its own
            warnings.filterwarnings("ignore", message=r"(?s).*tf\.lite\.Interpreter is deprecated")
            runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()

        def run(observation: Observation) -> Array:
            parts = observation if isinstance(observation, dict) else {"observation": observation}
            (action,) = runner(**{spelled(key): part for key, part in parts.items()}).values()
            return np.asarray(action)

        return run


FORMATS: Mapping[str, Format] = {"saved_model": SavedModel(), "tflite": TFLite()}


def export_policy(policy: tf.Module, path: Path, format: str, about: Mapping[str, Any] | None = None) -> None:
    """Writes a policy to a file or folder, and a JSON file beside it that says what it takes and gives.

    What was written is read again and compared with the policy before it gets its name; where something goes wrong,
    older ones of these names stay as they were.

    Args:
        policy: The networks.
        path: The file or folder; the other file is `<path>.json`.
        format: One of `FORMATS`.
        about: What else the JSON file says: a JSON-able mapping.

    Raises:
        ValueError: If the format is unknown.
        ExportError: If the policy can't be written in this format, or what was written doesn't compute what it does.
    """
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: allowed are {', '.join(FORMATS)}")
    chosen, owner = FORMATS[format], cast("Any", policy)

    def write(target: Path) -> Runner:
        try:
            with tf.device("CPU:0"):
                chosen.write(DeterministicPolicy(owner), owner.observation_space, target)
        except (ExportError, OSError):
            raise
        except Exception as error:  # whatever a user's own module makes of being traced
            reason = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
            raise ExportError(
                f"the policy can't be exported to {format}, nothing was written. Its features and its "
                "actor.mean_action must be operations of TensorFlow that the format has, for any batch size, from "
                f"beginning to end. {type(error).__name__}: {reason[:400]}"
            ) from error
        return chosen.load(target)

    def mean_action(observation: Observation) -> Array:
        features = owner.features(map_observation(tf.convert_to_tensor, observation))
        return np.asarray(owner.actor.mean_action(features))

    about = {"format": format, **(about or {})}
    write_export(policy, path, chosen.suffix, write=write, mean_action=mean_action, about=about)
