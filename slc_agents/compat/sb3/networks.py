"""Stable-Baselines3's networks as ours: which policy, and which tensor becomes which."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from slc_agents.compat.sb3.files import SB3File
from slc_agents.compat.sb3.spaces import PrintedSpace
from slc_agents.errors import ArchiveError
from slc_agents.transition import Array

__all__ = ["Layout", "read_layout", "translate_tensors"]

_KNOWN_KWARGS = frozenset(
    (
        *("net_arch", "activation_fn", "n_critics", "share_features_extractor"),
        *("use_sde", "log_std_init", "use_expln", "clip_mean"),
        *("features_extractor_class", "features_extractor_kwargs", "normalize_images"),
        *("optimizer_class", "optimizer_kwargs", ":type:", ":serialized:"),
    )
)
_ACTIVATION = re.compile(r"<class 'torch\.nn\.modules\.(?:activation|linear)\.(\w+)'>")
_EXTRACTOR = re.compile(r"<class 'stable_baselines3\.common\.torch_layers\.\w+'>")
_LAYER = re.compile(r"(?P<index>\d+)\.(?P<kind>weight|bias)")
_FIRST_LAYER = re.compile(r"trunk/0/weight$")


@dataclass(frozen=True)
class Layout:
    """Which policy of ours the networks are.

    Attributes:
        policy: Its name.
        kwargs: Its keywords, but for the place of images' channels.
        head: What stands before the names of the perceptrons' tensors: "head/" behind an encoder.
        n_critic_layers: Hidden layers of the critics.
    """

    policy: str
    kwargs: dict[str, Any]
    head: str
    n_critic_layers: int

    @property
    def has_images(self) -> bool:
        """Whether there are convolutions."""
        return "cnn_features" in self.kwargs


def read_layout(file: SB3File, space: PrintedSpace) -> Layout:
    """Finds out which policy of ours has the networks of a file.

    Raises:
        ArchiveError: If none has; it names what is not supported.
    """
    given = file.data.get("policy_kwargs") or {}
    _check_policy_kwargs(given, file)
    uses_sde = "actor.log_std" in file.policy
    actor = _layer_sizes(file, "actor.latent_pi.")
    critic = _layer_sizes(file, "critic.qf0.")[:-1]
    if not actor or not critic:
        raise ArchiveError(
            f"{file.path}: net_arch has no hidden layers in actor or critic; at least one is needed here"
        )
    activation = _activation(given.get("activation_fn"), file)
    members = {name.split(".")[1] for name in file.policy if name.startswith("critic.qf")}
    kwargs: dict[str, Any] = {
        "hidden_sizes": {"actor": actor, "critic": critic},
        "activation": activation,
        "output_activation": {"actor": activation},  # theirs follows every hidden layer, the last one too
        "n_critics": len(members),
    }
    image_features = {
        len(array)
        for name, array in file.policy.items()
        if re.search(r"^actor\.features_extractor\..*bias$", name) and ".linear." in name
    }
    if len(image_features) > 1:
        raise ArchiveError(f"{file.path}: images have different numbers of features, {sorted(image_features)}")
    if uses_sde and image_features:
        raise ArchiveError(f"{file.path}: use_sde=True with images is not supported")
    if image_features:
        if given.get("normalize_images") is False:
            raise ArchiveError(f"{file.path}: normalize_images=False: here images are always divided by 255")
        kwargs["cnn_features"] = image_features.pop()
    if uses_sde:
        kwargs |= _noise_kwargs(given, file)
        policy = "GSDEPolicy"
    elif isinstance(space, dict):
        policy = "MultiInputPolicy"
    else:
        policy = "CnnPolicy" if "cnn_features" in kwargs else "MlpPolicy"
    head = "head/" if policy in ("CnnPolicy", "MultiInputPolicy") else ""
    return Layout(policy, kwargs, head, len(critic))


def _check_policy_kwargs(given: Any, file: SB3File) -> None:
    if not isinstance(given, Mapping):
        raise ArchiveError(f"{file.path}: policy_kwargs are {given!r}; a mapping is needed")
    unknown = sorted(set(given) - _KNOWN_KWARGS)
    if unknown:
        raise ArchiveError(f"{file.path}: policy_kwargs has {', '.join(unknown)}, which has no counterpart here")
    extractor = given.get("features_extractor_class")
    if extractor is not None and not _EXTRACTOR.fullmatch(str(extractor)):
        raise ArchiveError(
            f"{file.path}: features_extractor_class is {extractor}, whose code would have to be run to know what it "
            "computes. NatureCNN, CombinedExtractor and FlattenExtractor can be read"
        )
    keywords = given.get("features_extractor_kwargs") or {}
    if not isinstance(keywords, Mapping) or not set(keywords) <= {"features_dim", "cnn_output_dim"}:
        raise ArchiveError(
            f"{file.path}: features_extractor_kwargs={keywords}: only features_dim, cnn_output_dim can be"
        )


def _noise_kwargs(given: Mapping[str, Any], file: SB3File) -> dict[str, Any]:
    clip_mean, log_std_init = (float(given.get(*item)) for item in (("clip_mean", 2.0), ("log_std_init", -3.0)))
    use_expln = given.get("use_expln", False)
    is_clipped = "actor.mu.0.weight" in file.policy  # by a layer of its own, after the mean's
    if (
        not isinstance(use_expln, bool)
        or not math.isfinite(log_std_init)
        or (is_clipped and not 0 < clip_mean < np.inf)
    ):
        raise ArchiveError(f"{file.path}: {clip_mean=}, {log_std_init=}, {use_expln=}: out of range")
    return {"clip_mean": clip_mean if is_clipped else None, "use_expln": use_expln, "log_std_init": log_std_init}


def _activation(printed: Any, file: SB3File) -> str:
    from slc_agents.pytorch.networks import find_activation

    if printed is None:
        return "ReLU"
    found = _ACTIVATION.fullmatch(str(printed))
    if found is None:
        raise ArchiveError(f"{file.path}: activation_fn is {printed}; an activation of torch.nn is needed")
    find_activation(found[1], "activation_fn")
    return found[1]


def _layer_sizes(file: SB3File, prefix: str) -> list[int]:
    """Returns the widths of the layers of an MLP, whose biases come in order."""
    return [len(array) for name, array in file.policy.items() if name.startswith(prefix) and name.endswith("bias")]


def translate_tensors(
    file: SB3File, layout: Layout, space: PrintedSpace, encoders: Mapping[str, str]
) -> tuple[dict[str, Array], list[str]]:
    """Translates networks, temperature and optimisers.

    Args:
        file: The file.
        layout: What `read_layout` found.
        space: The observation space, with a Dict's keys in the file's order.
        encoders: The names that our encoder has for the images of a Dict, by key.

    Returns:
        Tensors by their archive names, and what has no counterpart, a sentence each.

    Raises:
        ArchiveError: If there is a tensor that ours have no place for.
    """
    translator = _Translator(file, layout, _input_order(layout, space), encoders)
    tensors = {translator.rename(name): translator.convert(name, array) for name, array in file.policy.items()}
    notes: list[str] = []
    networks: dict[str, list[str]] = {
        part: [name for name in file.policy if name.startswith(f"{part}.")] for part in ("actor", "critic")
    }
    own = [name for name in networks["critic"] if ".features_extractor." not in name]
    if len(own) < len(networks["critic"]) and _n_optimized(file, "critic") == len(own):
        notes.append(
            "share_features_extractor=True: there the actor's loss trains the one encoder of both nets; from now on "
            "each has its own, as it stands in the file"
        )
        for name in set(networks["critic"]) - set(own):
            tensors.update(translator.moments("critic", name, {}, file.policy[name]))
        networks["critic"] = own
    for part, names in networks.items():
        n = _n_optimized(file, part)
        if n != len(names):
            raise ArchiveError(f"{file.path}: the {part}'s optimiser has {n} parameters, the {part} has {len(names)}")
        tensors.update(translator.optimizer(part, names))
    tensors.update(_temperature_tensors(file))
    return tensors, notes


def _input_order(layout: Layout, space: PrintedSpace) -> Array | None:
    """Returns which of their features stands where in ours: theirs are in the order of the Dict, ours images first."""
    if not isinstance(space, dict):
        return None
    sizes, images = {}, []
    for key, box in space.items():
        is_image = layout.has_images and box.is_image
        sizes[key] = layout.kwargs["cnn_features"] if is_image else int(np.prod(box.shape))
        images += [key] if is_image else []
    ends = dict(zip(sizes, np.cumsum(list(sizes.values())), strict=True))
    ours = [*sorted(images), *sorted(set(sizes) - set(images))]
    return np.concatenate([np.arange(ends[key] - sizes[key], ends[key]) for key in ours])


def _n_optimized(file: SB3File, part: str) -> int:
    try:
        return len(file.optimizers[part]["param_groups"][0]["params"])
    except (KeyError, IndexError, TypeError):
        raise ArchiveError(f"{file.path}: the {part}'s optimiser has no parameters") from None


@dataclass(frozen=True)
class _Translator:
    file: SB3File
    layout: Layout
    order: Array | None
    encoders: Mapping[str, str]

    def rename(self, name: str) -> str:
        """Returns the archive name of a tensor of theirs."""
        part, _, rest = name.partition(".")
        ours = None
        if part == "actor":
            ours = self._actor_name(rest)
        elif part in ("critic", "critic_target"):
            ours = self._critic_name(rest)
        if ours is None and rest.startswith("features_extractor."):
            ours = self._encoder_name(rest.removeprefix("features_extractor."))
        if ours is None:
            raise ArchiveError(f"{self.file.path}: tensor {name!r} belongs to a network that has no counterpart here")
        return f"{part}/{ours}"

    def _actor_name(self, rest: str) -> str | None:
        head = self.layout.head
        if rest.startswith("latent_pi.") and (layer := _LAYER.fullmatch(rest.removeprefix("latent_pi."))):
            return f"{head}trunk/{int(layer['index']) // 2}/{layer['kind']}"  # activations count too
        if found := re.fullmatch(r"mu\.(?:0\.)?(weight|bias)", rest):
            return f"{head}mean/{found[1]}"
        if found := re.fullmatch(r"log_std\.(weight|bias)", rest):
            return f"{head}log_std/{found[1]}"
        return "log_std" if rest == "log_std" else None

    def _critic_name(self, rest: str) -> str | None:
        found = re.fullmatch(r"qf(\d+)\.(.+)", rest)
        layer = _LAYER.fullmatch(found[2]) if found else None
        if found is None or layer is None:
            return None
        i = int(layer["index"]) // 2
        place = "value" if i == self.layout.n_critic_layers else f"trunk/{i}"
        return f"{int(found[1])}/{self.layout.head}{place}/{layer['kind']}"

    def _encoder_name(self, rest: str) -> str | None:
        place = "encoder"
        if found := re.fullmatch(r"extractors\.([^.]+)\.(.+)", rest):
            if found[1] not in self.encoders:
                return None
            place, rest = f"encoder/{self.encoders[found[1]]}", found[2]
        if rest.startswith("cnn.") and (layer := _LAYER.fullmatch(rest.removeprefix("cnn."))):
            return f"{place}/convolutions/{int(layer['index']) // 2}/{layer['kind']}"
        if found := re.fullmatch(r"linear\.0\.(weight|bias)", rest):
            return f"{place}/output/{found[1]}"
        return None

    def convert(self, name: str, array: Array) -> Array:
        """Turns a dense layer's weight [out, in] into [in, out]; the first one's rows come into our order."""
        if not name.endswith("weight") or array.ndim != 2:
            return array
        converted = array.T
        if self.order is not None and _FIRST_LAYER.search(self.rename(name)):
            n = len(self.order)
            converted = np.concatenate([converted[:n][self.order], converted[n:]])
        return np.ascontiguousarray(converted)

    def optimizer(self, group: str, names: list[str]) -> Iterator[tuple[str, Array]]:
        """Yields an optimiser's moments and step; theirs are in the order of the parameters."""
        state = self.file.optimizers[group].get("state", {})
        for i, name in enumerate(names):
            yield from self.moments(group, name, state.get(i, {}), self.file.policy[name])
        yield f"optimizer/{group}/step", _step(state)

    def moments(self, group: str, name: str, state: Mapping[str, Any], like: Array) -> Iterator[tuple[str, Array]]:
        """Yields a parameter's two moments: zeros where it never had a gradient."""
        ours = self.rename(name)
        for letter, key in (("m", "exp_avg"), ("v", "exp_avg_sq")):
            yield f"optimizer/{ours}/{letter}", self.convert(name, state.get(key, np.zeros_like(like)))


def _step(state: Mapping[Any, Any]) -> Array:
    steps = [int(np.asarray(entry["step"]).item()) for entry in state.values() if "step" in entry]
    return np.array(max(steps, default=0))


def _temperature_tensors(file: SB3File) -> dict[str, Array]:
    if "log_ent_coef" not in file.variables:
        fixed = file.variables.get("ent_coef_tensor")
        if fixed is None:
            raise ArchiveError(f"{file.path}: holds no temperature, log_ent_coef or ent_coef_tensor")
        return {"alpha/fixed_value": fixed.reshape(())}
    log_value = file.variables["log_ent_coef"].reshape(())
    state = file.optimizers.get("alpha", {}).get("state", {})
    entry = state.get(0, {})
    # Their loss is log α times what ours has α times: its gradients, and the moments of these, are α times theirs.
    alpha = np.exp(log_value)
    zero = np.zeros_like(log_value)
    return {
        "alpha/log_value": log_value,
        "optimizer/alpha/log_value/m": alpha * np.asarray(entry.get("exp_avg", zero)).reshape(()),
        "optimizer/alpha/log_value/v": alpha**2 * np.asarray(entry.get("exp_avg_sq", zero)).reshape(()),
        "optimizer/alpha/step": _step(state),
    }
