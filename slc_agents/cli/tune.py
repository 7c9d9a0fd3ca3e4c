"""`slc-agents tune`: search for hyperparameters that do well on a task."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from slc_agents.agents.config import AgentConfig
from slc_agents.agents.loading import AGENTS, agent_class
from slc_agents.cli.exit_codes import INTERRUPTED
from slc_agents.cli.flags import add_hyperparameters, given_hyperparameters, positive_int, positive_number, seed
from slc_agents.cli.saved_agent import importable
from slc_agents.tuning import SearchSpace, Tuner, TuningResult
from slc_agents.tuning.space import NESTED
from slc_agents.tuning.task import BASE, REASON, SETTINGS
from slc_agents.tuning.tuner import NOT_FIXED, PRUNERS, SAMPLERS
from slc_agents.zoo.configs import DEFAULT_POLICY

if TYPE_CHECKING:
    import optuna

__all__ = ["add_command", "run"]

SHOWN = 3  # best trials in the table at the end
REASON_WIDTH = 100
FOLDER = Path("tuned")


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    algos = {name.lower(): agent.config_class for name, agent in AGENTS.items()}
    parser = commands.add_parser(
        "tune",
        usage="%(prog)s ALGO ENV_ID [options] [hyperparameters]",
        help="search for hyperparameters that do well on a task",
        description="Search for hyperparameters that do well on a task, with Optuna (the extra `tune`), and write the "
        "best into a file for `train --config`. A trial is a training with values from a search space, evaluated at "
        "equal intervals; its value is the mean of the last third of these evaluations. The first trial has the "
        "settings to start from as they are. Ctrl-C ends the search, and the best so far is written; with --storage "
        "the same command goes on with it, on several machines at the same time too.",
        epilog="example: slc-agents tune sac Pendulum-v1 --trials 50 --timesteps 20000 --storage sqlite:///study.db",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "algo", metavar="ALGO", type=str.lower, choices=list(algos), help=f"algorithm: {', '.join(algos)}"
    )
    parser.add_argument(
        "env_id", metavar="ENV_ID", help="id of a gymnasium environment, or module:id, where the module registers it"
    )
    _add_trial_options(parser.add_argument_group("trials"))
    _add_search_options(parser.add_argument_group("search"))
    add_hyperparameters(parser, algos, without=NOT_FIXED)


def _add_trial_options(options: argparse._ArgumentGroup) -> None:
    options.add_argument(
        "--trials",
        type=positive_int,
        default=50,
        metavar="N",
        help="trials that the study should have in all (default: 50)",
    )
    options.add_argument(
        "--timesteps",
        "--total-timesteps",
        type=positive_int,
        metavar="N",
        help="environment steps of each training (default: epochs * steps-per-epoch of the settings)",
    )
    options.add_argument(
        "--evaluations",
        type=positive_int,
        default=10,
        metavar="N",
        help="evaluations in the course of each training (default: 10)",
    )
    options.add_argument(
        "--eval-episodes",
        type=positive_int,
        default=5,
        metavar="N",
        help="episodes of each evaluation (default: 5)",
    )
    options.add_argument(
        "--seeds-per-trial",
        type=positive_int,
        default=1,
        metavar="N",
        help="trainings of each trial, with different seeds, whose mean counts (default: 1)",
    )
    options.add_argument(
        "--policy",
        metavar="NAME",
        help=f"the policy's name (default: that of the settings' file, else {DEFAULT_POLICY})",
    )
    options.add_argument(
        "--config",
        metavar="FILE",
        help="YAML file of the settings to start from, or zoo:NAME, as zoo:sac/default (default: the zoo's for ENV_ID, "
        "where it has one)",
    )


def _add_search_options(options: argparse._ArgumentGroup) -> None:
    options.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="YAML file of what is searched (default: the algorithm's own); hyperparameters that are given as options "
        "are not searched",
    )
    options.add_argument(
        "--print-space", action="store_true", help="print the space without what is fixed, as such a file"
    )
    options.add_argument(
        "--sampler",
        choices=SAMPLERS,
        default="tpe",
        help="what draws values: tpe learns from the trials before (default: tpe)",
    )
    options.add_argument(
        "--pruner",
        choices=PRUNERS,
        default="median",
        help="what gives up trials: median does so where the best evaluation so far is worse than the median of the "
        "trials before at that point (default: median)",
    )
    options.add_argument(
        "--startup-trials",
        type=positive_int,
        default=10,
        metavar="N",
        help="trials that are drawn at random, and not given up, at first (default: 10)",
    )
    options.add_argument("--seed", type=seed, metavar="S", help="seed of the study (default: its own, or a drawn one)")
    options.add_argument(
        "--storage",
        metavar="URL",
        help="database that keeps the study, such as sqlite:///study.db (default: none, it ends with the command)",
    )
    options.add_argument(
        "--study", metavar="NAME", help="name of the study (default: ALGO-ENV_ID; without --storage with date and time)"
    )
    options.add_argument("--jobs", type=positive_int, default=1, metavar="N", help="trials at once (default: 1)")
    options.add_argument(
        "--timeout", type=positive_number, metavar="MINUTES", help="begin no trial after that (default: no limit)"
    )
    options.add_argument(
        "--out", type=Path, metavar="FILE", help=f"file for the best settings (default: {FOLDER}/STUDY.yaml)"
    )
    options.add_argument("--quiet", action="store_true", help="show no progress, only the result")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    fixed = given_hyperparameters(args)
    if args.print_space:
        print(yaml.safe_dump(_space(args).without(fixed).to_dict(), sort_keys=False, default_flow_style=None), end="")
        return 0
    importable(args.env_id)
    tuner = Tuner(
        args.algo,
        args.env_id,
        timesteps=args.timesteps,
        policy=args.policy,
        config=args.config,
        space=args.space,
        evaluations=args.evaluations,
        eval_episodes=args.eval_episodes,
        seeds_per_trial=args.seeds_per_trial,
        sampler=args.sampler,
        pruner=args.pruner,
        startup_trials=args.startup_trials,
        storage=args.storage,
        study=args.study,
        seed=args.seed,
        **fixed,
    )
    progress = _Progress(tuner, args.trials)
    if not args.quiet:
        progress.begin()
    out = args.out or FOLDER / f"{tuner.study.study_name.replace('/', '__')}.yaml"
    result = tuner.run(
        args.trials,
        jobs=args.jobs,
        timeout=None if args.timeout is None else 60 * args.timeout,
        out=out,
        after_trial=[] if args.quiet else [progress.after_trial],
    )
    return _finish(result, tuner.space, out, args)


def _space(args: argparse.Namespace) -> SearchSpace:
    config_class = agent_class(args.algo).config_class
    return (
        SearchSpace.default(args.algo, config_class)
        if args.space is None
        else SearchSpace.read(args.space, config_class)
    )


class _Progress:
    """Prints a line for each trial.

    Args:
        tuner: What searches.
        trials: How many trials there should be.
    """

    def __init__(self, tuner: Tuner, trials: int) -> None:
        self.tuner, self.trials = tuner, trials
        self.result = TuningResult(tuner.study, tuner.task, tuner.seed)

    def begin(self) -> None:
        """Says what is searched."""
        task = self.tuner.task
        print(
            f"{task.algo.upper()} on {task.env_id}: {self.trials} trials of {task.timesteps:,} steps, study "
            f"{self.tuner.study.study_name}, seed {self.tuner.seed}"
        )
        print(f"searched: {', '.join(parameter.key for parameter in self.tuner.space.parameters)}")
        print(f"settings to start from: {self.tuner.source}")
        print(f"value of a trial: {self.result.describe_value()}", flush=True)
        if self._judged():
            print(f"going on after {self._judged()} trial{'s' * (self._judged() > 1)}", flush=True)

    def after_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Says what became of a trial; called by the search."""
        judged = f"{self._judged():>{len(str(self.trials))}}/{self.trials}"
        best = self.result.best
        leader = "" if best is None else f"   best {_number(best.value)} of trial {best.number}"
        start = "   (the settings to start from)" if BASE in trial.user_attrs else ""
        duration = 0.0 if trial.duration is None else trial.duration.total_seconds()
        print(f"{judged}   trial {trial.number}: {self._fate(trial)}{leader}   {duration:,.0f} s{start}", flush=True)

    def _judged(self) -> int:
        counts = self.result.counts()
        return sum(counts[name] for name in ("complete", "stopped", "diverged", "invalid"))

    def _fate(self, trial: optuna.trial.FrozenTrial) -> str:
        if trial.state.name == "COMPLETE":
            return _number(trial.value)
        reason = str(trial.user_attrs[REASON])
        if not reason.startswith("stopped"):
            return textwrap.shorten(reason, REASON_WIDTH, placeholder=" ...")
        steps = self.tuner.task.evaluations * self.tuner.task.seeds_per_trial
        return f"given up at evaluation {trial.last_step} of {steps} with {_number(trial.value)}"


def _finish(result: TuningResult, space: SearchSpace, out: Path, args: argparse.Namespace) -> int:
    """Says what was found; returns the exit code."""
    going_on = "the same command goes on" if args.storage else "without --storage it can't be gone on with"
    best, start = result.best, result.start
    if best is None and result.interrupted:
        print(f"interrupted before a trial was complete; {going_on}")
        return INTERRUPTED
    if best is None:
        result.settings  # noqa: B018 - says why there are none
    else:
        if not args.quiet:
            Console(file=sys.stdout, highlight=False).print(_table(result, space))
            print(f"trials: {', '.join(f'{number} {name}' for name, number in result.counts().items())}")
        compared = "" if start is None else f" (the settings to start from: {_number(start.value)})"
        print(f"best: {_number(best.value)} of trial {best.number}{compared}")
        print(f"its settings: {out}")
        print(f"train with them: {result.train_command(out)}", flush=True)
    if result.interrupted:
        print(f"interrupted; {going_on}")
        return INTERRUPTED
    return 0


def _table(result: TuningResult, space: SearchSpace) -> Table:
    """Makes the table of the best trials, with the importances where there are enough trials for them."""
    leaders, importances = result.leaders[:SHOWN], result.importances()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("parameter", overflow="fold")
    for trial in leaders:
        table.add_column(f"trial {trial.number}", justify="right", overflow="fold")
    if importances:
        table.add_column("importance", justify="right")
    table.add_row("value", *(_number(trial.value) for trial in leaders), end_section=True)
    configs = [agent_class(result.task.algo).config_class(**trial.user_attrs[SETTINGS]) for trial in leaders]
    for parameter in space.parameters:
        importance = [f"{importances.get(parameter.name, 0.0):.2f}"] if importances else []
        shown = [_value(config, parameter.names[0]) for config in configs]
        table.add_row(parameter.key.replace(f"{NESTED}.", ""), *shown, *importance)
    return table


def _value(config: AgentConfig, name: str) -> str:
    """Returns what a config has of a hyperparameter, or of one of the policy's keywords, in a few characters."""
    outer, nested, keyword = name.partition(".")
    value = getattr(config, outer)
    if nested:
        value = (value or {}).get(keyword, "default")
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3f}"
