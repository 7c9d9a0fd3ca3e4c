"""An agent's evaluation on record."""

from __future__ import annotations

from typing import Any

import pytest

from slc_agents import SAC
from slc_agents.agents.evaluation import (
    episodes_seed,
    evaluate_agent,
    recorded_evaluation,
    score_name,
    score_text,
)
from slc_agents.errors import ArchiveError
from slc_agents.evaluation import evaluate_policy

RECORD = {"mean": -150.25, "std": 3.0, "episodes": 100, "seed": 0, "deterministic": True}


def test_evaluate_agent_is_evaluate_policy_with_all_of_it_written_down() -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=1, max_ep_len=20, policy_kwargs={"hidden_sizes": [8]})
    found = evaluate_agent(model, "Pendulum-v1", 3)
    returns, lengths = evaluate_policy(
        model, "Pendulum-v1", 3, return_episode_rewards=True, seed=episodes_seed(model, None), max_ep_len=20
    )
    assert (found["returns"], found["lengths"]) == (returns, lengths) == (returns, [20, 20, 20])
    assert found["mean"] == pytest.approx(sum(returns) / 3)
    assert (found["episodes"], found["deterministic"], found["seed"]) == (3, True, episodes_seed(model, None))
    assert evaluate_agent(model, "Pendulum-v1", 1, seed=5, deterministic=False)["seed"] == episodes_seed(model, 5) == 5


def test_what_a_manifest_records() -> None:
    assert recorded_evaluation("a.zip", {}) is None
    assert recorded_evaluation("a.zip", {"evaluation": RECORD}) == RECORD


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        [],
        "good",
        {},
        {**RECORD, "mean": "high"},
        {**RECORD, "mean": None},
        {**RECORD, "std": -1.0},
        {**RECORD, "episodes": 0},
        {**RECORD, "seed": 1.5},
        {key: value for key, value in RECORD.items() if key != "std"},
    ],
    ids=repr,
)
def test_a_manifest_may_hold_anything(wrong: Any) -> None:
    with pytest.raises(ArchiveError, match=r"a\.zip: its manifest's evaluation"):
        recorded_evaluation("a.zip", {"evaluation": wrong})


def test_texts() -> None:
    assert score_text(RECORD) == "-150.2 ± 3.0"
    assert score_text({"mean": 0.12345, "std": 1.0}) == "0.123 ± 1.000"
    assert (score_name("minimize"), score_name("maximize")) == ("cost", "return")
