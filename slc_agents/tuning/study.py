"""The search itself: a study of Optuna's, whose trials are trainings. The only module that needs Optuna to be imported.

Trials are asked for and told one by one, so that one process owns the study, whether it trains itself or lets others
train. Whatever ends that process, the study goes on from its storage.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Literal, TypeAlias

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from slc_agents.compute import threads_each
from slc_agents.errors import ConfigError
from slc_agents.seeding import make_seed
from slc_agents.training.interrupt import Interrupt
from slc_agents.tuning.space import SearchSpace, Units, lay
from slc_agents.tuning.task import BASE, REASON, SEEDS, SETTINGS
from slc_agents.tuning.training import Outcome, TrialPlan, run_trial
from slc_agents.tuning.workers import Worker

__all__ = ["AfterTrial", "Search", "make_pruner", "make_sampler", "open_study", "param_importances"]

AfterTrial: TypeAlias = Callable[[optuna.Study, FrozenTrial], object]

JUDGED = (TrialState.COMPLETE, TrialState.PRUNED)  # what counts as a trial; one that was broken off doesn't
INTERRUPT_SECONDS = 0.2  # between two looks whether Ctrl-C was pressed, while others train
ENOUGH_FOR_IMPORTANCES = 20  # complete trials: the best tenth of them is compared with all


class Search:
    """Goes through a study's trials.

    The first of them has the settings that the search starts from, unchanged, so that one sees what it has brought.

    Args:
        study: The study.
        space: What is searched.
        units: What `times` stands for in the space.
        plan: What all trials have in common; its settings are those that the space's values are laid on.
        seed: What the trials' seeds follow from.
        seeds_per_trial: Trainings of each trial.
        after_trial: Called after each trial.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: SearchSpace,
        units: Units,
        plan: TrialPlan,
        *,
        seed: int,
        seeds_per_trial: int,
        after_trial: Sequence[AfterTrial] = (),
    ) -> None:
        self.study, self.space, self.units, self.plan = study, space, units, plan
        self.seed, self.seeds_per_trial, self.after_trial = seed, seeds_per_trial, after_trial
        self.steps = plan.evaluations * seeds_per_trial

    def run(self, trials: int, *, jobs: int, timeout: float | None) -> bool:
        """Runs trials until the study has as many as it should.

        Args:
            trials: How many the study should have in all, whoever has run them.
            jobs: How many train at once; one: in this process.
            timeout: Seconds after which no new trial begins. None: no limit.

        Returns:
            Whether all went well; False if Ctrl-C has ended it.
        """
        until = None if timeout is None else time.monotonic() + timeout

        def more(running: int = 0) -> bool:
            judged = len(self.study.get_trials(deepcopy=False, states=JUDGED))
            return judged + running < trials and (until is None or time.monotonic() < until)

        try:
            # The first Ctrl-C ends a trial at the end of a step, or the search at the end of a trial: never in the
            # middle of what is written into the storage.
            with Interrupt() as interrupt:
                if jobs > 1:
                    self._train_elsewhere(more, jobs, interrupt)
                else:
                    while more() and not interrupt.requested:
                        self._train_here(interrupt)
            return not interrupt.requested
        except KeyboardInterrupt:
            return False

    def _train_here(self, interrupt: Interrupt) -> None:
        trial, plan = self._ask()
        try:
            outcome = run_trial(
                plan, lambda number, mean: self._report(trial, number, mean), lambda: interrupt.requested
            )
        except BaseException as error:
            self._break_off(trial, error)
            raise
        self._tell(trial, outcome)

    def _train_elsewhere(self, more: Callable[[int], bool], jobs: int, interrupt: Interrupt) -> None:
        running: dict[Any, tuple[Trial, Worker]] = {}
        try:
            while not interrupt.requested:
                while len(running) < jobs and more(len(running)):
                    trial, worker = self._start(jobs)
                    running[worker.connection] = trial, worker
                if not running:
                    return
                for connection in wait(list(running), INTERRUPT_SECONDS):
                    trial, worker = running.pop(connection)
                    if self._hear(trial, worker):
                        running[connection] = trial, worker
        finally:
            for trial, worker in running.values():
                worker.stop()
                self._break_off(trial, KeyboardInterrupt())

    def _hear(self, trial: Trial, worker: Worker) -> bool:
        """Takes in what a trial's process has sent; returns whether there is more to come."""
        try:
            message = worker.receive()
            if not isinstance(message, Outcome):
                worker.answer(self._report(trial, *message))
                return True
        except BaseException as error:
            worker.stop()
            self._break_off(trial, error)
            raise
        worker.stop()
        self._tell(trial, message)
        return False

    def _start(self, jobs: int) -> tuple[Trial, Worker]:
        """Begins a trial in a process of its own, one of so many."""
        trial, plan = self._ask()
        try:
            return trial, Worker(plan, threads_each(plan.settings.get("compute_kwargs") or {}, jobs))
        except BaseException as error:
            self._break_off(trial, error)
            raise

    def _ask(self) -> tuple[Trial, TrialPlan]:
        """Begins a trial."""
        trials = self.study.get_trials(deepcopy=False)
        is_base = not any(BASE in trial.user_attrs and trial.state != TrialState.FAIL for trial in trials)
        trial = self.study.ask({} if is_base else self.space.distributions())
        if is_base:
            trial.set_user_attr(BASE, True)
        settings = lay(self.plan.settings, self.space.values(trial.params, self.units))
        seeds = tuple(make_seed(self.seed, "trial", trial.number, i) for i in range(self.seeds_per_trial))
        trial.set_user_attr(SEEDS, list(seeds))
        trial.set_user_attr(SETTINGS, settings)
        return trial, dataclasses.replace(self.plan, settings=settings, seeds=seeds)

    def _report(self, trial: Trial, number: int, mean: float) -> bool:
        """Notes an evaluation; returns whether the trial is worth going on with."""
        trial.report(mean, number)
        return number == self.steps or not trial.should_prune()  # at its end nothing is won by giving it up

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        """Ends a trial. One that has diverged counts as one that was given up: the sampler learns to avoid it."""
        if outcome.reason:
            trial.set_user_attr(REASON, f"{outcome.state}: {outcome.reason}")
        if outcome.value is None:
            frozen = self.study.tell(trial, state=TrialState.PRUNED)
        else:
            frozen = self.study.tell(trial, outcome.value)
        for call in self.after_trial:
            call(self.study, frozen)

    def _break_off(self, trial: Trial, error: BaseException) -> None:
        """Ends a trial of which nothing is known."""
        interrupted = isinstance(error, KeyboardInterrupt)
        trial.set_user_attr(REASON, "interrupted" if interrupted else f"{type(error).__name__}: {error}")
        self.study.tell(trial, state=TrialState.FAIL)


class SeededSampler(BaseSampler):
    """Draws each trial's values by a sampler of its own, whose seed follows from the trial's number.

    So what is drawn depends on the seed and on the trials before alone: not on how often the study was begun anew,
    which would make a random sampler draw the same again, nor on which process draws.

    Args:
        make: Makes a sampler with a seed.
        seed: What the seeds follow from.
        relative: The distributions of what the sampler draws jointly.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int, relative: Mapping[str, BaseDistribution]) -> None:
        self.make, self.seed = make, seed
        self.relative = {name: one for name, one in relative.items() if not one.single()}
        self._number, self._sampler = -1, make(seed)

    def _sampler_of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            self._number, self._sampler = trial.number, self.make(make_seed(self.seed, "sampler", trial.number))
        return self._sampler

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Returns what is drawn jointly.

        TPE's own answer would be what all trials have in common: nothing, since the first one has no parameters.
        """
        return dict(self.relative)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draws jointly."""
        return self._sampler_of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draws one value for itself."""
        return self._sampler_of(trial).sample_independent(study, trial, param_name, param_distribution)


def make_sampler(name: str, space: SearchSpace, *, seed: int, startup_trials: int) -> BaseSampler:
    """Makes a sampler.

    Args:
        name: `tpe`, which learns from the trials before, or `random`.
        space: What is searched.
        seed: What all draws follow from.
        startup_trials: Trials that are drawn at random before TPE has something to learn from.
    """
    if name == "random":
        return SeededSampler(lambda seed: RandomSampler(seed=seed), seed, {})
    return SeededSampler(
        lambda seed: TPESampler(n_startup_trials=startup_trials, seed=seed), seed, space.distributions()
    )


def make_pruner(name: str, *, evaluations: int, startup_trials: int) -> optuna.pruners.BasePruner:
    """Makes a pruner.

    Args:
        name: `median`, which gives up a trial whose best evaluation is worse than the median of those before at the
            same point, or `none`.
        evaluations: Evaluations of a training; the first third of them gives no trial up.
        startup_trials: Complete trials before the first is given up.
    """
    if name == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=startup_trials, n_warmup_steps=evaluations // 3 + 1)


def open_study(
    storage: str | BaseStorage | None, name: str, direction: Literal["maximize", "minimize"]
) -> optuna.Study:
    """Begins a study, or opens one that was begun.

    Raises:
        ConfigError: If there is no such storage.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with _quiet():
            return optuna.create_study(storage=storage, study_name=name, direction=direction, load_if_exists=True)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError) as error:
        problem = " ".join(str(error).split("\n")[0].split())
        raise ConfigError(
            f"storage={_without_password(str(storage))!r}: can't be opened ({problem}). Give the URL of a "
            "database, such as sqlite:///study.db, and install its driver"
        ) from error


def _without_password(storage: str) -> str:
    if "@" not in storage:
        return storage
    scheme, _, rest = storage.partition("://")
    return f"{scheme}://...@{rest.rpartition('@')[2]}"


def param_importances(study: optuna.Study) -> dict[str, float]:
    """Returns how much each parameter matters for being among the best tenth, by PED-ANOVA; they sum to 1.

    Watanabe et al. 2023 (arXiv 2304.10255). Empty where there are too few complete trials to say.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if trial.params]
    if len(trials) < ENOUGH_FOR_IMPORTANCES:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one trial has no parameters, and on older versions that it is new
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(trials[0].params))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Optuna from saying that it has made a study; afterwards it is as talkative as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
