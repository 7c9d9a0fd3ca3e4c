"""The function of the same name, for code that was written for it."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents import SAC, SACConfig
from slc_agents.compat.slc import sac

SHORT: dict[str, Any] = {
    "epochs": 2,
    "steps_per_epoch": 30,
    "update_after": 10,
    "update_every": 10,
    "steps_per_update": 2,
    "batch_size": 8,
    "replay_size": 500,
    "num_test_episodes": 0,
    "seed": 3,
}


def make_env() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("Pendulum-v1")


def test_the_signature_has_the_agents_names_and_defaults() -> None:
    parameters = inspect.signature(sac).parameters
    assert list(parameters)[:3] == ["env_fn", "actor_critic", "ac_kwargs"]
    config = SACConfig()
    for name in list(parameters)[3:]:
        assert parameters[name].default == getattr(config, name), name
    ours = set(config.to_dict()) - {"n_envs", "policy_kwargs", "start_policy_parts", "compute_kwargs"}
    assert ours == set(parameters) - {"env_fn", "actor_critic", "ac_kwargs"}


def test_it_trains_what_the_agent_trains() -> None:
    ac_kwargs = {"hidden_sizes": {"actor": [8], "critic": [9]}}
    policy, replay_buffer = sac(make_env, ac_kwargs=ac_kwargs, **SHORT)
    model = SAC("MlpPolicy", make_env, policy_kwargs=ac_kwargs, **SHORT).learn()
    assert len(replay_buffer) == 60
    for ours, theirs in zip(policy.parameters(), model.policy.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())


def test_its_defaults_are_the_agents() -> None:
    policy, _ = sac(make_env, **{**SHORT, "epochs": 1})
    assert [tuple(parameter.shape) for parameter in policy.actor.trunk.parameters()] == [
        *((3, 256), (256,)),
        *((256, 256), (256,)),
    ]


def test_a_wrong_logger_keyword_is_said() -> None:
    with pytest.raises(TypeError, match="output_dir"):
        sac(make_env, logger_kwargs={"output_dirs": "x"}, **SHORT)
