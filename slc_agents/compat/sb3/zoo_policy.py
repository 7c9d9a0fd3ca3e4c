"""The policy that settings of RL Baselines3 Zoo describe, as ours: networks, activations, noise, normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from slc_agents.compat.sb3.normalization import CLIP, EPSILON
from slc_agents.compat.sb3.python_values import TorchName
from slc_agents.compat.sb3.zoo_file import ZooEntry
from slc_agents.errors import check_flag, check_number, check_whole_number

__all__ = ["policy_name", "translate_policy_kwargs"]

POLICIES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
COMBINED_FEATURES = 256  # of an image in their CombinedExtractor, unless cnn_output_dim says another number
# Keywords of VecNormalize that are about rewards alone.
_OF_REWARDS = ("norm_reward", "clip_reward", "gamma")


def policy_name(entry: ZooEntry) -> str:
    """Returns which policy of ours it is.

    Raises:
        ConfigError: If there is none for it.
    """
    name = entry.value("policy")
    if name not in POLICIES:
        is_class = isinstance(name, str) and "." in name
        more = ". A class of its author's would have to be run" if is_class else ""
        raise entry.refusal("policy", f"allowed are {', '.join(POLICIES)}{more}")
    if not entry.flag("use_sde"):
        return str(name)
    if name != "MlpPolicy":
        raise entry.refusal(
            "use_sde", f"with policy: {name}: GSDEPolicy has no encoder of images; it is for what MlpPolicy takes"
        )
    return "GSDEPolicy"


def translate_policy_kwargs(entry: ZooEntry, policy: str) -> dict[str, Any]:
    """Translates `policy_kwargs` and `normalize`.

    Args:
        entry: The settings.
        policy: What `policy_name` says.

    Returns:
        Our `policy_kwargs`, but for `noise_steps`.

    Raises:
        ConfigError: If something has no counterpart.
    """
    given = _mapping(entry, "policy_kwargs")
    kwargs: dict[str, Any] = {"cnn_features": COMBINED_FEATURES} if policy == "MultiInputPolicy" else {}
    for name, value in given.items():
        translate = _KEYWORDS.get(name)
        try:
            if translate is None:
                raise ValueError(f"there is no such keyword; known are {', '.join(_KEYWORDS)}")
            kwargs |= translate(value, policy)
        except (TypeError, ValueError) as error:
            problem = str(error).removeprefix(f"{name}={value!r}: ")
            raise entry.refusal("policy_kwargs", f"{name}={value!r:.60}: {problem}") from None
    return kwargs | _normalization(entry)


def _mapping(entry: ZooEntry, key: str) -> Mapping[str, Any]:
    found = entry.python(key)
    if found is not None and not isinstance(found, Mapping):
        raise entry.refusal(key, 'a mapping is needed, such as "dict(...)"')
    return found or {}


def _net_arch(value: Any, policy: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {"hidden_sizes": _sizes(value)}
    if set(value) != {"pi", "qf"}:
        raise ValueError("a list of widths, or dict(pi=[...], qf=[...]), is needed")
    return {"hidden_sizes": {"actor": _sizes(value["pi"]), "critic": _sizes(value["qf"])}}


def _sizes(value: Any) -> list[int]:
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError("lists of at least one width are needed; there are no networks without a hidden layer here")
    return [check_whole_number("a width", size) for size in value]


def _activation(value: Any, policy: str) -> dict[str, Any]:
    from slc_agents.pytorch.networks import find_activation  # the backend is imported when it is first used

    if not isinstance(value, TorchName) or "nn" not in value.path.split(".")[:2]:
        raise ValueError("an activation of torch.nn is needed, such as nn.Tanh")
    name = find_activation(value.last, "activation_fn").__name__
    # Theirs follows every hidden layer of the actor, the last one too.
    return {"activation": name, "output_activation": {"actor": name}}


def _n_critics(value: Any, policy: str) -> dict[str, Any]:
    return {"n_critics": check_whole_number("n_critics", value)}


def _log_std_init(value: Any, policy: str) -> dict[str, Any]:
    checked = check_number("log_std_init", value)
    return {"log_std_init": checked} if policy == "GSDEPolicy" else {}


def _use_expln(value: Any, policy: str) -> dict[str, Any]:
    checked = check_flag("use_expln", value)
    return {"use_expln": checked} if policy == "GSDEPolicy" else {}


def _clip_mean(value: Any, policy: str) -> dict[str, Any]:
    checked = check_number("clip_mean", value)
    return {"clip_mean": checked if checked > 0 else None} if policy == "GSDEPolicy" else {}


def _features_extractor_kwargs(value: Any, policy: str) -> dict[str, Any]:
    known = {"CnnPolicy": "features_dim", "MultiInputPolicy": "cnn_output_dim"}.get(policy)
    if not value:
        return {}
    if not isinstance(value, Mapping) or set(value) != {known}:
        raise ValueError("features_dim of CnnPolicy and cnn_output_dim of MultiInputPolicy can be given here")
    return {"cnn_features": check_whole_number(str(known), value[known])}


def _share_features_extractor(value: Any, policy: str) -> dict[str, Any]:
    if check_flag("share_features_extractor", value) and policy in ("CnnPolicy", "MultiInputPolicy"):
        raise ValueError("there the actor's loss trains the shared encoder, here (share_encoder) the critics' does")
    return {}


def _normalize_images(value: Any, policy: str) -> dict[str, Any]:
    if not check_flag("normalize_images", value) and policy in ("CnnPolicy", "MultiInputPolicy"):
        raise ValueError("here images are always divided by 255")
    return {}


def _optimizer_class(value: Any, policy: str) -> dict[str, Any]:
    if not isinstance(value, TorchName) or value.path.partition(".")[2] != "optim.Adam":
        raise ValueError("here every optimiser is Adam")
    return {}


def _optimizer_kwargs(value: Any, policy: str) -> dict[str, Any]:
    if value:
        raise ValueError("here every optimiser is Adam with its usual settings")
    return {}


def _features_extractor_class(value: Any, policy: str) -> dict[str, Any]:
    if value is not None:
        raise ValueError("encoders are the policies' own here, or yours: policy_kwargs={'encoder': ...}")
    return {}


# What each keyword of theirs becomes, for a policy of ours; errors are without the keyword's name.
_KEYWORDS: Mapping[str, Callable[[Any, str], dict[str, Any]]] = {
    "net_arch": _net_arch,
    "activation_fn": _activation,
    "n_critics": _n_critics,
    "log_std_init": _log_std_init,
    "use_expln": _use_expln,
    "clip_mean": _clip_mean,
    "features_extractor_class": _features_extractor_class,
    "features_extractor_kwargs": _features_extractor_kwargs,
    "share_features_extractor": _share_features_extractor,
    "normalize_images": _normalize_images,
    "optimizer_class": _optimizer_class,
    "optimizer_kwargs": _optimizer_kwargs,
}


def _normalization(entry: ZooEntry) -> dict[str, Any]:
    """Translates `normalize`: True, False, or VecNormalize's keywords."""
    found = entry.python("normalize")
    kwargs = {} if isinstance(found, bool) else _mapping(entry, "normalize")
    if found is False:
        return {}
    if kwargs.get("norm_reward", True) is not False:
        raise entry.refusal(
            "normalize",
            "rewards are not normalised here. Write {norm_obs: True, norm_reward: False}; or give make(env=...) an "
            "environment in gymnasium.wrappers.NormalizeReward, and leave the key out: ignore=['normalize'] with "
            "policy_kwargs={'normalize_observations': True, ...}",
        )
    fixed = {"training": True, "clip_obs": CLIP, "epsilon": EPSILON, "norm_obs_keys": None}
    for name, value in kwargs.items():
        if name in fixed and value != fixed[name]:
            raise entry.refusal("normalize", f"{name}={value!r:.60}: here it is {fixed[name]}")
        if name not in (*fixed, *_OF_REWARDS, "norm_obs"):
            raise entry.refusal("normalize", f"{name}={value!r:.60}: VecNormalize has no such keyword")
    normalizes = kwargs.get("norm_obs", True)
    if not isinstance(normalizes, bool):
        raise entry.refusal("normalize", f"norm_obs={normalizes!r:.60}: True or False is needed")
    return {"normalize_observations": True} if normalizes else {}
