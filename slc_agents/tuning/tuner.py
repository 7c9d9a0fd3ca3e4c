"""`Tuner`: from a task to the hyperparameters that did best on it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import gymnasium

from slc_agents.agents.config import AgentConfig
from slc_agents.agents.loading import agent_class
from slc_agents.envs import make_vector_env
from slc_agents.errors import ConfigError, check_number, check_path, check_whole_number, require
from slc_agents.tuning.results import TuningResult, check_out
from slc_agents.tuning.space import NOT_SEARCHED, SearchSpace
from slc_agents.tuning.task import Task, agree, study_name
from slc_agents.tuning.training import TrialPlan
from slc_agents.zoo import find_settings
from slc_agents.zoo.configs import DEFAULT_POLICY

if TYPE_CHECKING:
    import optuna

__all__ = ["NOT_FIXED", "PRUNERS", "SAMPLERS", "Tuner"]

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "none")
# Hyperparameters that say nothing of how well an agent learns: no trial would obey them.
NOT_FIXED = {name: why for name, why in NOT_SEARCHED.items() if name not in ("opt_type", "max_ep_len")}


class Tuner:
    """Searches for hyperparameters that do well on a task.

    A trial is a training with values drawn from a search space, laid on the settings to start from. It is evaluated at
    equal intervals; its value is the mean return (for costs, the mean cost) of the last third of these evaluations. A
    trial that isn't promising is given up early; one that diverges counts as given up. The first trial has the settings
    to start from as they are.

    With a storage the study lives on: a `Tuner` with the same storage and study goes on with it, in another process or
    on another machine, at the same time too.

    Args:
        algo: Name of the algorithm, such as `sac`.
        env_id: Id of the environment, or `module:id`, where the module registers it.
        timesteps: Environment steps of each training. None: as many as the settings say.
        env: A factory of the environment, where the id alone doesn't make it.
        policy: Name or class of the policy. None: that of the settings' file, else `MlpPolicy`.
        config: The settings to start from: a YAML file's path, a name in the zoo (`zoo:sac/default`) or a config.
            None: the zoo's, where it has some for the task, else the defaults.
        space: What is searched: a YAML file's path, a mapping like one, or a `SearchSpace`. None: the algorithm's own.
        evaluations: Evaluations in the course of each training, the last one at its end.
        eval_episodes: Episodes of each evaluation.
        seeds_per_trial: Trainings of each trial, with different seeds; their mean counts.
        sampler: What draws values: `tpe`, which learns from the trials before, or `random`.
        pruner: What gives up trials: `median`, where the best evaluation so far is worse than the median of what
            others had at that point, or `none`.
        startup_trials: Trials that are drawn at random, and not given up, before sampler and pruner know enough.
        storage: What keeps the study: the URL of a database, such as `sqlite:///study.db`, or one of Optuna's storages.
            None: it ends with the process.
        study: Name of the study. None: of algorithm and environment; without a storage with date and time.
        seed: What all randomness follows from. None: the study's own, or one that is drawn.
        **hyperparameters: Hyperparameters that replace those of the settings, and are not searched.

    Attributes:
        study: The study of Optuna's.
        space: What is searched.
        task: What all trials have in common.
        source: What to call the settings to start from.
        seed: The study's seed.

    Raises:
        MissingDependencyError: If Optuna is not installed.
        ConfigError: If a value is not allowed, the space isn't valid for this task, the storage can't be opened, or the
            study was begun otherwise.
        TypeError: If a keyword is no hyperparameter.
    """

    def __init__(
        self,
        algo: str,
        env_id: str,
        *,
        timesteps: int | None = None,
        env: Callable[[], gymnasium.Env[Any, Any]] | None = None,
        policy: str | type | None = None,
        config: str | os.PathLike[str] | AgentConfig | None = None,
        space: str | os.PathLike[str] | Mapping[str, Any] | SearchSpace | None = None,
        evaluations: int = 10,
        eval_episodes: int = 5,
        seeds_per_trial: int = 1,
        sampler: Literal["tpe", "random"] = "tpe",
        pruner: Literal["median", "none"] = "median",
        startup_trials: int = 10,
        storage: str | optuna.storages.BaseStorage | None = None,
        study: str | None = None,
        seed: int | None = None,
        **hyperparameters: Any,
    ) -> None:
        require("optuna", "tune", "tuning hyperparameters")
        from slc_agents.tuning.study import make_pruner, make_sampler, open_study

        for name, value, allowed in (("sampler", sampler, SAMPLERS), ("pruner", pruner, PRUNERS)):
            if value not in allowed:
                raise ConfigError(f"{name}={value!r}: allowed are {', '.join(allowed)}")
        startup_trials = check_whole_number("startup_trials", startup_trials)
        agent = agent_class(algo)
        start, policy, self.source = _start(algo.lower(), env_id, config, policy, hyperparameters)
        settings = _plain_settings(start, hyperparameters)
        length = start.epochs * start.steps_per_epoch if timesteps is None else timesteps
        self._plan = TrialPlan(
            algo=algo.lower(),
            env=env_id if env is None else env,
            policy=policy,
            settings=settings,
            seeds=(),
            timesteps=check_whole_number("timesteps", length),
            evaluations=check_whole_number("evaluations", evaluations),
            eval_episodes=check_whole_number("eval_episodes", eval_episodes),
        )
        if self._plan.evaluations > self._plan.timesteps:
            raise ConfigError(f"evaluations={evaluations}: a training has only {self._plan.timesteps} steps")
        self.space = _read_space(space, algo.lower(), agent.config_class).without(hyperparameters).effective(start)
        self._units = _check_space(self.space, self._plan)
        self.task = Task(
            algo=self._plan.algo,
            env_id=env_id,
            policy=policy if isinstance(policy, str) else f"{policy.__module__}.{policy.__qualname__}",
            opt_type=start.opt_type,
            timesteps=self._plan.timesteps,
            evaluations=self._plan.evaluations,
            eval_episodes=self._plan.eval_episodes,
            seeds_per_trial=check_whole_number("seeds_per_trial", seeds_per_trial),
            settings=settings,
            space=self.space.to_dict(),
        )
        self.study: optuna.Study = open_study(storage, study or study_name(self.task, storage), start.opt_type)
        self.seed = agree(self.study, self.task, seed)
        self.study.sampler = make_sampler(sampler, self.space, seed=self.seed, startup_trials=startup_trials)
        self.study.pruner = make_pruner(pruner, evaluations=self._plan.evaluations, startup_trials=startup_trials)

    def run(
        self,
        trials: int = 50,
        *,
        jobs: int = 1,
        timeout: float | None = None,
        out: str | os.PathLike[str] | None = None,
        after_trial: Sequence[Callable[[optuna.Study, optuna.trial.FrozenTrial], object]] = (),
    ) -> TuningResult:
        """Runs trials until the study has as many as it should. Ctrl-C ends it, and what was found is returned.

        With one job, the same seed gives the same study, also where it is interrupted and gone on with. Several jobs
        train in processes of their own, begun as Python's multiprocessing does: a script that calls this needs
        `if __name__ == "__main__":`.

        Args:
            trials: How many the study should have in all, those of earlier runs and of other machines included. Trials
                that were interrupted don't count.
            jobs: How many train at once.
            timeout: Seconds after which no new trial begins. None: no limit.
            out: A YAML file for the best settings so far, rewritten at each new best.
            after_trial: Called after each trial with the study and the trial, as Optuna's callbacks are.

        Raises:
            ValueError: If a number is out of range.
            ConfigError: If `out` is a file that holds something else.
            WorkerError: If the process of a trial has died.
        """
        from slc_agents.tuning.study import Search

        trials, jobs = check_whole_number("trials", trials), check_whole_number("jobs", jobs)
        timeout = None if timeout is None else check_number("timeout", timeout, minimum=0)
        target = None if out is None else check_path("out", out)
        if target is not None:
            check_out(target, self.study.study_name)
        result = TuningResult(self.study, self.task, self.seed)

        def write_best(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if target is not None and result.best is not None and result.best.number == trial.number:
                result.write(target)

        search = Search(
            self.study,
            self.space,
            self._units,
            self._plan,
            seed=self.seed,
            seeds_per_trial=self.task.seeds_per_trial,
            after_trial=[write_best, *after_trial],
        )
        result.interrupted = not search.run(trials, jobs=jobs, timeout=timeout)
        if target is not None and result.best is not None:
            result.write(target)  # once more, since the number of trials stands in it
        return result


class _Start(NamedTuple):
    """What a search starts from."""

    config: AgentConfig
    policy: str | type
    source: str


def _start(
    algo: str,
    env_id: str,
    config: str | os.PathLike[str] | AgentConfig | None,
    policy: str | type | None,
    fixed: Mapping[str, Any],
) -> _Start:
    """Finds the settings to start from."""
    for name in fixed:
        if name in NOT_FIXED:
            raise TypeError(f"Tuner has no keyword {name!r}: {NOT_FIXED[name]}")
    config_class = agent_class(algo).config_class
    if isinstance(config, AgentConfig):
        if not isinstance(config, config_class):
            raise TypeError(f"config: received {config!r:.60}; a {config_class.__name__} is needed")
        return _Start(config.replace(**fixed), policy or DEFAULT_POLICY, "the config given")
    if config is not None:
        check_path("config", config)
    file, source = find_settings(algo, env_id, config)
    return _Start(file.make(config_class, **fixed), policy or file.policy, source)


def _plain_settings(config: AgentConfig, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a file needs to say of a config: what was given, and what isn't the default."""
    values, defaults = config.to_dict(), type(config)().to_dict()
    settings = {name: value for name, value in values.items() if value != defaults[name] or name in fixed}
    for name, value in settings.items():
        try:
            json.dumps(value)
        except TypeError:
            raise ConfigError(
                f"{name}={value!r:.60}: can't be written into a file of settings; give numbers, names and schedules"
            ) from None
    return settings


def _read_space(space: Any, algo: str, config_class: type[AgentConfig]) -> SearchSpace:
    if space is None:
        return SearchSpace.default(algo, config_class)
    if isinstance(space, SearchSpace):
        return space
    if isinstance(space, Mapping):
        return SearchSpace.from_dict(space, config_class)
    return SearchSpace.read(space, config_class)


def _check_space(space: SearchSpace, plan: TrialPlan) -> dict[str, int]:
    """Checks that the task, the settings and all of the space go together; returns what `times` stands for."""
    if not space.parameters:
        raise ConfigError("space: there is nothing to search: it is empty, or all that it has is fixed")
    agent = agent_class(plan.algo)
    env = make_vector_env(plan.env)

    def try_out(config: AgentConfig) -> None:
        agent(plan.policy, env, config.replace(n_envs=1, logger_kwargs={}, export=False))

    try:
        try_out(agent.config_class(**plan.settings))
        units = {"timesteps": plan.timesteps, "action_dimensions": math.prod(env.single_action_space.shape or ())}
        space.check(plan.settings, units, agent.config_class, try_out)
    finally:
        env.close()
    return units
