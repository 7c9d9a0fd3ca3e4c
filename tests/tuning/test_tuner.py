"""The search: what is tried, given up and found, and how it is gone on with. Most of it without training."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml
from fake_trials import TINY, FakeTraining

from slc_agents import SAC, SACConfig, zoo
from slc_agents.errors import ConfigError, MissingDependencyError, UnsupportedSpaceError
from slc_agents.schedulers import LinearScheduler
from slc_agents.seeding import make_seed
from slc_agents.tuning import SearchSpace, Tuner, TuningResult
from slc_agents.tuning.study import open_study
from slc_agents.tuning.training import Outcome, TrialPlan

SPACE = {"lr_a": {"low": 1e-5, "high": 1e-1, "log": True}}


def make_tuner(space: Any = None, **options: Any) -> Tuner:
    return Tuner("sac", "Pendulum-v1", space=SPACE if space is None else space, **{**TINY, "seed": 0, **options})


def drawn(result: TuningResult) -> list[Any]:
    return [(trial.number, trial.params, trial.value, trial.state.name) for trial in result.study.trials]


# -- what is tried -----------------------------------------------------------------------------------------------------


def test_the_first_trial_is_what_the_search_starts_from(training: FakeTraining) -> None:
    result = make_tuner(gamma=0.9).run(4)
    start, *others = training.plans
    zoo_values = zoo.load_config("sac", "Pendulum-v1").to_dict()
    assert {name: start.settings[name] for name in ("lr_a", "steps_per_epoch", "gamma", "policy_kwargs")} == {
        "lr_a": zoo_values["lr_a"],
        "steps_per_epoch": 1000,
        "gamma": 0.9,
        "policy_kwargs": {"hidden_sizes": [4]},
    }
    assert {plan.settings["lr_a"] for plan in others}.isdisjoint({1e-3})
    assert len({plan.settings["lr_a"] for plan in others}) == 3
    assert all({**plan.settings, "lr_a": 1e-3} == start.settings for plan in others)
    assert all((plan.timesteps, plan.evaluations, plan.eval_episodes) == (100, 4, 5) for plan in training.plans)
    assert result.start is not None
    assert (result.start.number, result.start.params) == (0, {})


def test_seeds_follow_from_the_study_s_and_the_trial_s_number(training: FakeTraining) -> None:
    make_tuner(seed=7, seeds_per_trial=2).run(2)
    assert [plan.seeds for plan in training.plans] == [
        tuple(make_seed(7, "trial", number, i) for i in range(2)) for number in range(2)
    ]
    tuner = make_tuner(seed=None)
    assert 0 <= tuner.seed < 2**32


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_gives_the_same_study(training: FakeTraining, sampler: Any) -> None:
    studies = [drawn(make_tuner(sampler=sampler, startup_trials=3, seed=seed).run(8)) for seed in (1, 1, 2)]
    assert studies[0] == studies[1]
    assert studies[0] != studies[2]
    assert len({str(params) for _, params, _, _ in studies[0]}) == 8


def test_tpe_learns_and_random_does_not(training: FakeTraining) -> None:
    found = {}
    for sampler in ("tpe", "random"):
        training.plans.clear()
        make_tuner(sampler=sampler, startup_trials=5, pruner="none", lr_c=1e-3).run(40)
        found[sampler] = np.mean([FakeTraining.value(plan) for plan in training.plans[20:]])
    assert found["tpe"] > found["random"] + 0.3


def test_real_trainings_are_reproducible() -> None:
    options: dict[str, Any] = {
        "update_after": 20,
        "start_steps": 20,
        "update_every": 20,
        "batch_size": 4,
        "eval_episodes": 1,
    }
    results = [make_tuner(seed=seed, **options).run(2) for seed in (3, 3, 4)]
    values = [[trial.intermediate_values for trial in result.study.trials] for result in results]
    assert values[0] == values[1] != values[2]
    assert all(
        trial.value == np.mean([trial.intermediate_values[i] for i in (3, 4)]) for trial in results[0].study.trials
    )


def test_settings_to_start_from(training: FakeTraining, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("gamma: 0.5\nlr_c: {type: linear, initial: 1.0e-3, final: 1.0e-5}\nepochs: 3\nsteps_per_epoch: 7\n")
    space = {"gamma": {"low": 0.1, "high": 0.9}}
    tuner = Tuner("sac", "Pendulum-v1", config=path, space=space, evaluations=2, seed=0)
    assert (tuner.task.timesteps, tuner.source) == (21, str(path))
    assert tuner.task.settings["lr_c"] == {"type": "linear", "initial": 1e-3, "final": 1e-5}
    config = tuner.run(2).config
    assert (config.lr_c, config.epochs, config.steps_per_epoch) == (LinearScheduler(1e-3, 1e-5), 3, 7)

    tuner = make_tuner(config=SACConfig(alpha=0.3, opt_type="minimize"))
    assert (tuner.task.settings["alpha"], tuner.task.opt_type) == (0.3, "minimize")
    assert "gamma" not in tuner.task.settings
    tuner = make_tuner(config="zoo:sac/default")
    assert tuner.task.settings["start_steps"] == zoo.load_config("sac", "default").start_steps == 1000


def test_the_temperature_is_searched_as_far_as_the_settings_learn_it() -> None:
    names = [
        {parameter.key for parameter in Tuner("sac", "Pendulum-v1", config=f"zoo:sac/{name}", seed=0).space.parameters}
        for name in ("default", "mujoco_locomotion")
    ]
    assert names[0] - names[1] == {"lr_alpha", "target_entropy"}
    assert names[1] < names[0]


def test_the_policy(training: FakeTraining, tmp_path: Path) -> None:
    path, out = tmp_path / "mine.yaml", tmp_path / "best.yaml"
    path.write_text("policy: GSDEPolicy\n")
    make_tuner(config=path).run(1, out=out)
    assert training.plans[0].policy == "GSDEPolicy"
    assert zoo.read_config_file(out).policy == "GSDEPolicy"
    make_tuner(config=path, policy="MlpPolicy").run(1, out=tmp_path / "other.yaml")
    assert training.plans[1].policy == "MlpPolicy"
    assert "policy:" not in (tmp_path / "other.yaml").read_text()


def test_a_factory_of_the_environment(training: FakeTraining) -> None:
    made = []

    def make() -> Any:
        made.append(1)
        return zoo.make("sac", "Pendulum-v1").env.envs[0]  # type: ignore[union-attr]

    tuner = Tuner("sac", "my/Task-v0", env=make, space=SPACE, **TINY)
    tuner.run(1)
    assert made
    assert training.plans[0].env is make
    assert tuner.study.study_name.startswith("sac-my_Task-v0-")
    assert tuner.source == "the defaults of SACConfig, since the zoo has none for sac/my/Task-v0"


# -- what becomes of trials --------------------------------------------------------------------------------------------


def falling(plan: TrialPlan) -> list[float]:
    """Better evaluations for a lower lr_a, from the beginning."""
    return [-plan.settings["lr_a"]] * plan.evaluations


def test_trials_that_are_not_promising_are_given_up(training: FakeTraining) -> None:
    training.evaluations = falling
    result = make_tuner(sampler="random", startup_trials=3, evaluations=6).run(30)
    stopped = [trial for trial in result.study.trials if trial.state.name == "PRUNED"]
    complete = [trial for trial in result.study.trials if trial.state.name == "COMPLETE"]
    assert len(stopped) > 5
    assert all(trial.number >= 3 for trial in stopped)
    # None in the first third of its evaluations, and each at once after that.
    assert {trial.last_step for trial in stopped} == {3}
    assert {trial.last_step for trial in complete} == {6}
    assert all(trial.user_attrs["reason"] == "stopped: not promising" for trial in stopped)
    assert max(trial.params["lr_a"] for trial in complete[3:]) < max(trial.params["lr_a"] for trial in stopped)
    assert result.counts() == {"complete": len(complete), "stopped": len(stopped)}

    everything = make_tuner(sampler="random", startup_trials=3, evaluations=6, pruner="none").run(30)
    assert everything.counts() == {"complete": 30}


def test_nothing_is_given_up_at_its_end(training: FakeTraining) -> None:
    training.evaluations = lambda plan: [0.0, 0.0, 0.0, -plan.settings["lr_a"]]
    result = make_tuner(sampler="random", startup_trials=3).run(12)
    assert result.counts() == {"complete": 12}


def test_costs(training: FakeTraining) -> None:
    training.evaluations = lambda plan: [plan.settings["lr_a"]] * plan.evaluations
    result = make_tuner(opt_type="minimize", sampler="random", startup_trials=3).run(20)
    assert result.study.direction.name == "MINIMIZE"
    assert result.best is not None
    assert result.best.value == min(t.value for t in result.study.trials if t.state.name == "COMPLETE")
    assert result.counts()["stopped"] > 2
    assert [trial.value for trial in result.leaders] == sorted(trial.value for trial in result.leaders)
    assert "mean cost" in result.describe_value()


def test_a_trial_that_diverges_ends_nothing(training: FakeTraining) -> None:
    training.ends = {1: Outcome("diverged", reason="NaN at step 7"), 2: Outcome("invalid", reason="alpha=0")}
    result = make_tuner().run(5)
    assert [trial.state.name for trial in result.study.trials] == [
        "COMPLETE",
        "PRUNED",
        "PRUNED",
        "COMPLETE",
        "COMPLETE",
    ]
    assert [trial.user_attrs.get("reason") for trial in result.study.trials[:3]] == [
        None,
        "diverged: NaN at step 7",
        "invalid: alpha=0",
    ]
    assert result.counts() == {"complete": 3, "diverged": 1, "invalid": 1}


def test_really_diverging() -> None:
    space = {"lr_a": {"choices": [1e38]}}
    result = make_tuner(space, lr_decay_type="constant", update_after=10, batch_size=4, eval_episodes=1).run(2)
    assert [trial.state.name for trial in result.study.trials] == ["COMPLETE", "PRUNED"]
    assert result.study.trials[1].user_attrs["reason"].startswith("diverged: the policy's action")


def test_where_no_trial_is_complete(training: FakeTraining, tmp_path: Path) -> None:
    training.ends = dict.fromkeys(range(2), Outcome("diverged", reason="NaN"))
    result = make_tuner().run(2, out=tmp_path / "best.yaml")
    assert result.best is None
    with pytest.raises(ConfigError, match="no complete trial yet; the last one: diverged: NaN"):
        result.config  # noqa: B018
    assert list(tmp_path.iterdir()) == []


def test_an_error_ends_the_search_and_is_kept(training: FakeTraining) -> None:
    training.ends = {2: KeyError("bug")}
    tuner = make_tuner()
    with pytest.raises(KeyError, match="bug"):
        tuner.run(4)
    result = tuner.run(4)
    assert [trial.state.name for trial in result.study.trials] == [
        "COMPLETE",
        "COMPLETE",
        "FAIL",
        "COMPLETE",
        "COMPLETE",
    ]
    assert result.study.trials[2].user_attrs["reason"] == "KeyError: 'bug'"


# -- interrupting and going on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_study_that_is_gone_on_with_is_the_same(training: FakeTraining, tmp_path: Path, sampler: Any) -> None:
    options: dict[str, Any] = {"sampler": sampler, "startup_trials": 3, "evaluations": 1}
    whole = make_tuner(**options).run(6)
    # A file for one of them, where each step takes its time; the other's storage is in memory.
    storage: Any = f"sqlite:///{tmp_path}/study.db" if sampler == "tpe" else optuna.storages.InMemoryStorage()
    make_tuner(storage=storage, **options).run(2)
    make_tuner(storage=storage, **options, seed=None).run(4)
    assert drawn(make_tuner(storage=storage, **options).run(6)) == drawn(whole)
    assert len(training.plans) == 12
    again = make_tuner(storage=storage, **options).run(6)
    assert (drawn(again), len(training.plans)) == (drawn(whole), 12)


def test_ctrl_c(training: FakeTraining, tmp_path: Path) -> None:
    out, tuner = tmp_path / "best.yaml", make_tuner()
    training.ends = {2: KeyboardInterrupt()}
    result = tuner.run(4, out=out)
    assert result.interrupted
    assert result.counts() == {"complete": 2, "broken off": 1}
    assert zoo.load_config_file(out, SACConfig) == result.config
    result = tuner.run(4, out=out)
    assert not result.interrupted
    assert result.counts() == {"complete": 4, "broken off": 1}


def test_ctrl_c_in_training() -> None:
    """Really pressed: the trial ends with the step, and the search with it."""
    pressed = []

    def press(study: Any, trial: Any) -> None:
        pressed.append(trial.number)
        signal.raise_signal(signal.SIGINT)

    tuner = make_tuner(eval_episodes=1)
    result = tuner.run(5, after_trial=[press])  # between two trials
    assert (pressed, result.interrupted, result.counts()) == ([0], True, {"complete": 1})

    from slc_agents.tuning import training

    run_episodes = training.run_episodes

    def press_then_run(*args: Any, **keywords: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return run_episodes(*args, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "run_episodes", press_then_run)
        result = tuner.run(5)
    assert (result.interrupted, result.counts()) == (True, {"complete": 1, "broken off": 1})
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_settings_to_start_from_are_tried_until_they_have_been(training: FakeTraining) -> None:
    training.ends = {0: KeyboardInterrupt()}
    tuner = make_tuner()
    assert tuner.run(3).interrupted
    result = tuner.run(3)
    assert [bool(trial.params) for trial in result.study.trials] == [False, False, True, True]
    assert result.start is not None
    assert result.start.number == 1


def test_a_time_limit(training: FakeTraining) -> None:
    assert make_tuner().run(5, timeout=0).counts() == {}
    assert make_tuner().run(2, timeout=1000).counts() == {"complete": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"timesteps": 200}, ["timesteps=100 (received: 200)"]),
        ({"seed": 1}, ["seed=0 (received: 1)"]),
        (
            {"gamma": 0.9, "eval_episodes": 1},
            ["settings: gamma=nothing (received: 0.9)", "eval_episodes=5 (received: 1)"],
        ),
        ({"space": {"lr_a": {"low": 1e-5, "high": 1e-2}}}, ["space: lr_a: high=0.1 (received: 0.01), ", "log=True"]),
        ({"opt_type": "minimize"}, ["opt_type='maximize' (received: 'minimize')"]),
    ],
)
def test_a_study_of_something_else(training: FakeTraining, changes: dict[str, Any], words: list[str]) -> None:
    storage = optuna.storages.InMemoryStorage()
    make_tuner(storage=storage)
    with pytest.raises(ConfigError, match="study='sac-Pendulum-v1': was begun with") as error:
        make_tuner(**{"storage": storage, **changes})
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)
    make_tuner(**{"storage": storage, "study": "another", **changes})


def test_a_study_that_others_have_made() -> None:
    storage = optuna.storages.InMemoryStorage()
    open_study(storage, "x", "maximize").ask()
    with pytest.raises(ConfigError, match="study='x': has trials of something else"):
        make_tuner(storage=storage, study="x")


# -- what is found -----------------------------------------------------------------------------------------------------


def test_the_file_of_the_best_settings(training: FakeTraining, tmp_path: Path) -> None:
    out = tmp_path / "folder" / "best.yaml"
    space = {**SPACE, "gamma": {"low": 0.9, "high": 0.99}, "policy_kwargs.n_critics": {"low": 2, "high": 4}}
    tuner = make_tuner(space, lr_c={"type": "linear", "initial": 1e-3, "final": 1e-5}, config=SACConfig(alpha=0.5))
    written = []
    result = tuner.run(12, out=out, after_trial=[lambda study, trial: written.append(out.read_text())])
    assert len(set(written)) > 1  # at each new best
    best = max(training.plans, key=FakeTraining.value)
    assert result.best is not None
    assert training.plans[result.best.number] is best
    config = zoo.load_config_file(out, SACConfig)
    assert config == result.config
    expected = SACConfig(**{**best.settings, "epochs": 1, "steps_per_epoch": 100})
    assert config == expected
    assert (config.alpha, config.lr_c) == (0.5, LinearScheduler(1e-3, 1e-5))
    assert set(yaml.safe_load(out.read_text())) == {
        *("alpha", "lr_c", "lr_c_final", "policy_kwargs", "lr_a", "gamma", "epochs", "steps_per_epoch")
    }
    assert [path.name for path in out.parent.iterdir()] == ["best.yaml"]

    header = [line for line in out.read_text().splitlines() if line.startswith("#")]
    assert header[0] == f"# Settings found by slc-agents tune in the study {result.study.study_name}."
    text = "\n".join(header)
    for word in (
        f"Trial {result.best.number}: {result.best.value:.6g}, the mean return of the last 2 of 4 evaluations",
        f"(seed {best.seeds[0]})",
        "The settings that the search started from had -1.",
        "Trials: 12 complete; study seed 0.",
        f"optuna {optuna.__version__}",
        f"slc-agents train sac Pendulum-v1 --config {out} --total-timesteps 100",
    ):
        assert word in text, text
    model = SAC("MlpPolicy", "Pendulum-v1", result.config)
    assert len(model.policy.critic(*_inputs(model))) == best.settings["policy_kwargs"]["n_critics"]


def _inputs(model: Any) -> tuple[Any, Any]:
    import torch

    return torch.zeros(1, model.policy.n_features), torch.zeros(1, 1)


def test_as_many_epochs_as_a_trial_is_long(training: FakeTraining) -> None:
    found = make_tuner(steps_per_epoch=30).run(1)
    assert (found.config.epochs, found.config.steps_per_epoch) == (4, 30)
    assert found.settings["steps_per_epoch"] == 30


def test_where_nothing_is_better_than_the_start(training: FakeTraining, tmp_path: Path) -> None:
    result = make_tuner(lr_c=1e-3).run(3, out=tmp_path / "best.yaml")  # the zoo's lr_a has the best value there is
    assert result.best is not None
    assert result.best.number == 0
    assert "no trial was better" in (tmp_path / "best.yaml").read_text()


def test_files_of_others_are_left_alone(training: FakeTraining, tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    out.write_text("gamma: 0.9\n")
    tuner = make_tuner(study="a")
    for path, words in ((out, "is there, and not of the study 'a'"), (tmp_path, "is a folder")):
        with pytest.raises(ConfigError, match=words):
            tuner.run(1, out=path)
    assert (out.read_text(), training.plans) == ("gamma: 0.9\n", [])
    own = tmp_path / "own.yaml"
    tuner.run(1, out=own)
    tuner.run(2, out=own)
    assert "2 complete" in own.read_text()
    with pytest.raises(ConfigError, match="not of the study 'b'"):
        make_tuner(study="b").run(1, out=own)


def test_importances(training: FakeTraining) -> None:
    space = {**SPACE, "gamma": {"low": 0.9, "high": 0.99}, "batch_size": {"choices": [32, 64]}}
    result = make_tuner(space, sampler="random", pruner="none").run(60)
    importances = result.importances()
    assert next(iter(importances)) == "lr_a"
    assert importances["lr_a"] > 0.6
    assert sum(importances.values()) == pytest.approx(1)
    assert set(importances) == {"lr_a", "gamma", "batch_size"}
    assert make_tuner(space).run(5).importances() == {}


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"sampler": "grid"}, ConfigError, ["sampler='grid'", "tpe, random"]),
        ({"pruner": None}, ConfigError, ["pruner=None", "median, none"]),
        ({"timesteps": 0}, ValueError, ["timesteps=0"]),
        ({"evaluations": 1.5}, ValueError, ["evaluations=1.5"]),
        ({"evaluations": 101}, ConfigError, ["evaluations=101", "100 steps"]),
        ({"eval_episodes": 0}, ValueError, ["eval_episodes=0"]),
        ({"seeds_per_trial": True}, ValueError, ["seeds_per_trial=True"]),
        ({"startup_trials": -1}, ValueError, ["startup_trials=-1"]),
        ({"seed": -1}, ValueError, ["seed=-1"]),
        ({"gamma": 2}, ConfigError, ["gamma=2", "less than or equal to 1"]),
        ({"gama": 1}, TypeError, ["gama", "gamma"]),
        ({"epochs": 3}, TypeError, ["'epochs'", "equally long"]),
        ({"logger_kwargs": {}}, TypeError, ["'logger_kwargs'", "no files"]),
        ({"config": "none.yaml"}, FileNotFoundError, ["none.yaml"]),
        ({"config": {"gamma": 1}}, TypeError, ["config"]),
        ({"space": "none.yaml"}, FileNotFoundError, ["none.yaml"]),
        ({"space": {}}, ConfigError, ["nothing to search"]),
        ({"lr_a": 1e-3}, ConfigError, ["nothing to search", "fixed"]),
        ({"lr_a": lambda progress: 1e-3, "space": {"gamma": {"low": 0, "high": 1}}}, ConfigError, ["lr_a=", "file"]),
        ({"policy": "Mlp"}, ValueError, ["policy='Mlp'"]),
        ({"policy_kwargs": {"layers": 3}}, TypeError, ["layers"]),
        ({"space": {"policy_kwargs.layers": {"low": 1, "high": 2}}}, ConfigError, ["policy_kwargs.layers", "'layers'"]),
        ({"space": {"policy_kwargs.activation": {"choices": ["Rel"]}}}, ConfigError, ["activation", "'Rel'"]),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], words: list[str]) -> None:
    with pytest.raises(error) as raised:
        make_tuner(**options)
    assert [word for word in words if word not in str(raised.value)] == [], str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "error", "word"),
    [
        ({"trials": 0}, ValueError, "trials=0"),
        ({"jobs": 0}, ValueError, "jobs=0"),
        ({"timeout": -1}, ValueError, "timeout=-1"),
        ({"out": 3}, TypeError, "out=3"),
    ],
)
def test_wrong_arguments_of_run(arguments: dict[str, Any], error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word):
        make_tuner().run(**arguments)


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("study.db", ["storage='study.db'", "sqlite:///study.db"]),
        ("sqlite:////none/there/study.db", ["none/there", "unable to open"]),
        ("nosql://me:secret@host/db", ["nosql://...@host/db"]),
        ("redis://host", ["redis://host"]),
    ],
)
def test_storages_that_can_not_be_opened(storage: str, words: list[str]) -> None:
    with pytest.raises(ConfigError, match="can't be opened") as error:
        make_tuner(storage=storage)
    assert [word for word in words if word not in str(error.value)] == [], str(error.value)
    assert "secret" not in str(error.value)


def test_tasks_that_no_agent_is_for() -> None:
    with pytest.raises(UnsupportedSpaceError, match="Discrete"):
        Tuner("sac", "CartPole-v1", **TINY)
    with pytest.raises(ValueError, match="algo='ppo'"):
        Tuner("ppo", "Pendulum-v1")


def test_without_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'slc-agents\[tune\]'"):
        make_tuner()


def test_optuna_is_as_talkative_as_before(training: FakeTraining, capfd: pytest.CaptureFixture[str]) -> None:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.INFO)
    try:
        make_tuner().run(2)
        assert optuna.logging.get_verbosity() == optuna.logging.INFO
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")


def test_a_space_that_was_made_before(training: FakeTraining) -> None:
    space = SearchSpace.from_dict(SPACE, SACConfig)
    assert make_tuner(space).space == space
