"""The function of the same name, for code that was written for it."""

from __future__ import annotations

import inspect
from typing import Any

import gymnasium
import numpy as np
import pytest

from slc_agents import LAC, SAC, LACConfig, SACConfig
from slc_agents.compat.slc import lac, sac

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


def make_cost_env() -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.TransformReward(make_env(), lambda reward: -float(reward))


FUNCTIONS: dict[str, Any] = {"sac": (sac, SAC, SACConfig, make_env), "lac": (lac, LAC, LACConfig, make_cost_env)}
OWN = {"n_envs", "policy_kwargs", "start_policy_parts", "compute_kwargs"}
OWN_OF_LAC = {"labda_min", "terminal_cost", "terminal_horizon"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_signature_has_the_agents_names_and_defaults(name: str) -> None:
    function, _, config_class, _ = FUNCTIONS[name]
    parameters = inspect.signature(function).parameters
    assert list(parameters)[:3] == ["env_fn", "actor_critic", "ac_kwargs"]
    config = config_class()
    for field in list(parameters)[3:]:
        assert parameters[field].default == getattr(config, field), field
    ours = set(config.to_dict()) - OWN - (OWN_OF_LAC if name == "lac" else set())
    assert ours == set(parameters) - {"env_fn", "actor_critic", "ac_kwargs"}


def test_the_order_of_lac_s_arguments_is_theirs() -> None:
    given = list(inspect.signature(lac).parameters)
    assert given[given.index("alpha") :][:4] == ["alpha", "alpha3", "labda", "gamma"]
    assert given[given.index("lr_a") :][:8] == [
        *("lr_a", "lr_c", "lr_alpha", "lr_labda", "lr_a_final", "lr_c_final", "lr_alpha_final", "lr_labda_final")
    ]
    assert given[given.index("replay_size") :][:3] == ["replay_size", "horizon_length", "seed"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_trains_what_the_agent_trains(name: str) -> None:
    function, agent, _, make = FUNCTIONS[name]
    ac_kwargs = {"hidden_sizes": {"actor": [8], "critic": [9]}}
    policy, replay_buffer = function(make, ac_kwargs=ac_kwargs, **SHORT)
    model = agent("MlpPolicy", make, policy_kwargs=ac_kwargs, **SHORT).learn()
    assert len(replay_buffer) == 60
    for ours, theirs in zip(policy.parameters(), model.policy.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_defaults_are_the_agents(name: str) -> None:
    function, _, _, make = FUNCTIONS[name]
    policy, _ = function(make, **{**SHORT, "epochs": 1})
    assert [tuple(parameter.shape) for parameter in policy.actor.trunk.parameters()] == [
        *((3, 256), (256,)),
        *((256, 256), (256,)),
    ]
    assert len(next(policy.critic.parameters())) == (2 if name == "sac" else 1)


def test_lac_with_two_critics_and_a_finite_horizon() -> None:
    ac_kwargs = {"hidden_sizes": [8], "n_critics": 2}
    policy, replay_buffer = lac(make_cost_env, ac_kwargs=ac_kwargs, horizon_length=5, alpha3=1.0, **SHORT)
    assert len(next(policy.critic.parameters())) == 2
    assert replay_buffer.horizon_length == 5


def test_a_wrong_logger_keyword_is_said() -> None:
    with pytest.raises(TypeError, match="output_dir"):
        sac(make_env, logger_kwargs={"output_dirs": "x"}, **SHORT)
