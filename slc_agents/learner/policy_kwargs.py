"""The keywords of a policy: their defaults and their checks, the same for each backend."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from gymnasium import spaces

from slc_agents.errors import check_whole_number, reject_unknown_keywords

__all__ = [
    "DEFAULT_ACTIVATION",
    "DEFAULT_HIDDEN_SIZES",
    "DEFAULT_OUTPUT_ACTIVATION",
    "GSDE_EPSILON",
    "LOG_STD_MAX",
    "LOG_STD_MIN",
    "LYAPUNOV_OUTPUT_ACTIVATION",
    "NORMALIZER_CLIP",
    "NORMALIZER_EPSILON",
    "check_gsde",
    "check_normalize",
    "check_parts",
    "check_sizes",
    "input_scale",
    "keywords",
    "per_net",
]

CheckedT = TypeVar("CheckedT")

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
GSDE_EPSILON = 1e-6  # added to the variance of state-dependent noise
NORMALIZER_EPSILON = 1e-8  # added to the variance of observations
NORMALIZER_CLIP = 10.0  # standard deviations
DEFAULT_HIDDEN_SIZES = {"actor": (256, 256), "critic": (256, 256)}
DEFAULT_ACTIVATION = {"actor": "ReLU", "critic": "ReLU"}
DEFAULT_OUTPUT_ACTIVATION = {"actor": "ReLU", "critic": "Identity"}
# Of a Lyapunov function each layer has the activation, and its output is always the sum of their squares.
LYAPUNOV_OUTPUT_ACTIVATION = {"actor": "ReLU"}
ENCODER_KEYWORDS = ("cnn_layers", "cnn_features", "channels", "share_encoder", "encoder", "encoder_kwargs")
PARTS = (
    "observation_space",
    "action_space",
    "normalizer",
    "actor",
    "critic",
    "critic_target",
    "features",
    "observe",
)

_OF_ENCODERS = "of CnnPolicy and MultiInputPolicy"
_ABSENT = {
    **dict.fromkeys(("optimizer_class", "optimizer_kwargs"), "each optimiser is Adam, with its default settings"),
    "normalize_images": "uint8 images are always divided by 255",
}
FOREIGN_NAMES = {
    "net_arch": "here it is hidden_sizes",
    "activation_fn": "here it is activation",
    "ac_kwargs": "here it is policy_kwargs itself",
    "features_extractor_class": f"here it is encoder, {_OF_ENCODERS}",
    "features_extractor_kwargs": f"here it is encoder_kwargs, {_OF_ENCODERS}",
    "share_features_extractor": f"here it is share_encoder, {_OF_ENCODERS}",
    **dict.fromkeys(ENCODER_KEYWORDS, f"it is a keyword {_OF_ENCODERS}"),
    "use_sde": "here it is policy='GSDEPolicy'",
    **dict.fromkeys(("use_expln", "log_std_init", "clip_mean", "noise_steps"), "it is a keyword of GSDEPolicy"),
    "sde_sample_freq": "here it is noise_steps, of GSDEPolicy",
    "lyapunov": "the agent says it: LAC's critics are Lyapunov functions, SAC's aren't. Leave it out",
    **{name: f"there is no such thing here ({reason}): leave it out" for name, reason in _ABSENT.items()},
}


def keywords(
    policy_class: type, given: dict[str, Any], *, lyapunov: bool, passes_keywords_on: bool = False
) -> dict[str, Any]:
    """Returns the keywords to make a policy with: those given, checked, and those that LAC adds to them.

    Args:
        policy_class: The class.
        given: What the user gave as `policy_kwargs`.
        lyapunov: Whether it is for LAC.
        passes_keywords_on: Whether a class that takes any keyword hands them to one of the package's own.

    Raises:
        TypeError: If the class doesn't take a keyword.
    """
    parameters = inspect.signature(policy_class).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if not takes_any or "lyapunov" in given:
        allowed = [name for name in parameters if name not in ("observation_space", "action_space", "lyapunov")]
        reject_unknown_keywords(given, allowed, f"policy_kwargs of {policy_class.__name__}", FOREIGN_NAMES)
    if not lyapunov:
        return given
    passes_on = takes_any and passes_keywords_on
    own = {"n_critics": 1, "lyapunov": True}
    return {name: value for name, value in own.items() if name in parameters or passes_on} | given


def check_parts(policy: Any, *, lyapunov: bool, base: type, home: str) -> None:
    """Raises a `TypeError` that names the parts which a policy lacks.

    Args:
        policy: The policy.
        lyapunov: Whether it is for LAC, and so needs a slow copy of its actor.
        base: The class that has them all.
        home: The module in which users find it.
    """
    parts = (*PARTS, "actor_target") if lyapunov else PARTS
    missing = [part for part in parts if not hasattr(policy, part)]
    if hasattr(policy, "actor") and not hasattr(policy.actor, "mean_action"):
        missing.append("actor.mean_action")
    if missing:
        raise TypeError(
            f"policy {type(policy).__name__} lacks {', '.join(missing)}; a policy needs {', '.join(parts)}. "
            f"Subclass {home}.{base.__name__} to have them"
            + (", and pass its keyword `lyapunov` on" if lyapunov and isinstance(policy, base) else "")
        )


def per_net(
    value: Any, defaults: Mapping[str, Any], name: str, check: Callable[[Any, str], CheckedT]
) -> dict[str, CheckedT]:
    """Returns what each net has, checked: the value for both, or each its own."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(defaults, check(value, f"policy_kwargs: {name}"))
    unknown = set(value) - set(defaults)
    if unknown:
        raise ValueError(
            f"policy_kwargs: {name} has the keys {sorted(map(str, unknown))}; allowed are {sorted(defaults)}"
        )
    return {net: check(one, f"policy_kwargs: {name}[{net!r}]") for net, one in {**defaults, **value}.items()}


def check_sizes(sizes: Sequence[int], name: str) -> tuple[int, ...]:
    """Returns the widths of hidden layers.

    Raises:
        ValueError: If they are no list of at least one positive whole number.
    """
    try:
        checked = tuple(map(operator.index, sizes))
        valid = (
            len(checked) > 0 and all(size > 0 for size in checked) and not any(isinstance(size, bool) for size in sizes)
        )
    except TypeError:
        valid = False
    if not valid:
        raise ValueError(
            f"{name}={sizes!r}; a list of at least one positive width, a whole number, is needed, such as [256, 256]"
        )
    return checked


def check_normalize(value: Any) -> bool:
    """Returns whether observations are normalised; raises a `ValueError` unless that is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"policy_kwargs: normalize_observations={value!r}; True or False is needed")
    return bool(value)


def check_gsde(clip_mean: Any, use_expln: Any, log_std_init: Any, noise_steps: Any) -> dict[str, Any]:
    """Returns the keywords of state-dependent noise by their names, checked.

    Raises:
        ValueError: If one is out of range.
    """
    if not isinstance(use_expln, (bool, np.bool_)):
        raise ValueError(f"policy_kwargs: use_expln={use_expln!r}; True or False is needed")
    if not _is_finite_number(log_std_init):
        raise ValueError(f"policy_kwargs: log_std_init={log_std_init!r}; a finite number is needed")
    if clip_mean is not None and not (_is_finite_number(clip_mean) and clip_mean > 0):
        raise ValueError(f"policy_kwargs: clip_mean={clip_mean!r}; a number > 0 or None is needed")
    return {
        "clip_mean": clip_mean,
        "use_expln": bool(use_expln),
        "log_std_init": float(log_std_init),
        "noise_steps": check_whole_number("policy_kwargs: noise_steps", noise_steps),
    }


def _is_finite_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float, np.number)) and math.isfinite(value)


def input_scale(box: spaces.Box) -> float:
    """Returns what the values of a box are divided by before the networks see them."""
    return 255.0 if box.dtype == np.uint8 else 1.0
