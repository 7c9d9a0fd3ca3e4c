"""Every hyperparameter acts: for each there is a test here that would fail if SAC ignored it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from slc_agents import SAC, SACConfig
from slc_agents.callbacks import Callback
from slc_agents.callbacks.saving import AGENT_FILE, EXPORT_FILE
from slc_agents.logger import read_progress
from slc_agents.persistence import read_archive
from slc_agents.schedulers import LinearScheduler
from slc_agents.seeding import make_generator

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

# The signature of the seed's page, without what is the agent's env, policy and policy_kwargs.
SEED_SIGNATURE: dict[str, Any] = {
    "opt_type": "maximize",
    "max_ep_len": None,
    "epochs": 100,
    "steps_per_epoch": 2048,
    "start_steps": 0,
    "update_every": 100,
    "update_after": 1000,
    "steps_per_update": 100,
    "num_test_episodes": 10,
    "alpha": 0.99,
    "gamma": 0.99,
    "polyak": 0.995,
    "target_entropy": None,
    "adaptive_temperature": True,
    "lr_a": 0.0001,
    "lr_c": 0.0003,
    "lr_alpha": 0.0001,
    "lr_a_final": 1e-10,
    "lr_c_final": 1e-10,
    "lr_alpha_final": 1e-10,
    "lr_decay_type": "linear",
    "lr_a_decay_type": None,
    "lr_c_decay_type": None,
    "lr_alpha_decay_type": None,
    "lr_decay_ref": "epoch",
    "batch_size": 256,
    "replay_size": 1000000,
    "seed": None,
    "device": "cpu",
    "logger_kwargs": {},
    "save_freq": 1,
    "start_policy": None,
    "export": False,
}

COVERED: set[str] = set()


def covers(*names: str) -> Callable[[Any], Any]:
    """Says which hyperparameters a test is about."""
    COVERED.update(names)
    return lambda test: test


class CostEnv(gymnasium.Env[Any, Any]):
    """Random observations and costs; remembers what happened. `sign` turns the costs into rewards."""

    def __init__(self, *, sign: float = 1.0, length: int | None = 7) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
        self.sign, self.length, self.elapsed = sign, length, 0
        self.actions: list[float] = []
        self.seeds: list[int | None] = []
        self.episodes = 0

    def _observe(self) -> Any:
        return self.np_random.normal(3.0, 2.0, 2).astype(np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.elapsed = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.elapsed += 1
        self.actions.append(float(action[0]))
        cost = float(self.np_random.uniform(0.0, 1.0) + action[0] ** 2)
        terminated = self.length is not None and self.elapsed >= self.length
        self.episodes += terminated
        return self._observe(), self.sign * cost, terminated, False, {}


class Rows:
    """A sink that keeps the log's rows."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, row: Any, step: int) -> None:
        self.rows.append(dict(row))

    def close(self) -> None: ...


def make(env: Any = None, **hyperparameters: Any) -> SAC:
    return SAC("MlpPolicy", CostEnv() if env is None else env, **{**SMALL, **hyperparameters})


def rows_of(model: SAC, steps: int | None = None, callback: Any = None) -> list[dict[str, Any]]:
    sink = Rows()
    model.logger.sinks = (*model.logger.sinks, sink)
    model.learn(steps, callback)
    return sink.rows


def differing(a: dict[str, Any], b: dict[str, Any]) -> set[str]:
    """The beginnings of the names of networks and multipliers that differ."""
    assert set(a) == set(b)
    return {
        name.split("/")[0] for name in a if not name.startswith("optimizer/") and not np.array_equal(a[name], b[name])
    }


def assert_equal(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert set(a) == set(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


def trained(steps: int = 20, env: Any = None, **hyperparameters: Any) -> dict[str, Any]:
    return make(env, **hyperparameters).learn(steps).get_parameters()


# -- the list ----------------------------------------------------------------------------------------------------------


def test_names_and_defaults_are_the_seed_s() -> None:
    parameters = inspect.signature(SAC).parameters
    config = SACConfig()
    for name, default in SEED_SIGNATURE.items():
        assert name in parameters
        assert getattr(config, name) == default, name
        assert type(getattr(config, name)) is type(default), name
    ours = {field.name for field in fields(SACConfig)} - set(SEED_SIGNATURE)
    assert ours == {"n_envs", "policy_kwargs", "start_policy_parts", "compute_kwargs"}
    assert (config.n_envs, config.policy_kwargs, config.start_policy_parts) == (1, None, ("networks",))
    assert config.compute_kwargs == {}
    assert (parameters["policy"].default, parameters["eval_env"].default, parameters["verbose"].default) == (
        "MlpPolicy",
        None,
        0,
    )


def test_every_hyperparameter_has_a_test() -> None:
    assert {field.name for field in fields(SACConfig)} | {"eval_env", "verbose"} == COVERED


@covers("compute_kwargs")
def test_compute_kwargs() -> None:
    two_layers = {"hidden_sizes": [8, 8]}  # rounding is between them
    exact = trained(policy_kwargs=two_layers)
    rounded = trained(policy_kwargs=two_layers, compute_kwargs={"precision": "bfloat16"})
    assert differing(exact, rounded) >= {"actor", "critic"}
    for name in (name for name in exact if name.startswith(("actor/", "critic/"))):
        np.testing.assert_allclose(rounded[name], exact[name], atol=0.05, err_msg=name)


# -- interaction -------------------------------------------------------------------------------------------------------


@covers("opt_type")
def test_opt_type() -> None:
    assert differing(trained(opt_type="minimize"), trained(opt_type="maximize")) >= {"actor", "critic", "critic_target"}
    costs, rewards = make(opt_type="minimize"), make(opt_type="maximize")
    assert costs.is_better(1.0, 2.0)
    assert rewards.is_better(2.0, 1.0)


@covers("n_envs")
def test_n_envs() -> None:
    made: list[CostEnv] = []

    def factory() -> CostEnv:
        made.append(CostEnv())
        return made[-1]

    model = make(factory, n_envs=3).learn(30)
    assert model.get_env().num_envs == 3  # type: ignore[union-attr]
    assert [len(env.actions) for env in made] == [10, 10, 10]
    assert model.num_timesteps == len(model.replay_buffer) == 30


@covers("max_ep_len")
@pytest.mark.parametrize("max_ep_len", [3, 5])
def test_max_ep_len(max_ep_len: int) -> None:
    rows = rows_of(make(CostEnv(length=None), max_ep_len=max_ep_len), 20)
    assert rows[-1]["rollout/ep_len_mean"] == max_ep_len
    assert rows[-1]["time/episodes"] == 20 // max_ep_len
    model = make(CostEnv(length=None), max_ep_len=max_ep_len).learn(20)
    state = model.replay_buffer.state_dict()
    assert state["truncated"].nonzero()[0].tolist() == list(range(max_ep_len - 1, 20, max_ep_len))
    assert not state["terminated"].any()
    without = make(CostEnv(length=None)).learn(20)
    assert without.num_episodes == 0


@covers("epochs", "steps_per_epoch")
@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(1, 6), (3, 6), (2, 9)])
def test_epochs_and_steps_per_epoch(epochs: int, steps_per_epoch: int) -> None:
    model = make(epochs=epochs, steps_per_epoch=steps_per_epoch)
    rows = rows_of(model)
    assert model.num_timesteps == epochs * steps_per_epoch
    assert [row["time/total_timesteps"] for row in rows] == [steps_per_epoch * (i + 1) for i in range(epochs)]


@covers("start_steps")
@pytest.mark.parametrize("start_steps", [0, 1, 6])
def test_start_steps(start_steps: int) -> None:
    env = CostEnv()
    make(env, start_steps=start_steps, update_after=100).learn(10)
    generator = make_generator(0, "action")
    uniform = [2.0 * float(generator.uniform(-1, 1, (1, 1)).astype(np.float32)[0, 0]) for _ in range(10)]
    same = [a == pytest.approx(b, abs=1e-6) for a, b in zip(env.actions, uniform, strict=True)]
    assert same == [True] * start_steps + [False] * (10 - start_steps)


@covers("update_every", "update_after", "steps_per_update")
@pytest.mark.parametrize(
    ("update_after", "update_every", "steps_per_update"),
    [(5, 5, 2), (8, 5, 2), (5, 3, 2), (5, 5, 3), (0, 1, 1), (19, 50, 4)],
)
def test_when_and_how_often_gradient_steps_are_done(
    update_after: int, update_every: int, steps_per_update: int
) -> None:
    model = make(update_after=update_after, update_every=update_every, steps_per_update=steps_per_update)
    seen: list[tuple[int, int]] = []
    model.learn(20, lambda model: seen.append((model.num_timesteps, model.n_updates)))
    blocks = [0 if t < update_after else 1 + (t - update_after) // update_every for t in range(21)]
    assert seen == [(t, steps_per_update * (blocks[t] - blocks[0])) for t in range(1, 21)]
    assert model.get_parameters()["optimizer/critic/step"] == model.n_updates


@covers("num_test_episodes", "eval_env")
@pytest.mark.parametrize("n", [0, 1, 3])
def test_num_test_episodes_and_eval_env(n: int) -> None:
    env, eval_env = CostEnv(), CostEnv(length=4)
    model = make(env, eval_env=eval_env, num_test_episodes=n)
    rows = rows_of(model, 20)
    assert eval_env.episodes == 2 * n
    assert len(env.actions) == 20
    assert [row.get("eval/mean_ep_length") for row in rows] == [4.0 if n else None] * 2
    if n == 3:
        actions = np.array(eval_env.actions[:4])
        assert len(set(actions)) == 4  # of the observations, not drawn: the epoch's episodes are the same for its seed
        again = CostEnv(length=4)
        make(CostEnv(), eval_env=again, num_test_episodes=n).learn(20)
        assert again.actions == eval_env.actions


# -- learning ----------------------------------------------------------------------------------------------------------


@covers("alpha")
def test_alpha() -> None:
    for alpha in (0.3, 2.0):
        assert make(alpha=alpha).get_parameters()["alpha/log_value"] == pytest.approx(np.log(alpha), rel=1e-6)
        rows = rows_of(make(alpha=alpha, adaptive_temperature=False), 10)
        assert rows[-1]["train/alpha"] == pytest.approx(alpha, rel=1e-6)
    fixed = {"adaptive_temperature": False}
    assert differing(trained(alpha=0.0, **fixed), trained(alpha=0.5, **fixed)) >= {"actor", "critic"}


@covers("adaptive_temperature")
def test_adaptive_temperature() -> None:
    rows = {on: rows_of(make(adaptive_temperature=on, lr_alpha=1e-1), 20) for on in (True, False)}
    assert [row["train/alpha"] for row in rows[False]] == pytest.approx([0.99, 0.99])
    assert abs(rows[True][-1]["train/alpha"] - 0.99) > 0.01


@covers("gamma")
def test_gamma() -> None:
    model = make(gamma=0.25).learn(20)
    batch = model.replay_buffer.sample(100)
    np.testing.assert_array_equal(batch.discount, np.where(batch.terminated, 0.0, 0.25).astype(np.float32))
    assert differing(trained(gamma=0.25), trained(gamma=0.75)) >= {"critic"}


@covers("polyak")
def test_polyak() -> None:
    for polyak in (0.0, 1.0):
        model = make(polyak=polyak)
        before = model.get_parameters()
        after = model.learn(20).get_parameters()
        source = after if polyak == 0.0 else before
        for name in [k for k in before if k.startswith("critic/")]:
            np.testing.assert_array_equal(after[name.replace("critic", "critic_target", 1)], source[name])


@covers("target_entropy")
def test_target_entropy() -> None:
    alphas = {
        target: float(trained(target_entropy=target, lr_alpha=1e-2)["alpha/log_value"])
        for target in (-50.0, None, -1.0, 50.0)
    }
    assert alphas[-50.0] < np.log(0.99) < alphas[50.0]
    assert alphas[None] == alphas[-1.0]  # minus the number of action dimensions
    row = rows_of(make(target_entropy=5.0, lr_alpha=0.0, lr_alpha_final=0.0), 10)[-1]
    assert row["train/alpha_loss"] == pytest.approx(-row["train/alpha"] * (5.0 - row["train/entropy"]), rel=1e-4)


@covers("lr_a", "lr_c", "lr_alpha")
@pytest.mark.parametrize(("rate", "group"), [("lr_a", "actor"), ("lr_c", "critic"), ("lr_alpha", "alpha")])
def test_learning_rates(rate: str, group: str) -> None:
    model = make(**{rate: 0.0, f"{rate}_final": 0.0})
    before = model.get_parameters()
    moved = differing(before, model.learn(20).get_parameters())
    assert moved == {"actor", "critic", "critic_target", "alpha"} - {group, f"{group}_target"}
    # In the first epoch each step of Adam is at most about the rate.
    first = {}
    for value in (1e-3, 1e-2):
        model = make(**{rate: value}, update_after=9, steps_per_update=1)
        before = model.get_parameters()
        after = model.learn(10).get_parameters()
        first[value] = max(float(np.abs(after[k] - before[k]).max()) for k in before if k.startswith(f"{group}/"))
    assert first == {1e-3: pytest.approx(1e-3, rel=1e-2), 1e-2: pytest.approx(1e-2, rel=1e-2)}


@covers("lr_a_final", "lr_c_final", "lr_alpha_final")
@pytest.mark.parametrize("rate", ["lr_a", "lr_c", "lr_alpha"])
def test_final_learning_rates(rate: str) -> None:
    rows = rows_of(make(**{rate: 1e-2, f"{rate}_final": 4e-3}), 30)
    assert [row[f"train/{rate}"] for row in rows] == pytest.approx([1e-2, 7e-3, 4e-3])
    rows = rows_of(make(**{rate: 1e-2}), 30)
    assert [row[f"train/{rate}"] for row in rows] == pytest.approx([1e-2, 5e-3, 1e-10])


@covers("lr_decay_type", "lr_a_decay_type", "lr_c_decay_type", "lr_alpha_decay_type")
@pytest.mark.parametrize("name", ["lr_decay_type", "lr_a_decay_type", "lr_c_decay_type", "lr_alpha_decay_type"])
@pytest.mark.parametrize(("kind", "expected"), [("linear", 5.05e-3), ("exponential", 1e-3), ("constant", 1e-2)])
def test_decay_types(name: str, kind: str, expected: float) -> None:
    rates = ("lr_a", "lr_c", "lr_alpha")
    values = dict.fromkeys(rates, 0.01) | {f"{rate}_final": 1e-4 for rate in rates}
    general = {"lr_decay_type": "constant" if kind == "linear" else "linear"} if name != "lr_decay_type" else {}
    row = rows_of(make(**values, **general, **{name: kind}), 30)[1]
    chosen = [rate for rate in rates if name in ("lr_decay_type", f"{rate}_decay_type")]
    other = 1e-2 if kind == "linear" else 5.05e-3
    for rate in rates:
        assert row[f"train/{rate}"] == pytest.approx(expected if rate in chosen else other)


@covers("lr_decay_ref")
@pytest.mark.parametrize(
    ("reference", "expected"),
    # 30 steps: 3 epochs, and blocks after 5, 10, ..., 30 steps: 6 of them. The rate that each block has.
    [("epoch", [5, 5, 3, 3, 1, 1]), ("step", [5, 4.2, 3.4, 2.6, 1.8, 1])],
)
def test_lr_decay_ref(reference: str, expected: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(lr_decay_ref=reference, lr_a=5e-3, lr_a_final=1e-3, update_after=4)
    current: list[float] = []
    seen: list[float] = []
    set_rates, update = model._learner.set_learning_rates, model._learner.update
    monkeypatch.setattr(
        model._learner, "set_learning_rates", lambda rates: (current.append(rates["lr_a"]), set_rates(rates))
    )
    monkeypatch.setattr(model._learner, "update", lambda memory, n: (seen.append(current[-1]), update(memory, n)))
    model.learn(30)
    assert seen == pytest.approx([1e-3 * value for value in expected])


@covers("lr_a", "lr_c", "lr_alpha")
@pytest.mark.parametrize("rate", ["lr_a", "lr_c", "lr_alpha"])
def test_schedules_as_rates(rate: str) -> None:
    rows = rows_of(make(**{rate: LinearScheduler(1e-3, 3e-3)}), 30)
    assert [row[f"train/{rate}"] for row in rows] == pytest.approx([1e-3, 2e-3, 3e-3])
    rows = rows_of(make(**{rate: lambda progress: 0.1 + progress}), 30)
    assert [row[f"train/{rate}"] for row in rows] == pytest.approx([0.1, 0.6, 1.1])


@covers("batch_size")
def test_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for batch_size in (3, 17):
        model = make(batch_size=batch_size)
        drawn: list[Any] = []
        draw = model.replay_buffer.sample_indices

        def sample_indices(n: int, batch_size: int, draw: Any = draw, drawn: list[Any] = drawn) -> Any:
            drawn.append((n, batch_size))
            return draw(n, batch_size)

        monkeypatch.setattr(model.replay_buffer, "sample_indices", sample_indices)
        model.learn(10)
        assert drawn == [(2, batch_size)] * 2
    assert differing(trained(batch_size=3), trained(batch_size=17)) >= {"actor", "critic"}


@covers("replay_size")
@pytest.mark.parametrize("replay_size", [7, 15, 100])
def test_replay_size(replay_size: int) -> None:
    model = make(replay_size=replay_size).learn(20)
    assert len(model.replay_buffer) == min(20, replay_size)
    assert model.replay_buffer.capacity == replay_size


# -- networks ----------------------------------------------------------------------------------------------------------


def shape(model: SAC, name: str) -> tuple[int, ...]:
    return tuple(model.get_parameters()[name].shape)


@covers("policy_kwargs")
def test_policy_kwargs_hidden_sizes() -> None:
    model = make(policy_kwargs={"hidden_sizes": {"actor": [5], "critic": [6, 7]}})
    assert shape(model, "actor/trunk/0/weight") == (2, 5)
    assert shape(model, "critic/1/trunk/1/weight") == (6, 7)


@pytest.mark.parametrize("key", ["activation", "output_activation"])
@pytest.mark.parametrize("net", ["actor", "critic"])
def test_policy_kwargs_activations(key: str, net: str) -> None:
    sizes = {"hidden_sizes": [8, 8]}
    default, other = make(policy_kwargs=sizes), make(policy_kwargs={**sizes, key: {net: "Tanh"}})
    assert_equal(default.get_parameters(), other.get_parameters())  # the same weights, and yet:
    x, action = torch.randn(5, 2), torch.rand(5, 1)
    actor, critic = (
        not torch.equal(default.policy.actor.mean_action(x), other.policy.actor.mean_action(x)),
        not torch.equal(default.policy.critic(x, action), other.policy.critic(x, action)),
    )
    assert (actor, critic) == (net == "actor", net == "critic")
    targets = [model.policy.critic_target(x, action) for model in (default, other)]
    assert torch.equal(*targets) == (net == "actor")


def test_policy_kwargs_n_critics() -> None:
    model = make(policy_kwargs={"hidden_sizes": [8], "n_critics": 4}).learn(10)
    assert shape(model, "critic/3/value/weight") == (8, 1)
    assert "critic/4/value/weight" not in model.get_parameters()


def test_policy_kwargs_normalize_observations() -> None:
    model = make(policy_kwargs={"hidden_sizes": [8], "normalize_observations": True}).learn(20)
    parameters = model.get_parameters()
    assert parameters["normalizer/count"] == 20
    np.testing.assert_allclose(parameters["normalizer/mean"], [3, 3], atol=2.5)
    assert "normalizer/mean" not in make().get_parameters()


# -- the rest ----------------------------------------------------------------------------------------------------------


@covers("seed")
def test_seed() -> None:
    assert_equal(trained(seed=5), trained(seed=5))
    assert differing(trained(seed=5), trained(seed=6)) == {"actor", "critic", "critic_target", "alpha"}
    env = CostEnv()
    make(env, seed=5).learn(3)
    assert env.seeds[0] is not None


def test_no_seed_draws_one_and_keeps_it() -> None:
    first, second = make(seed=None), make(seed=None)
    assert type(first.config.seed) is int
    assert first.seed == first.config.seed != second.seed
    assert_equal(first.learn(20).get_parameters(), trained(seed=first.seed))


@covers("device")
def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert str(make(device="cpu").device) == "cpu"
    for device in ("gpu", "cuda:1"):
        with pytest.raises(ValueError, match=f"device='{device}'"):
            make(device=device)


@covers("logger_kwargs")
def test_logger_kwargs_output_dir_and_exp_name(tmp_path: Path) -> None:
    make(logger_kwargs={"output_dir": tmp_path / "a"}).learn(20)
    progress = read_progress(tmp_path / "a" / "progress.csv")
    assert progress["time/total_timesteps"] == [10, 20]
    make(logger_kwargs={"output_dir": str(tmp_path / "b"), "exp_name": "c"}).learn(10)
    assert (tmp_path / "b" / "c" / "progress.csv").is_file()
    assert (tmp_path / "b" / "c" / AGENT_FILE).is_file()


def test_logger_kwargs_sinks(tmp_path: Path) -> None:
    make(logger_kwargs={"output_dir": tmp_path, "sinks": []}).learn(10)
    assert not (tmp_path / "progress.csv").exists()
    from slc_agents.logger import TensorBoardSink

    model = make(logger_kwargs={"output_dir": tmp_path, "sinks": ["tensorboard"]})
    assert [type(sink) for sink in model.logger.sinks] == [TensorBoardSink]


def test_hyperparameters_are_recorded_when_training_starts() -> None:
    class Takes:
        def __init__(self) -> None:
            self.calls: list[tuple[str, Any]] = []

        def write(self, row: Any, step: int) -> None:
            self.calls.append(("row", step))

        def write_hyperparameters(self, hyperparameters: Any) -> None:
            self.calls.append(("hyperparameters", dict(hyperparameters)))

        def close(self) -> None: ...

    model, sink = make(lr_a=0.5, policy_kwargs={"hidden_sizes": {"actor": [4]}}), Takes()
    model.logger.sinks = (sink,)
    model.learn(10).learn(10)
    (first, values), *rows = sink.calls
    assert first == "hyperparameters"
    assert (values["lr_a"], values["policy_kwargs/hidden_sizes/actor"], values["seed"]) == (0.5, "[4]", model.seed)
    assert [name for name, _ in rows] == ["row", "row"]


@covers("verbose")
def test_verbose_and_logger_kwargs_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    make().learn(10)
    assert capsys.readouterr().out == ""
    for hyperparameters in ({"verbose": 1}, {"logger_kwargs": {"verbose": 1}}):
        make(**hyperparameters).learn(10)
        assert "total_timesteps" in capsys.readouterr().out
    make(verbose=1, logger_kwargs={"verbose": 0}).learn(10)
    assert capsys.readouterr().out == ""


@covers("save_freq")
@pytest.mark.parametrize(("save_freq", "expected"), [(1, [10, 20, 30, 40]), (2, [20, 40]), (3, [30])])
def test_save_freq(tmp_path: Path, save_freq: int, expected: list[int]) -> None:
    seen: list[int] = []

    class Watch(Callback):
        def on_step(self) -> None:
            if (tmp_path / AGENT_FILE).exists():
                saved = read_archive(tmp_path / AGENT_FILE).manifest["counters"]["num_timesteps"]
                if saved not in seen:
                    seen.append(saved)

    make(save_freq=save_freq, logger_kwargs={"output_dir": tmp_path}).learn(45, Watch())
    assert seen == expected
    # And at the end in any case.
    assert read_archive(tmp_path / AGENT_FILE).manifest["counters"]["num_timesteps"] == 45


@covers("start_policy")
@pytest.mark.parametrize("kind", ["file", "folder", "agent"])
def test_start_policy(tmp_path: Path, kind: str) -> None:
    kwargs = {"policy_kwargs": {"hidden_sizes": [8], "normalize_observations": True}}
    teacher = make(seed=3, **kwargs, logger_kwargs={"output_dir": tmp_path}).learn(20)
    start = {"file": tmp_path / AGENT_FILE, "folder": str(tmp_path), "agent": teacher}[kind]
    model = make(start_policy=start, **kwargs)
    assert differing(model.get_parameters(), teacher.get_parameters()) == {"alpha"}
    assert model.get_parameters()["optimizer/actor/step"] == 0
    assert differing(make(**kwargs).get_parameters(), model.get_parameters()) == {
        "actor",
        "critic",
        "critic_target",
        "normalizer",
    }


@covers("start_policy_parts")
def test_start_policy_parts(tmp_path: Path) -> None:
    teacher = make(seed=3).learn(20)
    teacher.save(tmp_path / "with", replay_buffer=True)
    teacher.save(tmp_path / "without")
    theirs = teacher.get_parameters()
    fresh = make().get_parameters()
    for start in (teacher, tmp_path / "with"):
        for part, tensors in (("temperature", "alpha"), ("optimizers", "optimizer")):
            ours = make(start_policy=start, start_policy_parts=[part]).get_parameters()
            for name in ours:
                np.testing.assert_array_equal(ours[name], (theirs if name.startswith(tensors) else fresh)[name], name)
        model = make(start_policy=start, start_policy_parts=("networks", "temperature", "optimizers", "buffer"))
        assert differing(model.get_parameters(), theirs) == set()
        assert len(model.replay_buffer) == 20
        for ours_too, theirs_too in zip(
            model.replay_buffer.gather(range(20)), teacher.replay_buffer.gather(range(20)), strict=True
        ):
            np.testing.assert_array_equal(ours_too, theirs_too)
    with pytest.raises(ValueError, match="replay_buffer=True"):
        make(start_policy=tmp_path / "without", start_policy_parts=["buffer"])
    with pytest.raises(ValueError, match="no start_policy"):
        make(start_policy_parts=["buffer"])
    # The agent that came of it needs none of that any more.
    model.save(tmp_path / "warm")
    assert SAC.load(tmp_path / "warm").config.start_policy is None


@covers("export")
def test_export(tmp_path: Path) -> None:
    for export in (False, True):
        folder = tmp_path / str(export)
        make(export=export, logger_kwargs={"output_dir": folder}).learn(10)
        assert (folder / f"{EXPORT_FILE}.pt").exists() == export


# -- costs are rewards, turned once ------------------------------------------------------------------------------------


def test_minimising_a_cost_is_maximising_its_negative() -> None:
    hyperparameters: dict[str, Any] = {
        "num_test_episodes": 2,
        "policy_kwargs": {"hidden_sizes": [8], "normalize_observations": True},
        "start_steps": 3,
    }
    costs = make(CostEnv(), eval_env=CostEnv(), opt_type="minimize", **hyperparameters)
    rewards = make(CostEnv(sign=-1.0), eval_env=CostEnv(sign=-1.0), opt_type="maximize", **hyperparameters)
    cost_rows, reward_rows = rows_of(costs, 40), rows_of(rewards, 40)
    assert_equal(costs.get_parameters(), rewards.get_parameters())
    assert_equal(costs.replay_buffer.state_dict(), rewards.replay_buffer.state_dict())
    for cost_row, reward_row in zip(cost_rows, reward_rows, strict=True):
        for key, value in cost_row.items():
            if key in ("rollout/ep_rew_mean", "eval/mean_reward"):
                assert value == -reward_row[key] > 0, key
            elif key not in ("time/fps", "time/time_elapsed"):
                assert value == reward_row[key], key
    (mean, std), (other_mean, other_std) = costs.evaluate(3, seed=1), rewards.evaluate(3, seed=1)
    assert (mean, std) == (-other_mean, other_std)


# -- one process, several agents ---------------------------------------------------------------------------------------


def test_one_agent_twice_is_the_same_agent(tmp_path: Path) -> None:
    models = [
        make(num_test_episodes=1, eval_env=CostEnv(), logger_kwargs={"output_dir": tmp_path / str(i)}).learn(40)
        for i in (0, 1)
    ]
    assert_equal(models[0].get_parameters(), models[1].get_parameters())
    assert_equal(models[0].replay_buffer.state_dict(), models[1].replay_buffer.state_dict())
    first, second = (read_progress(tmp_path / str(i) / "progress.csv") for i in (0, 1))
    assert set(first) == set(second)
    for key in set(first) - {"time/fps", "time/time_elapsed"}:
        np.testing.assert_array_equal(first[key], second[key], err_msg=key)


def test_agents_interleaved_do_not_interfere() -> None:
    alone = make().learn(40)
    other = make(seed=1)

    def in_between(model: SAC) -> None:
        if model.num_timesteps % 5 == 0:
            other.learn(5, reset_num_timesteps=False)
            other.evaluate(1, CostEnv())
        model.predict(np.zeros(2, np.float32))  # nor does predicting

    model = make().learn(40, in_between)
    assert other.num_timesteps == 40
    assert_equal(model.get_parameters(), alone.get_parameters())
    assert_equal(model.replay_buffer.state_dict(), alone.replay_buffer.state_dict())
