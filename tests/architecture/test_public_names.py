"""The names that users rely on are there."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

import gymnasium
import numpy as np
import pytest

import slc_agents
from slc_agents import SAC
from tests.support.backends import HAS_TENSORFLOW

PUBLIC = {
    "slc_agents": ["LAC", "LACConfig", "SAC", "SACConfig", "load"],
    "slc_agents.schedulers": ["ConstantScheduler", "LinearScheduler", "ExponentialScheduler"],
    "slc_agents.buffers": ["FiniteHorizonReplayBuffer", "ReplayBuffer"],
    "slc_agents.callbacks": [
        "Callback",
        "CallbackList",
        "EvalCallback",
        "CheckpointCallback",
        "StopTrainingOnRewardThreshold",
        "StopTrainingOnMaxEpisodes",
        "StopTrainingOnNoModelImprovement",
        "EveryNTimesteps",
        "ProgressBarCallback",
        "ExportCallback",
        "VideoCallback",
    ],
    "slc_agents.policies": ["MlpPolicy"],
    "slc_agents.evaluation": [
        *("evaluate_policy", "evaluate_robustness", "measure_stability", "named_disturbance"),
        *("DisturbanceFamily", "RobustnessResult", "StabilityResult"),
    ],
    "slc_agents.envs": ["check_env", "make_vector_env", "record_video"],
    "slc_agents.envs.disturbances": [
        "ActionBias",
        "ActionDelay",
        "ActionImpulse",
        "ActionNoise",
        "MujocoChange",
        "ObservationBias",
        "ObservationDelay",
        "ObservationNoise",
        "ParameterChange",
    ],
    "slc_agents.zoo": [
        *("load_config", "list_configs", "list_agents", "make", "load_agent", "agent_manifest"),
        *("pack_agent", "push_to_hub", "load_from_hub"),
    ],
    "slc_agents.tuning": ["Tuner", "TuningResult", "SearchSpace", "Task"],
    "slc_agents.compat": [],
    "slc_agents.tf2": ["LAC", "SAC"],
    "slc_agents.errors": ["SlcAgentsError", "ConfigError", "ArchiveError", "UnsupportedSpaceError", "NonFiniteError"],
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC.items() for name in ["__doc__", *names]]
)
def test_public_names_exist_and_are_documented(module: str, name: str) -> None:
    found = getattr(importlib.import_module(module), name)
    assert found
    if name != "__doc__":
        assert name in importlib.import_module(module).__all__
        assert inspect.getdoc(found)


def test_every_module_says_what_it_exports() -> None:
    for info in pkgutil.walk_packages(slc_agents.__path__, "slc_agents."):
        if info.name.endswith("__main__") or (info.name.startswith("slc_agents.tf2.") and not HAS_TENSORFLOW):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{info.name}.{name}"


HOOKS = [
    "on_training_start",
    "on_rollout_start",
    "on_step",
    "on_rollout_end",
    "on_episode_end",
    "on_epoch_end",
    "on_training_end",
]


def test_callback_hooks_and_attributes() -> None:
    from slc_agents.callbacks import Callback

    for name in [*HOOKS, "model", "num_timesteps", "logger"]:
        assert hasattr(Callback, name)


def parameters(function: Any) -> dict[str, Any]:
    return {
        name: parameter.default for name, parameter in inspect.signature(function).parameters.items() if name != "self"
    }


def test_signatures_of_the_contract() -> None:
    from slc_agents.buffers import ReplayBuffer
    from slc_agents.evaluation import evaluate_policy

    assert parameters(SAC.learn) == {
        "total_timesteps": None,
        "callback": None,
        "log_interval": 1,
        "progress_bar": False,
        "reset_num_timesteps": True,
    }
    assert parameters(SAC.resume) == {"callback": None, "progress_bar": False}
    predict = parameters(SAC.predict)
    assert list(predict) == ["observation", "state", "episode_start", "deterministic"]
    assert predict["deterministic"] is False
    assert list(parameters(SAC.save)) == ["path", "replay_buffer", "progress_bar"]
    load = parameters(SAC.load)
    assert list(load) == ["path", "env", "device", "trust", "eval_env", "verbose", "progress_bar", "overrides"]
    assert (load["env"], load["device"], load["trust"]) == (None, None, False)
    assert next(iter(parameters(SAC.evaluate))) == "n_episodes"
    assert list(parameters(SAC.export)) == ["path", "format"]
    assert list(parameters(ReplayBuffer))[:4] == ["capacity", "observation_space", "action_space", "n_envs"]
    add = ["observation", "action", "reward", "next_observation", "terminated", "truncated"]
    assert list(parameters(ReplayBuffer.add))[:6] == add
    evaluate = parameters(evaluate_policy)
    assert list(evaluate)[:5] == ["model", "env", "n_eval_episodes", "deterministic", "return_episode_rewards"]
    assert (evaluate["n_eval_episodes"], evaluate["deterministic"]) == (10, True)


def test_attributes_of_an_agent() -> None:
    from torch import nn

    model = SAC("MlpPolicy", "Pendulum-v1", seed=4, policy_kwargs={"hidden_sizes": [4]})
    for name in (
        "replay_buffer",
        "schedulers",
        "callbacks",
        "logger",
        "config",
        "observation_space",
        "action_space",
        "env",
        "device",
    ):
        assert getattr(model, name) is not None, name
    assert (model.num_timesteps, model.n_updates, model.num_episodes, model.seed) == (0, 0, 0, 4)
    assert isinstance(model.policy, nn.Module)
    for part in ("actor", "critic", "critic_target", "normalizer"):
        assert isinstance(getattr(model.policy, part), nn.Module), part
    assert set(model.schedulers) == {"lr_a", "lr_c", "lr_alpha"}


def test_parts_are_usable_alone() -> None:
    from slc_agents.buffers import ReplayBuffer
    from slc_agents.schedulers import LinearScheduler

    box = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    buffer = ReplayBuffer(10, box, box)
    buffer.add(np.ones((1, 2)), np.zeros((1, 2)), np.ones(1), np.ones((1, 2)), np.zeros(1, bool), np.zeros(1, bool))
    assert buffer.sample(3).reward.tolist() == [1, 1, 1]
    assert [LinearScheduler(1.0, 0.0)(p) for p in (0, 0.25, 1)] == [1.0, 0.75, 0.0]


def test_unknown_public_names_are_attribute_errors() -> None:
    for module in ("slc_agents", "slc_agents.policies"):
        with pytest.raises(AttributeError, match="no attribute 'Sac'"):
            importlib.import_module(module).Sac  # noqa: B018
    assert {"LAC", "LACConfig", "SAC", "SACConfig", "load", "__version__"} <= set(dir(slc_agents))
