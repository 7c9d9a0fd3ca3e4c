"""The training loop with a learner, a memory and hooks that only keep a record of what they are asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from scripted_envs import ScriptedEnv

from slc_agents.callbacks import Callback
from slc_agents.envs import make_vector_env
from slc_agents.logger import Logger
from slc_agents.schedulers import LinearScheduler
from slc_agents.spaces import ActionScale
from slc_agents.training.collector import Collector
from slc_agents.training.loop import TrainingLoop, blocks_until
from slc_agents.training.state import Run, TrainingState


@dataclass
class Config:
    """The loop's hyperparameters."""

    opt_type: str = "maximize"
    start_steps: int = 0
    update_every: int = 10
    update_after: int = 20
    steps_per_update: int = 3
    lr_decay_ref: str = "epoch"
    steps_per_epoch: int = 30

    @property
    def reward_sign(self) -> float:
        return -1.0 if self.opt_type == "minimize" else 1.0


@dataclass
class FakeLearner:
    """Acts with 0.5 + i / 8 in each dimension in environment i, and records."""

    log: list[Any]
    t: Any  # returns the number of steps
    action: float = 0.5
    updates: list[int] = field(default_factory=list)  # the step counts at which there was a block
    rates: list[dict[str, float]] = field(default_factory=list)  # those of each block
    rate: dict[str, float] = field(default_factory=dict)
    observed: list[Any] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=lambda: {"loss": 1.5})

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        return self.action + np.full((1, 2), 0.125, np.float32) * np.arange(len(observation), dtype=np.float32)[:, None]

    def observe(self, observation: Any) -> None:
        self.observed.append(observation)

    def update(self, memory: Any, n: int) -> None:
        self.updates.append(self.t())
        self.rates.append(self.rate)
        self.log.append(("update", n))

    def read_metrics(self) -> dict[str, float]:
        return dict(self.metrics)

    def set_learning_rates(self, rates: Any) -> None:
        self.rate = dict(rates)


@dataclass
class FakeMemory:
    """Records what is added; ready from the `ready_after`-th add on."""

    ready_after: int = 1
    added: list[Any] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return len(self.added) >= self.ready_after

    def add(self, *transition: Any, valid: Any = None) -> None:
        self.added.append((*transition, valid))


class RowLogger(Logger):
    """Keeps all rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, Any]]] = []

    def dump(self, step: int) -> dict[str, Any]:
        row = super().dump(step)
        self.rows.append((step, row))
        return row


class Recorder(Callback):
    """Writes each hook's name and step count into a log; stops where it is told."""

    def __init__(self, log: list[Any], t: Any, stop_at: int | None = None) -> None:
        self.log, self.t, self.stop_at = log, t, stop_at

    def on_step(self) -> bool | None:
        self.log.append(("on_step", self.t()))
        return False if self.stop_at is not None and self.t() >= self.stop_at else None


def _recording(name: str) -> Any:
    return lambda self: self.log.append((name, self.t()))


for _name in ("training_start", "rollout_start", "rollout_end", "episode_end", "epoch_end", "training_end"):
    setattr(Recorder, f"on_{_name}", _recording(f"on_{_name}"))


class Bench:
    """A loop and all that it works with.

    Args:
        total: Steps of the run.
        n_envs: Number of environments.
        config: Hyperparameters.
        env: A vector environment; None: scripted ones whose episodes have `lengths`.
        hooks: Instead of the recorder.
        stop_at: Step count at which the recorder ends training.
    """

    def __init__(
        self,
        total: int = 60,
        n_envs: int = 1,
        config: Config | None = None,
        *,
        env: VectorEnv[Any, Any, Any] | None = None,
        lengths: tuple[int, ...] = (7,),
        hooks: Any = None,
        stop_at: int | None = None,
        log_interval: int = 1,
        max_ep_len: int | None = None,
        start: int = 0,
        ready_after: int = 1,
    ) -> None:
        self.log: list[Any] = []
        self.config = config or Config()
        self.env = env or make_vector_env([lambda i=i: ScriptedEnv(i, lengths) for i in range(n_envs)])
        self.collector = Collector(self.env, max_ep_len)
        self.collector.reset(0)
        self.state = TrainingState(num_timesteps=start)
        self.plan(total, log_interval)
        t = lambda: self.state.num_timesteps  # noqa: E731
        self.learner = FakeLearner(self.log, t)
        self.memory = FakeMemory(ready_after)
        self.logger = RowLogger()
        self.hooks = hooks or Recorder(self.log, t, stop_at)
        self.tests: list[tuple[int, int]] = []
        self.make_loop()

    def plan(self, total: int, log_interval: int = 1) -> None:
        """Plans a run, as `learn` does."""
        config, start, n = self.config, self.state.num_timesteps, self.collector.n_envs
        last = start + -(-total // n) * n
        blocks = [blocks_until(t, config.update_after, config.update_every) for t in (start, last)]
        self.state.run = Run(start, total, config.steps_per_epoch, blocks[1] - blocks[0], log_interval)

    def make_loop(self) -> TrainingLoop:
        """Makes another loop, as `resume` does."""
        self.loop = TrainingLoop(
            config=self.config,
            state=self.state,
            collector=self.collector,
            learner=self.learner,
            memory=self.memory,
            schedulers={"lr_a": LinearScheduler(1.0, 0.0), "lr_c": lambda progress: 2.0 + progress},
            hooks=self.hooks,
            logger=self.logger,
            scale=ActionScale(self.env.single_action_space),
            generator=np.random.default_rng(0),
            test=self._test,
        )
        return self.loop

    def _test(self, epoch: int) -> dict[str, float]:
        self.tests.append((epoch, self.state.num_timesteps))
        self.log.append(("test", epoch))
        return {"eval/mean_reward": 10.0 * epoch}

    def train(self) -> Bench:
        """Trains."""
        self.loop.train()
        return self

    @property
    def t(self) -> int:
        """Steps so far."""
        return self.state.num_timesteps
