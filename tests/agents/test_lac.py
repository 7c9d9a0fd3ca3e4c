"""LAC as its user holds it: what it does otherwise than SAC. All else is the same code, which is tested with SAC."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

import slc_agents
from slc_agents import LAC, SAC, LACConfig, SACConfig
from slc_agents.agents.files import write_packed_agent
from slc_agents.buffers import FiniteHorizonReplayBuffer
from slc_agents.callbacks import CallbackLike
from slc_agents.envs import make_vector_env
from slc_agents.errors import ArchiveError, ConfigError, NonFiniteError
from slc_agents.persistence import read_archive
from slc_agents.pytorch.export.formats import FORMATS
from tests.support.fingerprint import fingerprint, progress_rows

SMALL: dict[str, Any] = {
    "policy_kwargs": {"hidden_sizes": [8]},
    "steps_per_epoch": 10,
    "update_after": 5,
    "update_every": 5,
    "steps_per_update": 2,
    "batch_size": 4,
    "replay_size": 100,
    "num_test_episodes": 0,
    "seed": 0,
}
COVERED: set[str] = set()


def covers(*names: str) -> Callable[[Any], Any]:
    """Says which hyperparameters, of those that SAC hasn't, a test is about."""
    COVERED.update(names)
    return lambda test: test


class CostEnv(gymnasium.Env[Any, Any]):
    """A point that drifts, and costs its distance; it falls off after `length` steps, where that is given."""

    def __init__(self, space: Any = None, *, length: int | None = 7, shift: float = 0.0) -> None:
        self.observation_space = space or gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.length, self.shift = length, shift
        self.costs: list[float] = []

    def _observe(self) -> Any:
        def fill(box: Any) -> Any:
            return np.full(box.shape, 100 + 20 * self.x if box.dtype == np.uint8 else self.x).astype(box.dtype)

        if isinstance(self.observation_space, gymnasium.spaces.Dict):
            return {key: fill(box) for key, box in self.observation_space.spaces.items()}
        return fill(self.observation_space)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.elapsed = float(self.np_random.uniform(-1.0, 1.0)), 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.elapsed += 1
        self.x = float(np.clip(self.x + 0.1 * action[0] + 0.05 * self.np_random.normal(), -3.0, 3.0))
        self.costs.append(self.x**2 + 0.1 * float(action[0]) ** 2 + self.shift)
        return self._observe(), self.costs[-1], self.length is not None and self.elapsed >= self.length, False, {}

    def get_state(self) -> dict[str, Any]:
        return {"x": self.x, "elapsed": self.elapsed}

    def set_state(self, state: dict[str, Any]) -> None:
        self.x, self.elapsed = state["x"], state["elapsed"]


def make(env: Any = None, policy: Any = "MlpPolicy", **hyperparameters: Any) -> LAC:
    return LAC(policy, CostEnv() if env is None else env, **{**SMALL, **hyperparameters})


def trained(steps: int = 20, env: Any = None, **hyperparameters: Any) -> dict[str, Any]:
    return make(env, **hyperparameters).learn(steps).get_parameters()


def differing(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    assert set(a) == set(b)
    return {k.split("/")[0] for k in a if not k.startswith("optimizer/") and not np.array_equal(a[k], b[k])}


ALL = {"actor", "actor_target", "critic", "critic_target", "alpha", "labda"}


# -- hyperparameters ---------------------------------------------------------------------------------------------------


def test_every_hyperparameter_of_its_own_has_a_test() -> None:
    assert {field.name for field in fields(LACConfig)} - {field.name for field in fields(SACConfig)} == COVERED


@covers("alpha3")
def test_alpha3() -> None:
    assert differing(trained(alpha3=0.0), trained(alpha3=5.0)) >= {"labda"}
    rows = [make(alpha3=alpha3, lr_a=0.0, lr_c=0.0).learn(10).logger.latest for alpha3 in (0.0, 1.0)]
    assert rows[1]["train/delta"] > rows[0]["train/delta"]


@covers("labda", "labda_min")
def test_labda_and_its_bounds() -> None:
    assert make(labda=0.5).get_parameters()["labda/log_value"] == pytest.approx(math.log(0.5))
    fast: dict[str, Any] = {"lr_labda": 0.5, "lr_decay_type": "constant", "labda": 0.5}
    assert trained(alpha3=100.0, **fast)["labda/log_value"] == 0.0
    steep = {**fast, "terminal_cost": "zero"}
    assert trained(40, lambda: CostEnv(length=1), alpha3=0.0, labda_min=0.25, **steep)["labda/log_value"] == np.float32(
        math.log(0.25)
    )


@covers("lr_labda", "lr_labda_final", "lr_labda_decay_type")
def test_learning_rates() -> None:
    rates = {"lr_a": "actor", "lr_c": "critic", "lr_alpha": "alpha", "lr_labda": "labda"}
    for rate, group in rates.items():
        model = make(**{rate: 0.0, f"{rate}_final": 0.0})
        before = model.get_parameters()
        assert differing(before, model.learn(20).get_parameters()) == ALL - {group, f"{group}_target"}
    seen: list[float] = []
    model = make(lr_labda=1e-2, lr_labda_final=1e-4, lr_labda_decay_type="exponential")
    model.learn(30, lambda model: seen.append(model._learner.optimizers["labda"].rate.item()))
    assert seen[::10] == pytest.approx([1e-2, 1e-3, 1e-4])
    assert set(model.schedulers) == set(rates)


@covers("horizon_length")
@pytest.mark.parametrize("horizon", [1, 3])
def test_horizon_length(horizon: int) -> None:
    env = CostEnv()
    model = make(env, horizon_length=horizon).learn(20)
    assert isinstance(model.replay_buffer, FiniteHorizonReplayBuffer)
    costs = np.array(env.costs, np.float32)
    first_episode = model.replay_buffer.gather(range(7)).horizon_return
    padded = [*costs[:7], *[costs[6]] * 3]
    np.testing.assert_allclose(first_episode, [sum(padded[i : i + horizon]) for i in range(7)], rtol=1e-6)
    assert differing(trained(horizon_length=horizon), trained()) >= {"critic", "actor"}


@covers("terminal_cost", "terminal_horizon")
def test_terminal_cost_and_its_horizon() -> None:
    absorbing = {"terminal_cost": "absorbing"}
    for hyperparameters, target, value in (
        ({"gamma": 0.9}, (1.0, 0.9), (0.0, 1.0)),
        ({"gamma": 0.5, "terminal_horizon": 3, **absorbing}, (1.75, 0.0), (1.75, 0.0)),
        ({"gamma": 1.0, "terminal_horizon": 300, **absorbing}, (300.0, 0.0), (300.0, 0.0)),
        ({"terminal_cost": "zero"}, (1.0, 0.0), (0.0, 0.0)),
    ):
        learner: Any = make(**hyperparameters)._learner
        assert (learner.terminal_target, learner.terminal_value) == (target, value), hyperparameters
    assert make(horizon_length=4)._learner.terminal_value == (4.0, 0.0)  # type: ignore[attr-defined]
    base = trained(env=CostEnv(length=2))
    for change in ({"terminal_cost": "zero"}, {"terminal_horizon": 5, **absorbing}):
        assert differing(base, trained(env=CostEnv(length=2), **change)) >= {"critic", "actor", "labda"}
    never = {"gamma": 0.5, "env": CostEnv(length=None)}
    assert differing(trained(**never), trained(terminal_cost="zero", **{**never, "env": CostEnv(length=None)})) == set()


def test_more_environments_than_the_horizon_leaves_room_for_are_refused() -> None:
    model = make(CostEnv, horizon_length=30).learn(20)
    before = model.env
    with pytest.raises(ConfigError, match="120 transitions"):
        model.set_env(make_vector_env(CostEnv, 4))
    assert model.env is before
    model.set_env(make_vector_env(CostEnv, 3))
    assert model.learn(20).replay_buffer.n_envs == 3


# -- costs -------------------------------------------------------------------------------------------------------------


def test_it_remembers_costs_as_they_are() -> None:
    for horizon in (0, 3):
        env = CostEnv()
        model = make(env, horizon_length=horizon).learn(20)
        np.testing.assert_array_equal(model.replay_buffer.state_dict()["reward"], np.array(env.costs, np.float32))
    assert make().is_better(1.0, 2.0)  # less is better


def test_rewards_to_maximise_are_warned_about_once_a_run() -> None:
    model = make(CostEnv(shift=-100.0))
    with pytest.warns(UserWarning, match=r"LAC takes rewards for costs.*at step 1 one is -9\d") as caught:
        model.learn(20)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().learn(20)


def test_maximize_is_refused_with_a_reason() -> None:
    with pytest.raises(ConfigError, match="opt_type='maximize': must be 'minimize': LAC needs a cost"):
        make(opt_type="maximize")


def test_the_log_has_what_lac_adds() -> None:
    row = make().learn(10).logger.latest
    added = {"labda", "labda_loss", "lr_labda", "delta", "lyapunov_value"}
    assert {f"train/{key}" for key in added} <= set(row)
    assert "train/q_value" not in row


# -- policies ----------------------------------------------------------------------------------------------------------

IMAGE = gymnasium.spaces.Box(0, 255, (12, 12, 1), np.uint8)
CNN: dict[str, Any] = {"hidden_sizes": [8], "cnn_layers": [(4, 4, 2)], "cnn_features": 6}
POLICIES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "MlpPolicy": ("MlpPolicy", None, {"hidden_sizes": [8], "normalize_observations": True}),
    "LATC": ("MlpPolicy", None, {"hidden_sizes": [8, 6], "n_critics": 2}),
    "GSDEPolicy": ("GSDEPolicy", None, {"hidden_sizes": [8]}),
    "CnnPolicy": ("CnnPolicy", IMAGE, CNN),
    "CnnPolicy, shared": ("CnnPolicy", IMAGE, {**CNN, "share_encoder": True}),
    "MultiInputPolicy": (
        "MultiInputPolicy",
        gymnasium.spaces.Dict({"eye": IMAGE, "arm": gymnasium.spaces.Box(-5, 5, (2,))}),
        CNN,
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_trains_saves_loads_and_exports(name: str, tmp_path: Path) -> None:
    policy, space, kwargs = POLICIES[name]
    model = make(CostEnv(space), policy, policy_kwargs=kwargs)
    before = model.get_parameters()
    model.learn(20)
    after = model.get_parameters()
    assert differing(before, after) >= ALL
    model.save(tmp_path / "x")
    loaded = slc_agents.load(tmp_path / "x")
    assert type(loaded) is LAC
    for tensor, array in loaded.get_parameters().items():
        np.testing.assert_array_equal(array, after[tensor], err_msg=tensor)
    observation = model.observation_space.sample()
    action = model.predict(observation, deterministic=True)[0]
    np.testing.assert_array_equal(loaded.predict(observation, deterministic=True)[0], action)
    model.export(tmp_path / "policy.pt")
    batch = {k: v[None] for k, v in observation.items()} if isinstance(observation, dict) else observation[None]
    tensors = {k: torch.from_numpy(v).float() for k, v in batch.items()} if isinstance(batch, dict) else None
    exported = FORMATS["torchscript"].load(tmp_path / "policy.pt")
    found = exported(torch.from_numpy(batch).float() if tensors is None else tensors)
    np.testing.assert_allclose(found[0].numpy(), action, atol=1e-5)


# -- other agents ------------------------------------------------------------------------------------------------------


def test_start_policy_takes_networks_with_the_target_policy() -> None:
    teacher = make(seed=3).learn(20)
    model = make(start_policy=teacher)
    assert differing(model.get_parameters(), teacher.get_parameters()) == {"alpha", "labda"}
    both = make(start_policy=teacher, start_policy_parts=("networks", "temperature"))
    assert differing(both.get_parameters(), teacher.get_parameters()) == set()


def test_start_policy_of_sac_says_what_does_not_fit() -> None:
    teacher = SAC("MlpPolicy", CostEnv(), **SMALL)
    with pytest.raises(ValueError, match=r"doesn't fit this agent: tensor 'actor_target/trunk/0/weight' is missing"):
        make(start_policy=teacher)
    one_critic = {**SMALL, "policy_kwargs": {"hidden_sizes": [8], "n_critics": 1}}
    with pytest.raises(ValueError, match=r"doesn't fit this agent: tensor 'critic/0/value/weight' is missing"):
        SAC("MlpPolicy", CostEnv(), **one_critic, start_policy=make())


def test_one_agent_s_file_is_not_another_s(tmp_path: Path) -> None:
    make().save(tmp_path / "x")
    with pytest.raises(ArchiveError, match=r"holds an agent of class 'LAC'; .*slc_agents.load"):
        SAC.load(tmp_path / "x")


def test_packed_it_has_no_target_networks_which_start_as_copies(tmp_path: Path) -> None:
    model = make().learn(20)
    was = model.get_parameters()
    assert (was["actor_target/mean/weight"] != was["actor/mean/weight"]).any()
    write_packed_agent(model, tmp_path / "x.zip", {})
    with read_archive(tmp_path / "x.zip") as archive:
        assert not [name for name in archive.tensors() if "_target/" in name]
    has = LAC.load(tmp_path / "x.zip").get_parameters()
    assert differing(has, was) == {"actor_target", "critic_target"}
    for name in (name for name in has if "_target/" in name):
        np.testing.assert_array_equal(has[name], was[name.replace("_target", "")], err_msg=name)


@pytest.mark.parametrize("n_critics", [1, 2])
def test_its_lyapunov_function_can_be_asked_also_of_a_packed_agent(tmp_path: Path, n_critics: int) -> None:
    model = make(policy_kwargs={"hidden_sizes": [8, 4], "n_critics": n_critics}).learn(20)
    write_packed_agent(model, tmp_path / "x.zip", {})
    rng, weights = np.random.default_rng(0), model.get_parameters()
    observation, action = rng.normal(size=(5, 2)).astype(np.float32), rng.uniform(-2, 2, (5, 1)).astype(np.float32)
    values = []
    for i in range(n_critics):
        f = np.concatenate([observation, action / 2], axis=1)
        for layer in (0, 1):
            f = np.maximum(
                f @ weights[f"critic/{i}/trunk/{layer}/weight"] + weights[f"critic/{i}/trunk/{layer}/bias"], 0
            )
        values.append((f**2).sum(axis=1))
    for agent in (model, LAC.load(tmp_path / "x.zip")):
        found = agent.lyapunov_value(observation, action)
        np.testing.assert_allclose(found, np.max(values, axis=0), rtol=1e-5)
        assert agent.lyapunov_value(observation[3], action[3]) == pytest.approx(found[3], rel=1e-5)


def test_what_its_lyapunov_function_is_asked_must_fit() -> None:
    model = make()
    observation, action = np.zeros((3, 2)), np.zeros((3, 1))
    for one, other in ((observation, action[:2]), (observation[0], action), (observation, action[0])):
        with pytest.raises(ValueError, match=r"action: received the shape .*; for .* is needed"):
            model.lyapunov_value(one, other)
    with pytest.raises(NonFiniteError, match="action: it is not finite"):
        model.lyapunov_value(observation, action * np.nan)
    with pytest.raises(NonFiniteError, match="observation 0 of the batch"):
        model.lyapunov_value(observation * np.nan, action)
    assert not hasattr(SAC, "lyapunov_value")


def test_overrides_start_a_multiplier_afresh(tmp_path: Path) -> None:
    make(labda=0.5).learn(20).save(tmp_path / "x")
    saved, kept = slc_agents.load(tmp_path / "x").get_parameters(), LAC.load(tmp_path / "x", alpha3=1.0)
    assert kept.get_parameters()["labda/log_value"] == saved["labda/log_value"] != np.float32(math.log(0.5))
    fresh = LAC.load(tmp_path / "x", labda=0.25).get_parameters()
    assert fresh["labda/log_value"] == np.float32(math.log(0.25))
    assert fresh["optimizer/labda/step"] == 0
    assert fresh["alpha/log_value"] == saved["alpha/log_value"]


# -- resuming ----------------------------------------------------------------------------------------------------------


def stop_at(step: int) -> Callable[[Any], bool]:
    return lambda model: model.num_timesteps < step


@pytest.mark.parametrize(
    ("changes", "n_envs", "stop"),
    [
        ({}, 1, 77),
        ({"horizon_length": 5}, 1, 12),
        ({"horizon_length": 4, "replay_size": 33}, 2, 77),
        ({"policy_kwargs": {"hidden_sizes": [8], "n_critics": 2, "normalize_observations": True}}, 2, 12),
    ],
    ids=["infinite", "finite", "finite, several, a ring that goes round", "two critics"],
)
def test_resumes_exactly(tmp_path: Path, changes: dict[str, Any], n_envs: int, stop: int) -> None:
    def run(folder: str, callbacks: list[CallbackLike]) -> LAC:
        lengths = itertools.count(6)  # one terminates, another is truncated
        env = make_vector_env([lambda: CostEnv(length=next(lengths)) for _ in range(n_envs)])
        settings = {"steps_per_epoch": 30, "max_ep_len": 7, "update_after": 2, **changes}
        return make(env, **settings, logger_kwargs={"output_dir": tmp_path / folder}).learn(120, callbacks)

    whole = run("whole", [])
    run("parts", [stop_at(stop)]).save(tmp_path / "x", replay_buffer=True)
    lengths = itertools.count(6)
    resumed = LAC.load(
        tmp_path / "x", make_vector_env([lambda: CostEnv(length=next(lengths)) for _ in range(n_envs)])
    ).resume()
    expected, found = fingerprint(whole), fingerprint(resumed)
    expected.pop("callbacks"), found.pop("callbacks")
    assert found == expected
    assert progress_rows(tmp_path / "parts" / "progress.csv") == progress_rows(tmp_path / "whole" / "progress.csv")
    if changes.get("horizon_length"):
        assert isinstance(resumed.replay_buffer, FiniteHorizonReplayBuffer)
        np.testing.assert_array_equal(resumed.replay_buffer._open_slots(), whole.replay_buffer._open_slots())  # type: ignore[attr-defined]


def test_blocks_wait_for_the_first_finished_window() -> None:
    model = make(CostEnv(length=None), horizon_length=12, update_after=5, update_every=5, steps_per_update=2)
    seen: list[tuple[int, int]] = []
    model.learn(20, lambda model: seen.append((model.num_timesteps, model.n_updates)))
    # Due after 5, 10, 15 and 20 steps; the first window is finished after 12.
    assert seen == [(t, 0 if t < 12 else 4 if t < 15 else 6 if t < 20 else 8) for t in range(1, 21)]


def test_a_saved_buffer_serves_another_horizon(tmp_path: Path) -> None:
    env = CostEnv()
    make(env).learn(20).save(tmp_path / "x", replay_buffer=True)
    loaded = LAC.load(tmp_path / "x", horizon_length=3)
    costs = np.array(env.costs, np.float32)
    np.testing.assert_allclose(loaded.replay_buffer.gather([0]).horizon_return, [costs[:3].sum()], rtol=1e-6)
