"""Weights that stable-learning-control saved, as tensors of this package's names and layouts.

It saves an agent's state dict as `<run>/torch_save/model_state.pt`, and how the agent was made as `save_info.json` in
the same folder. Its layers' weights are [out, in]. Its networks see observations of uint8 undivided, its critics take
actions in the environment's units, and where costs are minimised they learn costs, not their negatives: the first or
the last layer makes up for each of these, so that the networks compute here what they computed there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from slc_agents.errors import ArchiveError
from slc_agents.pytorch.policies import input_scale
from slc_agents.pytorch.pth_files import read_pth
from slc_agents.spaces import ActionScale, observation_boxes
from slc_agents.transition import Array

__all__ = ["find_weights", "read_weights"]

FILE = Path("torch_save") / "model_state.pt"
INFO_FILE = "save_info.json"
CRITICS = {
    "ac.Q1.Q": "critic/0",
    "ac.Q2.Q": "critic/1",
    "ac_targ.Q1.Q": "critic_target/0",
    "ac_targ.Q2.Q": "critic_target/1",
}


class _Layer(NamedTuple):
    """A dense layer, x W + b."""

    weight: NDArray[np.float64]  # [in, out]
    bias: NDArray[np.float64]  # [out]


class _Inputs(NamedTuple):
    """How inputs of theirs are made of ours: x = factor * ours + offset."""

    factor: NDArray[np.float64]
    offset: NDArray[np.float64]

    def absorb(self, layer: _Layer, name: str) -> _Layer:
        """Returns a layer that computes of our inputs what the given one computes of theirs."""
        n_inputs = len(layer.weight)
        if n_inputs != len(self.factor):
            raise ValueError(
                f"tensor {name!r} has {n_inputs} rows, one for each input; the agent has {len(self.factor)} inputs "
                "there. Spaces must be the same"
            )
        return _Layer(self.factor[:, None] * layer.weight, layer.bias + self.offset @ layer.weight)


def find_weights(path: Path) -> Path | None:
    """Returns the file of PyTorch weights that a path means, or None where it means none.

    Args:
        path: A file named `.pt` or `.pth`, a run's folder, or a folder in it that holds `model_state.pt`.

    Raises:
        ArchiveError: If it means TensorFlow's weights.
    """
    if path.suffix in (".pt", ".pth"):
        return path
    if (path / FILE.parent).is_dir():
        return path / FILE
    if path.name == FILE.parent.name or (path / FILE.name).is_file():
        return path / FILE.name
    if path.name == "tf2_save" or (path / "tf2_save").is_dir() or Path(f"{path}.index").is_file():
        raise ArchiveError(
            f"{path}: weights of TensorFlow. Of what stable-learning-control saves, PyTorch's can be read: {FILE} in a "
            "run's folder"
        )
    return None


def read_weights(path: Path, policy: nn.Module, opt_type: str) -> dict[str, Array]:
    """Reads the networks, target networks and temperature of an agent of stable-learning-control's SAC.

    No code from the file is run. The target's actor, which is in the file too, has no counterpart here.

    Args:
        path: The file.
        policy: The policy that they are for.
        opt_type: Whether the critics learned returns ("maximize") or costs ("minimize"), where no `save_info.json`
            beside the file says it.

    Returns:
        Tensors by their archive names.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it holds something else, or would have to run code.
        ValueError: If the policy has other inputs, or critics whose output can't be negated.
    """
    tensors, algorithm = _load(path)
    costs = (_read_opt_type(path) or opt_type) == "minimize"
    try:
        layers = _translate(tensors, policy, value_sign=-1.0 if costs else 1.0)
        log_alpha = tensors.pop("log_alpha")
    except KeyError as error:
        raise _other_agent(path, algorithm, f"has no tensor {error}") from error
    for name in tensors:
        if not name.startswith("ac_targ.pi."):
            raise _other_agent(path, algorithm, f"has a tensor {name!r}")
    if costs and getattr(policy, "output_activation", {}).get("critic", nn.Identity) is not nn.Identity:
        raise ValueError(
            f"{path}: its critics learned costs, and their output is negated here, which needs the output_activation "
            "'Identity' for the critic"
        )
    return {
        **{f"{name}/weight": layer.weight.astype(np.float32) for name, layer in layers.items()},
        **{f"{name}/bias": layer.bias.astype(np.float32) for name, layer in layers.items()},
        "alpha/log_value": log_alpha.astype(np.float32),
    }


def _translate(tensors: dict[str, NDArray[np.float64]], policy: nn.Module, value_sign: float) -> dict[str, _Layer]:
    """Takes the networks out of a state dict; returns their layers by the names that the archive has for them."""
    boxes = observation_boxes(cast("Any", policy.observation_space)).values()
    scale = ActionScale(cast("Any", policy.action_space))
    divisors = np.concatenate([np.full(int(np.prod(box.shape)), input_scale(box)) for box in boxes])
    observation = _Inputs(divisors, np.zeros_like(divisors))
    observation_and_action = _Inputs(
        np.concatenate([divisors, scale.half_range]), np.concatenate([observation.offset, scale.center])
    )
    first, *others = _take_mlp(tensors, "ac.pi.net")
    trunk = [observation.absorb(first, "actor/trunk/0/weight"), *others]
    layers = {f"actor/trunk/{i}": layer for i, layer in enumerate(trunk)}
    layers["actor/mean"] = _take_layer(tensors, "ac.pi.mu_layer")
    layers["actor/log_std"] = _take_layer(tensors, "ac.pi.log_std_layer")
    for name, part in CRITICS.items():
        first, *others = _take_mlp(tensors, name)
        *trunk, value = [observation_and_action.absorb(first, f"{part}/trunk/0/weight"), *others]
        layers |= {f"{part}/trunk/{i}": layer for i, layer in enumerate(trunk)}
        layers[f"{part}/value"] = _Layer(value_sign * value.weight, value_sign * value.bias)
    return layers


def _take_mlp(tensors: dict[str, NDArray[np.float64]], name: str) -> list[_Layer]:
    """Takes the layers of a perceptron out of a state dict; there is an activation between any two."""
    layers = [_take_layer(tensors, f"{name}.0")]
    while f"{name}.{2 * len(layers)}.weight" in tensors:
        layers.append(_take_layer(tensors, f"{name}.{2 * len(layers)}"))
    return layers


def _take_layer(tensors: dict[str, NDArray[np.float64]], name: str) -> _Layer:
    weight, bias = tensors.pop(f"{name}.weight"), tensors.pop(f"{name}.bias")
    if weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ValueError(f"tensors '{name}.weight' and '{name}.bias' have shapes {weight.shape} and {bias.shape}")
    return _Layer(weight.T, bias)


def _load(path: Path) -> tuple[dict[str, NDArray[np.float64]], str | None]:
    """Reads a state dict, and what algorithm's it says to be. Nothing is unpickled but tensors and plain values."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; check the path")
    try:
        state = read_pth(path.read_bytes(), str(path))
    except ArchiveError as error:
        raise ArchiveError(
            f"{path}: no weights that can be read without running code: the file is damaged, or no state dict of "
            f"PyTorch's. Give stable-learning-control's {FILE}, or what an agent's save(), not export(), wrote"
        ) from error
    if not isinstance(state, dict):
        raise ArchiveError(f"{path}: holds one {type(state).__name__}, not a state dict by tensors' names")
    algorithm = state.pop("alg_name", None)
    for name, value in state.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            raise _other_agent(path, algorithm, f"has {name!r}, which is no tensor of floating-point numbers")
    return {str(name): value.astype(np.float64) for name, value in state.items()}, algorithm


def _read_opt_type(path: Path) -> str | None:
    """Reads from the file beside the weights what an agent was trained to do, where that file is there."""
    folders = [path.parent]
    if path.parent.parent.name == "checkpoints":  # torch_save/checkpoints/iter10/model_state.pt
        folders.append(path.parent.parent.parent)
    for info in (folder / INFO_FILE for folder in folders):
        if info.is_file():
            try:
                opt_type = json.loads(info.read_text(encoding="utf-8"))["setup_kwargs"]["opt_type"].lower()
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
                raise ArchiveError(
                    f"{info}: doesn't say setup_kwargs.opt_type of the agent beside it. Without the file, it is taken "
                    "to be the new agent's"
                ) from error
            if opt_type not in ("maximize", "minimize"):
                raise ArchiveError(f"{info}: opt_type is {opt_type!r}; 'maximize' and 'minimize' are known")
            return str(opt_type)
    return None


def _other_agent(path: Path, algorithm: object, finding: str) -> ArchiveError:
    says = "" if algorithm is None else f", which says to be an agent of {algorithm},"
    return ArchiveError(
        f"{path}: not an agent of SAC as stable-learning-control saves one: the file{says} {finding}. Agents of other "
        "algorithms or with networks of one's own can't be read"
    )
