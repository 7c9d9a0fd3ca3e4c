"""`slc-agents train`: train an agent, evaluate it, write its run folder."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shlex
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slc_agents.agents.base import Agent
from slc_agents.agents.config import AgentConfig
from slc_agents.agents.files import versions
from slc_agents.agents.loading import AGENTS, agent_class, load
from slc_agents.callbacks import CallbackLike, ProgressBarCallback
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.cli.curves import CURVE_FILE, draw_run
from slc_agents.cli.evaluate import evaluate_agent, score_line
from slc_agents.cli.exit_codes import INTERRUPTED
from slc_agents.cli.flags import add_hyperparameters, given_hyperparameters, positive_int
from slc_agents.cli.formatting import count
from slc_agents.cli.launch import FINISHED, Launch, command_line
from slc_agents.cli.launch import INTERRUPTED as WAS_INTERRUPTED
from slc_agents.cli.multi_seed import EVALUATION_FILE, MultiSeedPlan, parse_seeds, seed_folders, threads, unfinished
from slc_agents.cli.run_folder import (
    RunCheckpoints,
    RunPlan,
    checkpoints,
    finish,
    refuse_used,
    remove_partial_files,
    write_json,
)
from slc_agents.cli.run_log import EpochLines, RunLog
from slc_agents.cli.saved_agent import importable
from slc_agents.cli.train_seeds import train_seeds
from slc_agents.errors import ArchiveError, ConfigError, MissingDependencyError, UntrustedCodeError
from slc_agents.logger import PROGRESS_FILE, make_logger
from slc_agents.seeding import draw_seed
from slc_agents.zoo import ConfigFile, config_path, list_configs, read_config_file

__all__ = ["add_command", "run"]

POLICY = "MlpPolicy"
EVAL_EPISODES = 50
CHECKPOINT_SECONDS = 60.0


def add_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Adds the command to the parser of all commands."""
    algos = {name.lower(): agent.config_class for name, agent in AGENTS.items()}
    parser = commands.add_parser(
        "train",
        usage="%(prog)s ALGO ENV_ID [options] [hyperparameters]\n       %(prog)s --resume RUN",
        help="train an agent, evaluate it, write its run folder",
        description="Train an agent, evaluate it at the end, and write the agent, its settings, the log, a learning "
        "curve and the evaluation into a run folder. Ctrl-C ends training early, and all the rest is still done; after "
        "that, and after any other end, `--resume RUN` goes on exactly where the last checkpoint was written. "
        "`--seeds` trains several seeds, each in a process and a run folder of its own.",
        epilog="example: slc-agents train sac Pendulum-v1 --total-timesteps 20000 --seed 1 --lr-a 1e-3 --out runs/x",
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser.add_argument(
        "algo", metavar="ALGO", nargs="?", type=str.lower, choices=list(algos), help=f"algorithm: {', '.join(algos)}"
    )
    parser.add_argument(
        "env_id",
        metavar="ENV_ID",
        nargs="?",
        help="id of a gymnasium environment, or module:id, where the module registers it",
    )
    options = parser.add_argument_group("run")
    options.add_argument(
        "--policy",
        metavar="NAME",
        help=f"MlpPolicy, CnnPolicy, MultiInputPolicy or GSDEPolicy (default: {POLICY})",
    )
    options.add_argument(
        "--total-timesteps",
        type=positive_int,
        metavar="N",
        help="environment steps (default: epochs * steps-per-epoch)",
    )
    options.add_argument(
        "--out", type=Path, metavar="DIR", help="the run folder (default: runs/ALGO-ENV_ID-seedSEED-DATE-TIME)"
    )
    options.add_argument(
        "--seeds",
        type=parse_seeds,
        metavar="SEEDS",
        help="train several seeds, such as 0..4 or 0,3,7, in the run folders DIR/seed-0, ...",
    )
    options.add_argument(
        "--jobs",
        type=positive_int,
        metavar="N",
        help="how many of the seeds train at once; they share the processors' threads (default: 1)",
    )
    options.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file of settings (default: the zoo's, where it has one)"
    )
    options.add_argument(
        "--eval-episodes",
        type=positive_int,
        metavar="N",
        help=f"episodes of the evaluation (default: {EVAL_EPISODES})",
    )
    options.add_argument(
        "--checkpoint-freq",
        type=positive_int,
        metavar="N",
        help="environment steps between two checkpoints, from which --resume goes on "
        f"(default: by time, every {CHECKPOINT_SECONDS} seconds)",
    )
    options.add_argument("--quiet", action="store_true", help="show no progress, only the result")
    resuming = parser.add_argument_group("going on with a run that was interrupted or killed")
    resuming.add_argument("--resume", type=Path, metavar="RUN", help="the run's folder; all settings are the run's own")
    resuming.add_argument(
        "--trust",
        action="store_true",
        help="let code run that the checkpoint holds, such as an environment that could only be pickled",
    )
    add_hyperparameters(parser, algos)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    return _begin(args) if args.resume is None else _resume(args)


def _begin(args: argparse.Namespace) -> int:
    """Begins a run, or one for each of several seeds."""
    missing = [name for name, value in (("ALGO", args.algo), ("ENV_ID", args.env_id)) if value is None]
    if missing:
        args.parser.error(f"missing: {', '.join(missing)} (or --resume RUN, to go on with a run)")
    if args.trust:
        args.parser.error("--trust goes with --resume")
    overrides = given_hyperparameters(args)
    if args.seeds is None and args.jobs is not None:
        args.parser.error("--jobs goes with --seeds")
    if args.seeds is not None and "seed" in overrides:
        args.parser.error("--seed and --seeds: give one of them")
    importable(args.env_id)
    agent = agent_class(args.algo)
    settings, source = _settings(args, agent.config_class)
    changed = f", with {', '.join(overrides)} from the command line" if overrides else ""
    said = f"settings: {source}{changed}"
    if args.seeds is not None:
        return _begin_seeds(args, agent, settings, overrides, said)
    config = _make_config(args, agent.config_class, settings, overrides)
    folder = _folder(config)
    refuse_used(folder)
    model = agent(args.policy or POLICY, args.env_id, config)
    plan = _plan(args, model.config)
    plan.write(folder)
    with RunLog(folder, quiet=args.quiet) as log:
        return _run(model, plan, folder, args, log, f"{agent.__name__} on {args.env_id}, seed {model.seed}; {said}")


def _begin_seeds(
    args: argparse.Namespace,
    agent: type[Agent[Any]],
    settings: ConfigFile,
    overrides: Mapping[str, Any],
    said: str,
) -> int:
    """Plans a run for each seed, and trains them. What is wrong with the settings shows before."""
    given = {**settings.values, **overrides}.get("logger_kwargs") or {}
    out = args.out or (isinstance(given, Mapping) and given.get("output_dir")) or _default_folder(args, "seeds")
    out = Path(out).expanduser()
    refuse_used(out)
    configs = {}
    for seed in args.seeds:
        configs[seed] = _make_config(
            args, agent.config_class, settings, {**overrides, "seed": seed}, out / f"seed-{seed}"
        )
        refuse_used(_folder(configs[seed]))
    first = agent(args.policy or POLICY, args.env_id, next(iter(configs.values())))
    if first.env is not None:
        first.env.close()
    for config in configs.values():
        _plan(args, config).write(_folder(config))
    jobs = min(args.jobs or 1, len(configs))
    plan = MultiSeedPlan(
        {seed: str(_folder(config).relative_to(out)) for seed, config in configs.items()},
        jobs,
        threads(first.config.compute_kwargs, jobs),
    )
    if not args.quiet:
        print(f"{agent.__name__} on {args.env_id}, {_about(plan)}; {said}", flush=True)
    launch = Launch.begin(args.arguments, versions(first))
    return train_seeds(out, plan, launch, _options(args), quiet=args.quiet)


def _resume(args: argparse.Namespace) -> int:
    """Goes on with a run, or with those of several seeds."""
    folder = args.resume
    options = ("policy", "total_timesteps", "out", "config", "eval_episodes", "checkpoint_freq", "seeds")
    given = [*(name for name in options if getattr(args, name) is not None), *given_hyperparameters(args)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        args.parser.error(f"--resume goes on with the run's own settings: leave out {flags}")
    seeds = seed_folders(folder)
    if seeds is not None:
        return _resume_seeds(args, seeds)
    if args.jobs is not None:
        args.parser.error("--jobs goes with --seeds, or with --resume of a folder of several seeds")
    plan = _read_plan(args, folder)
    if plan.finished:
        raise ConfigError(f"--resume {folder}: this run has reached its end; there is nothing to go on with")
    importable(plan.env_id)
    remove_partial_files(folder)
    with RunLog(folder, quiet=args.quiet) as log:
        model = _from_checkpoint(plan, folder, trust=args.trust)
        goes_on = "" if model is None else f"; going on after {model.num_timesteps:,} steps"
        if model is None:  # it was killed before there was one, or has only been planned
            for name in (AGENT_FILE, CONFIG_FILE, PROGRESS_FILE):
                (folder / name).unlink(missing_ok=True)
            agent = agent_class(plan.algo)
            config = agent.config_class(**{**plan.config, "logger_kwargs": _logger_kwargs(plan, folder)})
            model = agent(plan.policy, plan.env_id, config)
        said = f"{type(model).__name__} on {plan.env_id}, seed {model.seed}{goes_on}"
        return _run(model, plan, folder, args, log, said)


def _resume_seeds(args: argparse.Namespace, seeds: Mapping[int, Path]) -> int:
    """Goes on with those of several seeds that have not reached their end."""
    folder = args.resume
    plan = MultiSeedPlan.read(folder)
    for seed_folder in seeds.values():
        _read_plan(args, seed_folder)
    left = unfinished(seeds)
    if not left:
        raise ConfigError(f"--resume {folder}: all seeds have reached their end; there is nothing to go on with")
    # Threads as they were, for results to be the same; unless the environment says otherwise.
    plan = dataclasses.replace(
        plan, jobs=args.jobs or plan.jobs, threads=os.environ.get("OMP_NUM_THREADS") or plan.threads
    )
    if not args.quiet:
        print(f"{_about(plan)}; going on with {', '.join(map(str, left))}", flush=True)
    return train_seeds(folder, plan, Launch.begin(args.arguments, {}), _options(args), quiet=args.quiet)


def _read_plan(args: argparse.Namespace, folder: Path) -> RunPlan:
    """Reads what a run is to be; algorithm and environment may be given, but no others."""
    plan = RunPlan.read(folder)
    if (args.algo or plan.algo) != plan.algo or (args.env_id or plan.env_id) != plan.env_id:
        raise ConfigError(f"--resume {folder}: this run is of {plan.algo} on {plan.env_id}; leave these out")
    return plan


def _plan(args: argparse.Namespace, config: AgentConfig) -> RunPlan:
    return RunPlan(
        args.algo,
        args.env_id,
        args.policy or POLICY,
        args.total_timesteps,
        args.eval_episodes or EVAL_EPISODES,
        args.checkpoint_freq,
        CHECKPOINT_SECONDS if args.checkpoint_freq is None else None,
        config.to_dict(),
        command=command_line(args.arguments),
    )


def _about(plan: MultiSeedPlan) -> str:
    """Says how several seeds are trained."""
    n, seeds = count(len(plan.folders), "seed"), ", ".join(map(str, plan.folders))
    threads = count(int(plan.threads), "thread") if plan.threads.isdecimal() else f"OMP_NUM_THREADS={plan.threads}"
    return f"{n} ({seeds}), {plan.jobs} at once with {threads} each"


def _options(args: argparse.Namespace) -> list[str]:
    """Returns what the command of each of several seeds gets beside its folder."""
    return [flag for flag in ("--trust", "--debug") if getattr(args, flag.removeprefix("--"), False)]


def _from_checkpoint(plan: RunPlan, folder: Path, *, trust: bool) -> Agent[Any] | None:
    """Loads the newest checkpoint that can be read; None where there is none at all."""
    problem: ArchiveError | None = None
    for path in checkpoints(folder):
        try:
            return load(path, plan.env_id, trust=trust, logger_kwargs=_logger_kwargs(plan, folder))
        except UntrustedCodeError:
            raise
        except ArchiveError as error:
            problem = error
            warnings.warn(f"{error}; looking for an earlier checkpoint", stacklevel=2)
    if problem is not None:
        raise problem
    return None


def _logger_kwargs(plan: RunPlan, folder: Path) -> dict[str, Any]:
    """Returns the run's `logger_kwargs` with the folder as it is called now: it may have been moved."""
    kwargs = dict(plan.config["logger_kwargs"])
    inside = Path(kwargs.get("exp_name") or "")  # the run's folder is then output_dir/exp_name
    if inside.parts and folder.match(str(inside)):
        return {**kwargs, "output_dir": str(folder.parents[len(inside.parts) - 1])}
    return {**kwargs, "exp_name": None, "output_dir": str(folder)}


def _run(model: Agent[Any], plan: RunPlan, folder: Path, args: argparse.Namespace, log: RunLog, said: str) -> int:
    """Trains to the end, and does all that follows; returns the exit code."""
    log.say(said)
    began = time.monotonic()
    plan = plan.begin_launch(Launch.begin(args.arguments, versions(model)))
    plan.write(folder)
    outcome = None
    try:
        interrupted = _train(model, plan, folder, log)
        if interrupted and model.run is not None:
            done = model.num_timesteps - model.run.start
            log.tell(f"interrupted after {done:,} of {model.run.total:,} steps")
        _finish(model, plan, folder, log)
        outcome = WAS_INTERRUPTED if interrupted else FINISHED
    except KeyboardInterrupt:
        outcome = WAS_INTERRUPTED
        raise
    except Exception as error:
        outcome = f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
        raise
    finally:
        model.logger.close()
        if model.env is not None:
            model.env.close()
        if outcome is not None:
            plan.end_launch(outcome, time.monotonic() - began).write(folder)
    if interrupted:
        log.tell(f"go on: {shlex.join(['slc-agents', 'train', '--resume', str(folder)])}")
        return INTERRUPTED
    finish(folder)
    return 0


def _train(model: Agent[Any], plan: RunPlan, folder: Path, log: RunLog) -> bool:
    """Trains; returns whether Ctrl-C ended it."""
    on_terminal = sys.stdout.isatty()
    lines = EpochLines(model, log.keep if on_terminal else log.say, log.keep)
    model.logger.sinks = (*model.logger.sinks, lines)
    callbacks: list[CallbackLike] = [RunCheckpoints(folder, plan)]
    if on_terminal and not log.quiet:
        callbacks.append(ProgressBarCallback())
    if model.is_interrupted:
        model.resume(callbacks)
    else:
        model.learn(plan.total_timesteps, callbacks)
    return model.is_interrupted


def _finish(model: Agent[Any], plan: RunPlan, folder: Path, log: RunLog) -> None:
    """Does what follows training: the evaluation, the curve, and saying where all of it is."""
    try:
        log.say(f"evaluating, {count(plan.eval_episodes, 'episode')} ...")
        evaluation = evaluate_agent(model, plan.env_id, plan.eval_episodes)
        about = {"env": plan.env_id, "timesteps": model.num_timesteps}
        write_json(folder / EVALUATION_FILE, {**about, **evaluation})
        log.tell(score_line(model, evaluation))
    except KeyboardInterrupt:
        log.tell(f"not evaluated; later: slc-agents evaluate {folder}")
        raise
    finally:
        _draw_curve(folder, log)
        log.tell(f"run folder: {folder}")


def _draw_curve(folder: Path, log: RunLog) -> None:
    if not (folder / PROGRESS_FILE).exists():
        log.tell("no learning curve: training ended before the first epoch did")
        return
    try:
        draw_run(folder, folder / CURVE_FILE)
    except MissingDependencyError as error:
        log.tell(f"no learning curve: {error}")


def _settings(args: argparse.Namespace, config_class: type[AgentConfig]) -> tuple[ConfigFile, str]:
    """Returns the settings to start from, and what to call them."""
    if args.config is not None:
        return read_config_file(args.config), str(args.config)
    env_id = args.env_id.rpartition(":")[2]
    name = f"{args.algo}/{env_id}"
    if name in list_configs():
        return read_config_file(config_path(args.algo, env_id)), f"the zoo's for {name}"
    nothing = ConfigFile(Path(), {}, {})
    return nothing, f"the defaults of {config_class.__name__}, since the zoo has none for {name}"


def _make_config(
    args: argparse.Namespace,
    config_class: type[AgentConfig],
    settings: ConfigFile,
    overrides: Mapping[str, Any],
    out: Path | None = None,
) -> AgentConfig:
    """Makes the config, with a seed and a run folder in it, which the folder's name and the export need."""
    values = {**settings.values, **overrides}
    seed, logger_kwargs = values.get("seed"), values.get("logger_kwargs") or {}
    seed = draw_seed() if seed is None else seed
    if isinstance(logger_kwargs, Mapping):  # if it isn't, validation says so
        folder = out or args.out or logger_kwargs.get("output_dir") or _default_folder(args, f"seed{seed}")
        logger_kwargs = {**logger_kwargs, "output_dir": str(folder)}
    return settings.make(config_class, **{**overrides, "seed": seed, "logger_kwargs": logger_kwargs})


def _default_folder(args: argparse.Namespace, seeds: str) -> Path:
    name = f"{args.algo}-{args.env_id}-{seeds}-{time.strftime('%Y%m%d-%H%M%S')}".replace("/", "__")
    folder = Path("runs") / re.sub(r"[^\w.-]", "_", name)
    number, unused = 2, folder
    while unused.exists():
        unused, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return unused


def _folder(config: AgentConfig) -> Path:
    folder = make_logger(**config.logger_kwargs).output_dir
    if folder is None:
        raise RuntimeError("the config has a run folder")
    return folder
