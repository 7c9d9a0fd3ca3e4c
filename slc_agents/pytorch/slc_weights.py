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
from slc_agents.learner.policy_kwargs import input_scale
from slc_agents.pytorch.pth_files import read_pth
from slc_agents.spaces import ActionScale, observation_boxes
from slc_agents.transition import Array

__all__ = ["find_weights", "read_weights"]

FILE = Path("torch_save") / "model_state.pt"
INFO_FILE = "save_info.json"
# Its copies of the networks, and ours of the critics.
COPIES = {"ac": "critic", "ac_targ": "critic_target"}
Q_CRITICS = ("Q1.Q", "Q2.Q")
LYAPUNOV_CRITICS = ("L.L", "L2.L")  # the second one is LATC's


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
    """Reads the networks, target networks and multipliers of an agent of stable-learning-control's SAC or LAC.

    No code from the file is run. The slow copy of SAC's actor, which is in the file too, has no counterpart here.

    Args:
        path: The file.
        policy: The policy that they are for; whether that is one of SAC or of LAC says what is to be in the file.
        opt_type: Whether SAC's critics learned returns ("maximize") or costs ("minimize"), where no `save_info.json`
            beside the file says it.

    Returns:
        Tensors by their archive names.

    Raises:
        FileNotFoundError: If there is no such file.
        ArchiveError: If it holds something else, or would have to run code.
        ValueError: If the policy has other inputs, or critics whose output can't be negated.
    """
    tensors, saved_by = _load(path)
    is_lac = bool(getattr(policy, "lyapunov", False))
    name = "LAC" if is_lac else "SAC"
    costs = not is_lac and (_read_opt_type(path) or opt_type) == "minimize"
    try:
        layers = _translate_lac(tensors, policy) if is_lac else _translate_sac(tensors, policy, -1.0 if costs else 1.0)
        multipliers = {"alpha/log_value": tensors.pop("log_alpha")}
        if is_lac:  # whose multiplier is cut off at 1 there when it is used, and here where it is kept
            multipliers["labda/log_value"] = np.minimum(tensors.pop("log_labda"), 0.0)
    except KeyError as error:
        raise _other_agent(path, name, saved_by, f"has no tensor {error}") from error
    for tensor in tensors:
        if is_lac or not tensor.startswith("ac_targ.pi."):
            raise _other_agent(path, name, saved_by, f"has a tensor {tensor!r}")
    if costs and getattr(policy, "output_activation", {}).get("critic", nn.Identity) is not nn.Identity:
        raise ValueError(
            f"{path}: its critics learned costs, and their output is negated here, which needs the output_activation "
            "'Identity' for the critic"
        )
    parts = {
        **{f"{layer}/weight": values.weight for layer, values in layers.items()},
        **{f"{layer}/bias": values.bias for layer, values in layers.items()},
        **multipliers,
    }
    return {part: values.astype(np.float32) for part, values in parts.items()}


def _translate_sac(tensors: dict[str, NDArray[np.float64]], policy: nn.Module, value_sign: float) -> dict[str, _Layer]:
    """Takes SAC's networks out of a state dict; returns their layers by the names that the archive has for them."""
    observation, observation_and_action = _inputs(policy)
    layers = _take_actor(tensors, "ac.pi", "actor", observation)
    for copy, part in COPIES.items():
        for i, critic in enumerate(Q_CRITICS):
            name = f"{part}/{i}"
            trunk = _take_trunk(tensors, f"{copy}.{critic}", name, observation_and_action)
            value = trunk.pop(f"{name}/trunk/{len(trunk) - 1}")
            layers |= {**trunk, f"{name}/value": _Layer(value_sign * value.weight, value_sign * value.bias)}
    return layers


def _translate_lac(tensors: dict[str, NDArray[np.float64]], policy: nn.Module) -> dict[str, _Layer]:
    """Takes the networks of LAC, or of LATC, out of a state dict; see `_translate_sac`."""
    observation, observation_and_action = _inputs(policy)
    layers = _take_actor(tensors, "ac.pi", "actor", observation)
    layers |= _take_actor(tensors, "ac_targ.pi", "actor_target", observation)
    for copy, part in COPIES.items():
        for i, critic in enumerate(LYAPUNOV_CRITICS[: cast("Any", policy.n_critics)]):
            layers |= _take_trunk(tensors, f"{copy}.{critic}", f"{part}/{i}", observation_and_action)
    return layers


def _inputs(policy: nn.Module) -> tuple[_Inputs, _Inputs]:
    """Returns how their inputs are made of ours: the actor's, and the critics'."""
    boxes = observation_boxes(cast("Any", policy.observation_space)).values()
    scale = ActionScale(cast("Any", policy.action_space))
    divisors = np.concatenate([np.full(int(np.prod(box.shape)), input_scale(box)) for box in boxes])
    observation = _Inputs(divisors, np.zeros_like(divisors))
    return observation, _Inputs(
        np.concatenate([divisors, scale.half_range]), np.concatenate([observation.offset, scale.center])
    )


def _take_actor(
    tensors: dict[str, NDArray[np.float64]], name: str, part: str, observation: _Inputs
) -> dict[str, _Layer]:
    layers = _take_trunk(tensors, f"{name}.net", part, observation)
    layers[f"{part}/mean"] = _take_layer(tensors, f"{name}.mu_layer")
    layers[f"{part}/log_std"] = _take_layer(tensors, f"{name}.log_std_layer")
    return layers


def _take_trunk(tensors: dict[str, NDArray[np.float64]], name: str, part: str, inputs: _Inputs) -> dict[str, _Layer]:
    """Takes a perceptron out of a state dict, as layers of a part's trunk."""
    first, *others = _take_mlp(tensors, name)
    trunk = [inputs.absorb(first, f"{part}/trunk/0/weight"), *others]
    return {f"{part}/trunk/{i}": layer for i, layer in enumerate(trunk)}


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
            raise _other_agent(
                path, "SAC or LAC", algorithm, f"has {name!r}, which is no tensor of floating-point numbers"
            )
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


def _other_agent(path: Path, wanted: str, saved_by: object, finding: str) -> ArchiveError:
    says = "" if saved_by is None else f", which says to be an agent of {saved_by},"
    return ArchiveError(
        f"{path}: not an agent of {wanted} as stable-learning-control saves one: the file{says} {finding}. Agents of "
        "other algorithms or with networks of one's own can't be read"
    )
