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

from slc_agents.agents.backend import BACKENDS, DEFAULT_BACKEND
from slc_agents.agents.base import Agent
from slc_agents.agents.config import AgentConfig, SACConfig
from slc_agents.agents.evaluation import evaluate_agent
from slc_agents.agents.files import versions
from slc_agents.agents.loading import AGENTS, agent_class, load
from slc_agents.callbacks import CallbackLike, ProgressBarCallback
from slc_agents.callbacks.saving import AGENT_FILE, CONFIG_FILE
from slc_agents.cli.curves import CURVE_FILE, draw_run
from slc_agents.cli.evaluate import score_line
from slc_agents.cli.exit_codes import INTERRUPTED
from slc_agents.cli.flags import add_hyperparameters, given_hyperparameters, positive_int
from slc_agents.cli.formatting import count
from slc_agents.cli.launch import FINISHED, Launch, command_line
from slc_agents.cli.launch import INTERRUPTED as WAS_INTERRUPTED
from slc_agents.cli.multi_seed import EVALUATION_FILE, MultiSeedPlan, parse_seeds, seed_folders, unfinished
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
from slc_agents.compat.sb3 import read_zoo_config
from slc_agents.compute import threads_each
from slc_agents.errors import ArchiveError, ConfigError, MissingDependencyError, UntrustedCodeError
from slc_agents.logger import PROGRESS_FILE, make_logger
from slc_agents.seeding import draw_seed
from slc_agents.zoo import ConfigFile, find_settings

__all__ = ["add_command", "run"]

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
        help="MlpPolicy, CnnPolicy, MultiInputPolicy or GSDEPolicy (default: that of the settings, else MlpPolicy)",
    )
    options.add_argument(
        "--backend",
        choices=BACKENDS,
        help=f"what computes (default: {DEFAULT_BACKEND}); tf2, TensorFlow, needs the extra of this name",
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
        "--config",
        metavar="FILE",
        help="YAML file of settings, or zoo:NAME, as zoo:sac/default (default: the zoo's for ENV_ID, where it has one)",
    )
    options.add_argument(
        "--sb3-config",
        type=Path,
        metavar="FILE",
        help="YAML file of RL Baselines3 Zoo with settings for ENV_ID, which says the policy too",
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
    agent = agent_class(args.algo, args.backend or DEFAULT_BACKEND)
    if args.seeds is not None:
        return _begin_seeds(args, agent, overrides)
    config, settings, policy, source = _settings(args, agent.config_class, overrides)
    folder = _folder(config)
    refuse_used(folder)
    with settings.placing_errors(overrides):
        model = agent(policy, args.env_id, config)
    plan = _plan(args, policy, model.config)
    plan.write(folder)
    said = f"{agent.__name__} on {args.env_id}, seed {model.seed}; {_origin(source, overrides)}"
    with RunLog(folder, quiet=args.quiet) as log:
        return _run(model, plan, folder, args, log, said)


def _begin_seeds(args: argparse.Namespace, agent: type[Agent[Any]], overrides: Mapping[str, Any]) -> int:
    """Plans a run for each seed, and trains them. What is wrong with the settings shows before."""
    config, settings, policy, source = _settings(args, agent.config_class, {**overrides, "seed": args.seeds[0]})
    out = Path(config.logger_kwargs["output_dir"]).expanduser()
    refuse_used(out)
    configs = [
        config.replace(seed=seed, logger_kwargs={**config.logger_kwargs, "output_dir": str(out / f"seed-{seed}")})
        for seed in args.seeds
    ]
    folders = [_folder(config) for config in configs]
    for folder in folders:
        refuse_used(folder)
    with settings.placing_errors(overrides):
        first = agent(policy, args.env_id, configs[0])
    if first.env is not None:
        first.env.close()
    for folder, own in zip(folders, configs, strict=True):
        _plan(args, policy, own).write(folder)
    jobs = min(args.jobs or 1, len(configs))
    relative = {seed: str(folder.relative_to(out)) for seed, folder in zip(args.seeds, folders, strict=True)}
    plan = MultiSeedPlan(relative, jobs, threads_each(config.compute_kwargs, jobs))
    if not args.quiet:
        print(f"{agent.__name__} on {args.env_id}, {_about(plan)}; {_origin(source, overrides)}", flush=True)
    launch = Launch.begin(args.arguments, versions(first))
    return train_seeds(out, plan, launch, _options(args), quiet=args.quiet)


def _origin(source: str, overrides: Mapping[str, Any]) -> str:
    """Says where the settings come from."""
    changed = f", with {', '.join(overrides)} from the command line" if overrides else ""
    return f"settings: {source}{changed}"


def _resume(args: argparse.Namespace) -> int:
    """Goes on with a run, or with those of several seeds."""
    folder = args.resume
    own = ("policy", "backend", "total_timesteps", "out", "seeds", "config", "sb3_config", "eval_episodes")
    options = (*own, "checkpoint_freq")
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
            agent = agent_class(plan.algo, plan.backend)
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


def _plan(args: argparse.Namespace, policy: str, config: AgentConfig) -> RunPlan:
    return RunPlan(
        args.algo,
        args.env_id,
        policy,
        args.total_timesteps,
        args.eval_episodes or EVAL_EPISODES,
        args.checkpoint_freq,
        CHECKPOINT_SECONDS if args.checkpoint_freq is None else None,
        config.to_dict(),
        command=command_line(args.arguments),
        backend=args.backend or DEFAULT_BACKEND,
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


def _settings(
    args: argparse.Namespace, config_class: type[AgentConfig], overrides: Mapping[str, Any]
) -> tuple[AgentConfig, ConfigFile, str, str]:
    """Returns the settings, the file that they come from, the policy, and what to call their source."""
    if args.sb3_config is not None:
        if args.config is not None or args.policy is not None or config_class is not SACConfig:
            args.parser.error("--sb3-config is for sac, and goes with neither --config nor --policy")
        env_id = args.env_id.rpartition(":")[2]
        theirs = read_zoo_config(args.sb3_config, env_id, **{**overrides, **_completions(args, overrides)})
        return theirs.config, ConfigFile(Path(), {}, {}), theirs.policy, f"{args.sb3_config}, of RL Baselines3 Zoo"
    settings, source = find_settings(args.algo, args.env_id, args.config)
    return _make_config(args, config_class, settings, overrides), settings, args.policy or settings.policy, source


def _make_config(
    args: argparse.Namespace, config_class: type[AgentConfig], settings: ConfigFile, overrides: Mapping[str, Any]
) -> AgentConfig:
    completions = _completions(args, {**settings.values, **overrides})
    # What completes the file's values counts as the file's, so that an error about them says where they stand.
    settings = dataclasses.replace(settings, values={**settings.values, **completions})
    return settings.make(config_class, **{name: completions.get(name, value) for name, value in overrides.items()})


def _completions(args: argparse.Namespace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a seed and a run folder beside the values, which the folder's name and the export need."""
    seed, logger_kwargs = values.get("seed"), values.get("logger_kwargs") or {}
    seed = draw_seed() if seed is None else seed
    if isinstance(logger_kwargs, Mapping):  # if it isn't, validation says so
        name = f"seed{seed}" if args.seeds is None else "seeds"
        folder = args.out or logger_kwargs.get("output_dir") or _default_folder(args, name)
        logger_kwargs = {**logger_kwargs, "output_dir": str(folder)}
    return {"seed": seed, "logger_kwargs": logger_kwargs}


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
