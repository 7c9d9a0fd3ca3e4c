"""THE loop: how an off-policy agent lives. Act, step, learn, report; again.

It knows no framework: what acts and learns is a `Learner`, what remembers is a `Memory`. One vector step moves every
parallel environment once and is atomic: whatever wants to stop, save or interrupt takes effect between two of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slc_agents.envs import episode_limit
from slc_agents.errors import NonFiniteError
from slc_agents.logger import Logger
from slc_agents.schedulers import Schedule, learning_rate_at
from slc_agents.spaces import ActionScale, row_not_finite
from slc_agents.training.collector import Collector
from slc_agents.training.interrupt import Interrupt
from slc_agents.training.state import Run, TrainingState
from slc_agents.transition import Array, Observation

__all__ = ["Hooks", "Learner", "LoopConfig", "Memory", "TrainingLoop", "blocks_until", "check_action"]


class Learner(Protocol):
    """What acts and learns: the one thing that a backend has to bring."""

    def act(self, observation: Observation, deterministic: bool = False) -> NDArray[np.float32]:
        """Returns actions [n, size] in [-1, 1] for observations [n, *shape]."""

    def observe(self, observation: Observation) -> None:
        """Takes training observations into the normaliser's statistics, once a vector step."""

    def update(self, memory: Any, n: int) -> None:
        """Does `n` gradient steps at constant rates; may return before the device is done."""

    def read_metrics(self) -> dict[str, float]:
        """Returns means over the gradient steps since the last call. Only called when a row is written."""

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Sets the optimisers' learning rates, by the names of their hyperparameters."""


class Memory(Protocol):
    """What remembers."""

    @property
    def is_ready(self) -> bool:
        """Whether there is anything to sample."""

    def add(
        self,
        observation: Observation,
        action: Array,
        reward: Array,
        next_observation: Observation,
        terminated: Array,
        truncated: Array,
        *,
        valid: Array | None = None,
    ) -> None:
        """Stores one transition of each environment for which `valid` is true."""


class Hooks(Protocol):
    """Whom the loop tells what happens; `on_step` returning False ends training."""

    def on_training_start(self) -> None: ...  # noqa: D102
    def on_rollout_start(self) -> None: ...  # noqa: D102
    def on_step(self) -> bool | None: ...  # noqa: D102
    def on_rollout_end(self) -> None: ...  # noqa: D102
    def on_episode_end(self) -> None: ...  # noqa: D102
    def on_epoch_end(self) -> None: ...  # noqa: D102
    def on_training_end(self) -> None: ...  # noqa: D102


class LoopConfig(Protocol):
    """The hyperparameters that concern the loop."""

    @property
    def reward_sign(self) -> float: ...  # noqa: D102
    @property
    def start_steps(self) -> int: ...  # noqa: D102
    @property
    def update_every(self) -> int: ...  # noqa: D102
    @property
    def update_after(self) -> int: ...  # noqa: D102
    @property
    def steps_per_update(self) -> int: ...  # noqa: D102
    @property
    def lr_decay_ref(self) -> str: ...  # noqa: D102


def blocks_until(t: int, update_after: int, update_every: int) -> int:
    """Returns B(t), the number of blocks of gradient steps that are due in the first `t` environment steps."""
    return 0 if t < update_after else 1 + (t - update_after) // update_every


def check_action(action: NDArray[np.float32], kind: str, step: int, more: str = "") -> None:
    """Raises a `NonFiniteError` unless all actions [n, size] of a policy are finite.

    Args:
        action: The actions.
        kind: What each row is for, in the message: an environment or an observation.
        step: Environment steps so far.
        more: What else to say, a sentence.
    """
    row = row_not_finite(action)
    if row is not None:
        raise NonFiniteError(
            f"the policy's action for {kind} {row} is not finite at step {step}: {action[row]!r}. {more}The networks "
            "have diverged: lower the learning rates, scale the rewards, or set "
            "policy_kwargs={'normalize_observations': True}"
        )


class TrainingLoop:
    """Runs an agent's `learn` from where its state says that it stands to where its run ends.

    Args:
        config: The hyperparameters that concern the loop.
        state: Counters; its `run` must be planned.
        collector: Steps the environments.
        learner: Acts and learns.
        memory: Stores transitions and is sampled by the learner.
        schedulers: A schedule for each learning rate.
        hooks: The callbacks.
        logger: Gets one row an epoch.
        scale: From actions in [-1, 1] to the environment's units.
        generator: The random stream of uniform actions.
        test: Runs the test episodes of an epoch, and returns what to log of them.
    """

    def __init__(
        self,
        *,
        config: LoopConfig,
        state: TrainingState,
        collector: Collector,
        learner: Learner,
        memory: Memory,
        schedulers: Mapping[str, Schedule],
        hooks: Hooks,
        logger: Logger,
        scale: ActionScale,
        generator: np.random.Generator,
        test: Callable[[int], Mapping[str, float]],
    ) -> None:
        if state.run is None:
            raise ValueError("a run must be planned before the loop is made")
        self.config = config
        self.state = state
        self.run: Run = state.run
        self.collector = collector
        self.learner = learner
        self.memory = memory
        self.schedulers = schedulers
        self.hooks = hooks
        self.logger = logger
        self.scale = scale
        self.generator = generator
        self.test = test
        # Costs are turned into rewards here, once, on their way into the memory: nothing behind it knows of costs.
        self.reward_sign = np.float32(config.reward_sign)
        self.rates: dict[str, float] = {}
        self.after_step: list[Callable[[], None]] = []
        self.interrupt = Interrupt()
        self._started = 0.0

    def train(self) -> None:
        """Trains to the end of the run, or until a callback or Ctrl-C ends it."""
        self._started = time.monotonic() - self.run.seconds
        self.collector.steps = self.state.num_timesteps
        inside_step = ended = False
        try:
            with self.interrupt, episode_limit(self.collector.env, self.collector.max_ep_len):
                self._set_learning_rates()
                self.hooks.on_training_start()
                self.hooks.on_rollout_start()
                self._save_what_was_asked()
                go_on = True
                while go_on and not self.interrupt.requested and not self.run.is_finished(self.state.num_timesteps):
                    inside_step = True
                    go_on = self._vector_step()
                    inside_step = False
                self.hooks.on_rollout_end()
                ended = True
                self._end_training()
        except KeyboardInterrupt:  # the second Ctrl-C
            self.run.exact = self.run.exact and not inside_step
            if not ended:
                self.hooks.on_rollout_end()
                self._end_training()
        except BaseException:
            self.run.exact = self.run.exact and not inside_step
            if not ended:
                with suppress(Exception):  # they may have something to close; the error on its way is the one to see
                    self._end_training()
            raise
        finally:
            self.run.seconds = time.monotonic() - self._started

    def _vector_step(self) -> bool:
        """Moves every environment once, and does all that follows from it. Returns whether to go on."""
        state, collector = self.state, self.collector
        if collector.observation is None:
            raise RuntimeError("the collector must be reset before training")

        # 1. Act: uniformly at random at first, then as the policy says.
        self.learner.observe(collector.observation)
        action = self._choose_action(collector.observation)

        # 2. Step, and remember. Only `terminated` ends the value; a truncated episode's value goes on.
        transition, episodes = collector.step(self.scale.to_env(action))
        before = state.num_timesteps
        with self.interrupt.held_back():
            self.memory.add(
                transition.observation,
                action,
                self.reward_sign * transition.reward,
                transition.next_observation,
                transition.terminated,
                transition.truncated,
                valid=transition.valid,
            )
            state.num_timesteps += int(np.count_nonzero(transition.valid))
            state.add_episodes(episodes)
            self.run.due_blocks += self._blocks_until(state.num_timesteps) - self._blocks_until(before)

        # 3. Learn: the blocks of gradient steps that are due, as soon as there is something to sample.
        if self.run.due_blocks and self.memory.is_ready:
            self._update()
            if state.num_timesteps < self.config.start_steps or self._ends_epoch():
                # Networks that have diverged show in the next action; here the next one isn't theirs, or comes later.
                self._ask_policy(collector.observation, deterministic=True)

        # 4. Report: to callbacks at each step, to tests and the log at each end of an epoch.
        for episode in episodes:
            state.last_episode = episode
            self.hooks.on_episode_end()
        go_on = self.hooks.on_step() is not False
        if self._ends_epoch():
            self._end_epoch()

        # 5. Save what was asked to be saved: now the state is whole.
        self._save_what_was_asked()
        return go_on

    def _choose_action(self, observation: Observation) -> NDArray[np.float32]:
        n = self.collector.n_envs
        n_random = min(max(self.config.start_steps - self.state.num_timesteps, 0), n)
        if n_random == 0:
            return self._ask_policy(observation)
        action = self.generator.uniform(-1.0, 1.0, (n, self.scale.size)).astype(np.float32)
        if n_random < n:
            action[n_random:] = self._ask_policy(observation)[n_random:]
        return action

    def _ask_policy(self, observation: Observation, *, deterministic: bool = False) -> NDArray[np.float32]:
        action = self.learner.act(observation, deterministic)
        if row_not_finite(action) is not None:
            losses = [f"train/{key}" for key, value in self.learner.read_metrics().items() if not np.isfinite(value)]
            more = f"Losses that are not finite either: {', '.join(losses)}. " if losses else ""
            check_action(action, "environment", self.state.num_timesteps, more)
        return action

    def _update(self) -> None:
        self.hooks.on_rollout_end()
        while self.run.due_blocks:
            self.learner.update(self.memory, self.config.steps_per_update)
            self.state.n_updates += self.config.steps_per_update
            self.run.due_blocks -= 1
            self.run.finished_blocks += 1
            if self.config.lr_decay_ref == "step":
                self._set_learning_rates()
        self.hooks.on_rollout_start()

    def _ends_epoch(self) -> bool:
        return self.run.epochs_at(self.state.num_timesteps) > self.run.finished_epochs

    def _end_epoch(self) -> None:
        run, state = self.run, self.state
        before, run.finished_epochs = run.finished_epochs, run.epochs_at(state.num_timesteps)
        test_metrics = self.test(run.finished_epochs)
        for key, value in test_metrics.items():
            self.logger.record(key, value)
        self.hooks.on_epoch_end()
        rates = dict(self.rates)  # those that this epoch ended with
        if self.config.lr_decay_ref == "epoch":
            self._set_learning_rates()
        # Not a remainder: where an epoch is shorter than a vector step, several end at once.
        is_due = run.finished_epochs // run.log_interval > before // run.log_interval
        if is_due or run.finished_epochs == run.epochs:
            self._write_row(rates)

    def _write_row(self, rates: Mapping[str, float]) -> None:
        state, run, logger = self.state, self.run, self.logger
        metrics = self.learner.read_metrics()
        seconds = time.monotonic() - self._started
        logger.record("time/epoch", run.finished_epochs)
        logger.record("time/total_timesteps", state.num_timesteps)
        logger.record("time/episodes", state.num_episodes)
        logger.record("time/time_elapsed", seconds)
        logger.record("time/fps", (state.num_timesteps - run.start) / max(seconds, 1e-9))
        for key, value in state.rollout_metrics().items():
            logger.record(key, value)
        for key, value in metrics.items():
            logger.record(f"train/{key}", value)
        for name, rate in rates.items():
            logger.record(f"train/{name}", rate)
        logger.record("train/n_updates", state.n_updates)
        logger.dump(state.num_timesteps)
        broken = [key for key, value in metrics.items() if not np.isfinite(value)]
        if broken:
            raise NonFiniteError(
                f"{', '.join(f'train/{key}' for key in broken)} not finite at step {state.num_timesteps}, after "
                f"{state.n_updates} gradient steps: training has diverged. Lower the learning rates, scale the "
                "rewards, or set policy_kwargs={'normalize_observations': True}"
            )

    def _save_what_was_asked(self) -> None:
        self.run.seconds = time.monotonic() - self._started
        while self.after_step:
            self.after_step.pop(0)()

    def _end_training(self) -> None:
        self.hooks.on_training_end()
        self._save_what_was_asked()

    def _set_learning_rates(self) -> None:
        progress = self.run.progress(self.config.lr_decay_ref)
        self.rates = {name: learning_rate_at(schedule, progress, name) for name, schedule in self.schedulers.items()}
        self.learner.set_learning_rates(self.rates)

    def _blocks_until(self, t: int) -> int:
        return blocks_until(t, self.config.update_after, self.config.update_every)
