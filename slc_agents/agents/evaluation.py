"""An agent's evaluation on record: what came out of how many episodes, for files and for the eye."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from slc_agents.errors import ArchiveError, check_number, check_whole_number
from slc_agents.seeding import make_seed
from slc_agents.training.evaluation import evaluate_policy

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.envs import EnvLike

__all__ = ["episodes_seed", "evaluate_agent", "recorded_evaluation", "score_digits", "score_name", "score_text"]


def episodes_seed(model: Agent[Any], seed: int | None) -> int:
    """Returns the seed of an agent's episodes: the one given, or one that follows from its own."""
    # Tests in training have the epochs from 1 on.
    return make_seed(model.seed, "test", 0) if seed is None else seed


def evaluate_agent(
    model: Agent[Any], env: EnvLike, n_episodes: int, *, seed: int | None = None, deterministic: bool = True
) -> dict[str, Any]:
    """Runs episodes in an environment of their own.

    Args:
        model: The agent.
        env: The environment, its id or its factory.
        n_episodes: Number of episodes.
        seed: Seed of the first reset; None: one that follows from the agent's, and differs from its training's.
        deterministic: Whether the policy's mean action is taken, not a sample.

    Returns:
        What came out, in JSON-able values: `mean, std, episodes, seed, deterministic, returns, lengths`.
    """
    seed = episodes_seed(model, seed)
    returns, lengths = evaluate_policy(
        model,
        env,
        n_episodes,
        deterministic,
        return_episode_rewards=True,
        seed=seed,
        max_ep_len=model.config.max_ep_len,
    )
    return {
        "mean": float(np.mean(returns)),
        "std": float(np.std(returns)),
        "episodes": n_episodes,
        "seed": seed,
        "deterministic": deterministic,
        "returns": [float(value) for value in returns],
        "lengths": [int(value) for value in lengths],
    }


def recorded_evaluation(path: object, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the evaluation that a manifest records (`mean, std, episodes, seed, ...`), or None.

    Args:
        path: The archive, for error messages.
        manifest: Its manifest.

    Raises:
        ArchiveError: If what stands there is no evaluation.
    """
    recorded = manifest.get("evaluation")
    if recorded is None:
        return None
    try:
        numbers = {"mean": check_number("mean", recorded["mean"]), "std": check_number("std", recorded["std"], 0)}
        counts = {
            name: check_whole_number(name, recorded[name], least) for name, least in (("episodes", 1), ("seed", 0))
        }
        return {**recorded, **numbers, **counts}
    except (LookupError, TypeError, ValueError) as error:
        raise ArchiveError(f"{path}: its manifest's evaluation is none: {error}. Use another copy of it") from error


def score_name(opt_type: object) -> str:
    """Returns what an episode's sum of rewards is called: a `return`, or a `cost`, where they are costs."""
    return "cost" if opt_type == "minimize" else "return"


def score_text(evaluation: Mapping[str, Any]) -> str:
    """Says an evaluation's mean and standard deviation: `-150.3 ± 80.2`."""
    digits = score_digits(evaluation["mean"])
    return f"{evaluation['mean']:.{digits}f} ± {evaluation['std']:.{digits}f}"


def score_digits(score: float) -> int:
    """Returns how many digits after the point are shown of a score."""
    return 1 if abs(score) >= 10 else 3
