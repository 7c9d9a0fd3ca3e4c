"""Zips in the layout of Stable-Baselines3's SAC, of versions 1 and 2, written without it."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces

ADAM = {"lr": 3e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
BOX = spaces.Box(np.array([-1, -1, -8], np.float32), np.array([1, 1, 8], np.float32))
ACTION = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 5], np.float32))
TRAIN_FREQ = pickle.dumps(["TrainFreq", 4, "step"], protocol=4)  # what of the real one is looked at


class Bomb:
    """Its pickle makes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def pickled(content: bytes, kind: str, **readable: Any) -> dict[str, Any]:
    return {":type:": f"<class '{kind}'>", ":serialized:": base64.b64encode(content).decode(), **readable}


def printed(space: Any, content: bytes, *, version: int) -> dict[str, Any]:
    """A space as the file shows it."""
    if isinstance(space, spaces.Dict):
        text = repr(space).removeprefix("Dict(").removesuffix(")")
        text = "{" + text + "}" if version == 2 else repr({**space.spaces}).join(("OrderedDict(", ")"))
        return pickled(content, "gymnasium.spaces.dict.Dict", spaces=text, _shape=None, dtype=None)
    ends = {
        "low": str(space.low),
        "high": str(space.high),
        "bounded_below": str(space.bounded_below),
        "bounded_above": str(space.bounded_above),
    }
    if version == 1:
        shape = {"shape": list(space.shape), "np_random": "RandomState(MT19937)"}
        return pickled(content, "gym.spaces.box.Box", dtype=str(space.dtype), **shape, **ends)
    more = {"low_repr": None, "high_repr": None, "_np_random": None}
    return pickled(
        content, "gymnasium.spaces.box.Box", dtype=str(space.dtype), _shape=list(space.shape), **ends, **more
    )


def linear(generator: np.random.Generator, n_inputs: int, n_outputs: int) -> list[tuple[str, np.ndarray]]:
    bound = 1 / np.sqrt(n_inputs)
    return [
        ("weight", generator.uniform(-bound, bound, (n_outputs, n_inputs)).astype(np.float32)),
        ("bias", generator.uniform(-bound, bound, n_outputs).astype(np.float32)),
    ]


def mlp(generator: np.random.Generator, prefix: str, sizes: list[int]) -> dict[str, np.ndarray]:
    return {
        f"{prefix}.{2 * i}.{kind}": array
        for i in range(len(sizes) - 1)
        for kind, array in linear(generator, sizes[i], sizes[i + 1])
    }


def nature_cnn(generator: np.random.Generator, prefix: str, n_channels: int, n_flat: int, n: int) -> dict[str, Any]:
    tensors: dict[str, Any] = {}
    for i, (n_in, n_out, kernel) in enumerate(((n_channels, 32, 8), (32, 64, 4), (64, 64, 3))):
        shape = (n_out, n_in, kernel, kernel)
        tensors[f"{prefix}cnn.{2 * i}.weight"] = generator.normal(size=shape, scale=0.05).astype(np.float32)
        tensors[f"{prefix}cnn.{2 * i}.bias"] = generator.normal(size=n_out, scale=0.05).astype(np.float32)
    tensors |= {f"{prefix}linear.0.{kind}": array for kind, array in linear(generator, n_flat, n)}
    return tensors


def networks(
    generator: np.random.Generator,
    n_features: int,
    n_actions: int,
    *,
    pi: list[int],
    qf: list[int],
    n_critics: int = 2,
    sde: bool = False,
    encoder: Any = None,
) -> dict[str, np.ndarray]:
    """Tensors in the order of a real state dict; `encoder(prefix)` makes those of an encoder."""
    tensors: dict[str, np.ndarray] = {}
    if sde:
        tensors["actor.log_std"] = generator.normal(-2, 0.5, (pi[-1], n_actions)).astype(np.float32)
    tensors |= encoder("actor.features_extractor.") if encoder else {}
    tensors |= mlp(generator, "actor.latent_pi", [n_features, *pi])
    for head in ["mu.0"] if sde else ["mu", "log_std"]:
        tensors |= {f"actor.{head}.{kind}": array for kind, array in linear(generator, pi[-1], n_actions)}
    for part in ("critic", "critic_target"):
        tensors |= encoder(f"{part}.features_extractor.") if encoder else {}
        for i in range(n_critics):
            tensors |= mlp(generator, f"{part}.qf{i}", [n_features + n_actions, *qf, 1])
    return tensors


def adam(generator: np.random.Generator, tensors: list[np.ndarray], step: int, *, version: int) -> dict[str, Any]:
    """An optimiser's state dict; old versions of torch count steps with an int."""
    state = {
        i: {
            "step": step if version == 1 else torch.tensor(float(step)),
            "exp_avg": torch.from_numpy(generator.normal(size=array.shape).astype(np.float32)),
            "exp_avg_sq": torch.from_numpy(generator.uniform(0, 1, array.shape).astype(np.float32)),
        }
        for i, array in enumerate(tensors)
        if step
    }
    return {"state": state, "param_groups": [{**ADAM, "params": list(range(len(tensors)))}]}


def make_members(
    *,
    version: int = 2,
    observation_space: Any = BOX,
    action_space: Any = ACTION,
    n_features: int | None = None,
    pi: tuple[int, ...] = (8, 6),
    qf: tuple[int, ...] = (7,),
    n_critics: int = 2,
    sde: bool = False,
    encoder: Any = None,
    shared: bool = False,
    ent_coef: Any = "auto",
    policy_kwargs: dict[str, Any] | None = None,
    step: int = 5,
    content: bytes = TRAIN_FREQ,
    **data: Any,
) -> dict[str, Any]:
    """Makes the zip's members: JSON-able data, and state dicts. `content` is the pickle wherever there is one."""
    generator = np.random.default_rng(0)
    n_features = n_features or int(np.prod(observation_space.shape))
    n_actions = int(np.prod(action_space.shape))
    tensors = networks(
        generator,
        n_features,
        n_actions,
        pi=list(pi),
        qf=list(qf),
        n_critics=n_critics,
        sde=sde,
        encoder=encoder and (lambda prefix: encoder(generator, prefix)),
    )
    parts = {
        part: [
            a for name, a in tensors.items() if name.startswith(f"{part}.") and not (left_out and "extractor" in name)
        ]
        for part, left_out in (("actor", False), ("critic", shared))
    }
    members: dict[str, Any] = {
        "data": {
            "policy_class": pickled(content, "abc.ABCMeta", __module__="stable_baselines3.sac.policies"),
            "policy_kwargs": {"net_arch": {"pi": list(pi), "qf": list(qf)}, "use_sde": sde, **(policy_kwargs or {})},
            "observation_space": printed(observation_space, content, version=version),
            "action_space": printed(action_space, content, version=version),
            "num_timesteps": 1000,
            "_episode_num": 5,
            "_n_updates": 900,
            "seed": 7,
            "n_envs": 1,
            "learning_rate": 7e-4,
            "lr_schedule": pickled(content, "function"),
            "buffer_size": 5000,
            "batch_size": 32,
            "learning_starts": 50,
            "tau": 0.01,
            "gamma": 0.98,
            "gradient_steps": 2,
            "train_freq": pickled(content, "stable_baselines3.common.type_aliases.TrainFreq"),
            "target_entropy": -2.0,
            "ent_coef": ent_coef,
            "target_update_interval": 1,
            "action_noise": None,
            "use_sde": sde,
            **data,
        },
        "policy.pth": {name: torch.from_numpy(array) for name, array in tensors.items()},
        "actor.optimizer.pth": adam(generator, parts["actor"], step, version=version),
        "critic.optimizer.pth": adam(generator, parts["critic"], step, version=version),
    }
    if isinstance(ent_coef, str):
        log_value = torch.tensor([-1.5], requires_grad=True)
        members["pytorch_variables.pth"] = {"log_ent_coef": log_value}
        members["ent_coef_optimizer.pth"] = adam(generator, [np.zeros(1, np.float32)], step, version=version)
    else:
        members["pytorch_variables.pth"] = {"ent_coef_tensor": torch.tensor(float(ent_coef))}
    return members


def write_members(path: Path, members: dict[str, Any], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            if isinstance(content, bytes):
                archive.writestr(name, content)
            elif name == "data":
                archive.writestr(name, json.dumps(content, indent=4))
            else:
                buffer = io.BytesIO()
                torch.save(content, buffer)
                archive.writestr(name, buffer.getvalue())
        archive.writestr("_stable_baselines3_version", "2.9.2")
    return path


def write_sb3(path: Path, **settings: Any) -> tuple[Path, dict[str, Any]]:
    """Writes a file and returns its path and members; see `make_members`."""
    members = make_members(**settings)
    return write_members(path, members), members
