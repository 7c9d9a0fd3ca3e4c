"""A trial: one training, or several with different seeds, evaluated at equal intervals. Knows no searcher."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from gymnasium.vector import VectorEnv

from slc_agents.agents.loading import agent_class
from slc_agents.callbacks import Callback
from slc_agents.envs import make_vector_env
from slc_agents.envs.vector import EnvFactory
from slc_agents.errors import ConfigError, NonFiniteError
from slc_agents.seeding import make_seed
from slc_agents.training.evaluation import run_episodes

__all__ = ["Outcome", "Report", "TrialPlan", "counted", "run_trial"]

# What becomes of each evaluation: called with its number, from 1 on, and the mean return; answers whether to go on.
Report: TypeAlias = Callable[[int, float], bool]


@dataclass(frozen=True)
class TrialPlan:
    """What a trial is to be.

    Attributes:
        algo: Name of the algorithm.
        env: Id or factory of the environment.
        policy: Name or class of the policy.
        settings: Hyperparameters by name.
        seeds: The seed of each training.
        timesteps: Environment steps of each training.
        evaluations: Evaluations in the course of each training.
        eval_episodes: Episodes of each evaluation.
    """

    algo: str
    env: str | EnvFactory
    policy: str | type
    settings: Mapping[str, Any]
    seeds: tuple[int, ...]
    timesteps: int
    evaluations: int
    eval_episodes: int


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        state: `complete`; `stopped`, since `Report` said so; `diverged`; or `invalid`, where hyperparameters that are
            allowed each for itself contradict each other.
        value: The mean of the evaluations that count, where it is complete.
        reason: Why it isn't.
    """

    state: Literal["complete", "stopped", "diverged", "invalid"]
    value: float | None = None
    reason: str = ""


def counted(evaluations: int) -> int:
    """Returns how many evaluations of a training count for its value: the last third of them.

    More than the last one, since a policy that was good once by luck, or isn't any more, is none to deploy.
    """
    return math.ceil(evaluations / 3)


def run_trial(plan: TrialPlan, report: Report, interrupted: Callable[[], bool] = lambda: False) -> Outcome:
    """Trains with each seed in turn.

    Args:
        plan: What to do.
        report: Called after each evaluation.
        interrupted: Whether to end before the end; asked at each step.

    Raises:
        KeyboardInterrupt: If training was interrupted.
    """
    values: list[float] = []
    for i, seed in enumerate(plan.seeds):
        own = {"seed": seed, "num_test_episodes": 0, "logger_kwargs": {}, "export": False}
        agent = agent_class(plan.algo)
        try:
            config = agent.config_class(**{**plan.settings, **own})
        except ConfigError as error:
            return Outcome("invalid", reason=str(error))
        model = agent(plan.policy, plan.env, config)
        evaluations = _Evaluations(plan, make_vector_env(plan.env), report, interrupted, first=i * plan.evaluations)
        try:
            model.learn(plan.timesteps, evaluations)
        except NonFiniteError as error:
            return Outcome("diverged", reason=str(error))
        finally:
            evaluations.env.close()
            if model.env is not None:
                model.env.close()
        if evaluations.stopped:
            return Outcome("stopped", reason="not promising")
        if evaluations.done < plan.evaluations:
            raise KeyboardInterrupt
        values += evaluations.means[-counted(plan.evaluations) :]
    return Outcome("complete", float(np.mean(values)))


class _Evaluations(Callback):
    """Evaluates at equal intervals, the last time at the end, and ends training when it is told to."""

    def __init__(
        self,
        plan: TrialPlan,
        env: VectorEnv[Any, Any, Any],
        report: Report,
        interrupted: Callable[[], bool],
        *,
        first: int,
    ) -> None:
        self.plan, self.env, self.report, self.interrupted, self.first = plan, env, report, interrupted, first
        self.means: list[float] = []
        # Of those planned. Where one step of many parallel environments passes several, one is for all of them.
        self.done = 0
        self.stopped = False

    def on_step(self) -> bool:
        """Evaluates when it is time; returns whether to go on."""
        run, planned = self.model.run, self.plan.evaluations
        if run is None:
            raise RuntimeError("there is a run in training")
        due = min((self.num_timesteps - run.start) * planned // run.total, planned)
        if due == self.done:
            return not self.interrupted()
        self.done = due
        episodes = run_episodes(
            self.model,
            self.env,
            self.plan.eval_episodes,
            seed=make_seed(self.model.seed, "eval", self.num_timesteps),
            max_ep_len=self.model.config.max_ep_len,
        )
        self.means.append(float(np.mean([episode.reward for episode in episodes])))
        self.stopped = not self.report(self.first + due, self.means[-1])
        return not self.stopped and not self.interrupted()
