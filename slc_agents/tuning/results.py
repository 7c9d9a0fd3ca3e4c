"""What a search has found, and the file that it is written into."""

from __future__ import annotations

import math
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from slc_agents.agents.config import AgentConfig
from slc_agents.agents.loading import agent_class
from slc_agents.errors import ConfigError, check_path
from slc_agents.tuning.task import BASE, REASON, SEEDS, SETTINGS, Task
from slc_agents.tuning.training import counted
from slc_agents.zoo.configs import DEFAULT_POLICY, POLICY

if TYPE_CHECKING:
    import optuna

__all__ = ["TuningResult", "check_out"]

LIBRARIES = ("slc-agents", "optuna", "torch", "gymnasium", "numpy")


@dataclass
class TuningResult:
    """What a search has found so far.

    Attributes:
        study: The study of Optuna's, with all trials.
        task: What all trials have in common.
        seed: The study's seed.
        interrupted: Whether Ctrl-C has ended the search.
    """

    study: optuna.Study
    task: Task
    seed: int
    interrupted: bool = False

    @property
    def leaders(self) -> Sequence[optuna.trial.FrozenTrial]:
        """The complete trials, the best first."""
        complete = [trial for trial in self.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
        sign = 1 if self.task.opt_type == "minimize" else -1
        return sorted(complete, key=lambda trial: (sign * _value(trial), trial.number))

    @property
    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best of the complete trials, or None."""
        return next(iter(self.leaders), None)

    @property
    def start(self) -> optuna.trial.FrozenTrial | None:
        """The trial that had the settings to start from, where it is complete."""
        return next((trial for trial in self.leaders if BASE in trial.user_attrs), None)

    @property
    def settings(self) -> dict[str, Any]:
        """The best trial's hyperparameters in plain values, with as many epochs as it was long.

        Raises:
            ConfigError: If no trial is complete.
        """
        if self.best is None:
            raise ConfigError(f"study {self.study.study_name!r} has no complete trial yet{self._why_not()}")
        settings = dict(self.best.user_attrs[SETTINGS])
        config = agent_class(self.task.algo).config_class(**settings)
        if config.steps_per_epoch > self.task.timesteps:
            settings["steps_per_epoch"] = self.task.timesteps
        settings["epochs"] = math.ceil(self.task.timesteps / settings.get("steps_per_epoch", config.steps_per_epoch))
        return settings

    @property
    def config(self) -> AgentConfig:
        """The best trial's hyperparameters as a config.

        Raises:
            ConfigError: If no trial is complete.
        """
        return agent_class(self.task.algo).config_class(**self.settings)

    def importances(self) -> dict[str, float]:
        """Returns how much each parameter of the space matters for being among the best tenth of the trials.

        By PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255); they sum to 1. Empty where there are too few complete
        trials to say.
        """
        from slc_agents.tuning.study import param_importances

        return param_importances(self.study)

    def counts(self) -> Counter[str]:
        """Returns how many trials are `complete`, `stopped`, `diverged`, `invalid` (see `Outcome`), or broken off."""
        counts: Counter[str] = Counter()
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state.name == "PRUNED":
                counts[str(trial.user_attrs[REASON]).partition(":")[0]] += 1
            else:
                counts["broken off" if trial.state.name == "FAIL" else trial.state.name.lower()] += 1
        return counts

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the best settings into a YAML file, as `train --config` and the zoo take them.

        Args:
            path: The file; folders are made.

        Raises:
            ConfigError: If no trial is complete.
        """
        path = check_path("path", path)
        policy = {} if self.task.policy == DEFAULT_POLICY else {POLICY: self.task.policy}
        text = yaml.safe_dump({**policy, **self.settings}, sort_keys=False, default_flow_style=None, width=120)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.tmp")
        partial.write_text("".join(f"# {line}\n" for line in self._about(path)) + "\n" + text, encoding="utf-8")
        os.replace(partial, path)

    def train_command(self, path: str | os.PathLike[str]) -> str:
        """Returns the command line that trains with the settings of a file."""
        task = self.task
        words = ["slc-agents", "train", task.algo, task.env_id, "--config", os.fspath(path)]
        return shlex.join([*words, "--total-timesteps", str(task.timesteps)])

    def describe_value(self) -> str:
        """Says what a trial's value is."""
        task = self.task
        word = "cost" if task.opt_type == "minimize" else "return"
        seeds = "" if task.seeds_per_trial == 1 else f", over {task.seeds_per_trial} seeds"
        of = f"the last {counted(task.evaluations)} of {task.evaluations}"
        return f"the mean {word} of {of} evaluations of {task.eval_episodes} episodes each{seeds}"

    def _about(self, path: Path) -> list[str]:
        task, best, start = self.task, self.best, self.start
        if best is None:
            raise RuntimeError("there are settings of the best trial")
        counts = ", ".join(f"{number} {name}" for name, number in self.counts().items())
        seeds = ", ".join(map(str, best.user_attrs[SEEDS]))
        lines = [
            _first_line(self.study.study_name),
            f"{task.algo.upper()} on {task.env_id}, {task.timesteps:,} steps, {task.policy}.",
            f"Trial {best.number}: {_value(best):.6g}, {self.describe_value()} (seed {seeds}).",
        ]
        if start is best:
            lines.append("It has the settings that the search started from: no trial was better.")
        elif start is not None:
            lines.append(f"The settings that the search started from had {_value(start):.6g}.")
        lines.append(f"Trials: {counts}; study seed {self.seed}.")
        lines.append(f"Versions: {', '.join(f'{name} {_version(name)}' for name in LIBRARIES)}.")
        if "." not in task.policy:  # a class of the user's own has no name to train by
            lines.append(f"Train with them: {self.train_command(path)}")
        return lines

    def _why_not(self) -> str:
        reasons = [trial.user_attrs[REASON] for trial in self.study.trials if REASON in trial.user_attrs]
        return f"; the last one: {reasons[-1]}" if reasons else ""


def check_out(path: Path, study_name: str) -> None:
    """Raises a `ConfigError` where a file holds something else than the settings found by a study."""
    if path.is_dir():
        raise ConfigError(f"out={os.fspath(path)!r}: is a folder; a file is needed, such as settings.yaml")
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as file:
            first = file.readline().rstrip("\n")
        if first != f"# {_first_line(study_name)}":
            raise ConfigError(
                f"out={os.fspath(path)!r}: is there, and not of the study {study_name!r}, so it isn't overwritten; "
                "choose another file"
            )


def _first_line(study_name: str) -> str:
    return f"Settings found by slc-agents tune in the study {study_name}."


def _value(trial: optuna.trial.FrozenTrial) -> float:
    if trial.value is None:
        raise RuntimeError("a complete trial has a value")
    return trial.value


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # of a checkout that isn't installed
        return "unknown"
