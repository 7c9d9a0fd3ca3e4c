"""A block of gradient steps: one after the other as the learner writes them, or each as the replay of a recorded one.

A step that is recorded once and replayed as a whole spares the time that autograd takes, and the calling of every
small operation from Python. It reads and writes the very memory that it was recorded with, so what differs from step to
step is copied to fixed places, and whatever else it depends on is looked at before each block.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from numbers import Real
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slc_agents.pytorch.batches import Batches, Inputs, clone, leaves, send
from slc_agents.pytorch.recorders import Recorder

if TYPE_CHECKING:
    from slc_agents.pytorch.learner import TorchLearner

__all__ = ["EagerSteps", "GraphedSteps", "Steps"]


class Steps(ABC):
    """How a block of gradient steps runs."""

    @abstractmethod
    def run(
        self, learner: TorchLearner, batches: Batches, inputs: Iterable[Inputs], noise: NDArray[np.float32]
    ) -> None:
        """Does one gradient step for each minibatch.

        Args:
            learner: Whose steps they are.
            batches: Makes minibatches.
            inputs: What it makes them of.
            noise: That of each step, [n, n_samples, B, n_actions].
        """

    @abstractmethod
    def forget(self) -> None:
        """Gives back what was kept of earlier blocks."""


class EagerSteps(Steps):
    """Each step as the learner writes it."""

    def run(
        self, learner: TorchLearner, batches: Batches, inputs: Iterable[Inputs], noise: NDArray[np.float32]
    ) -> None:
        """See `Steps.run`."""
        for given, step_noise in zip(inputs, send(noise, learner.device), strict=True):
            learner.counted_step(batches.make(given), step_noise)

    def forget(self) -> None:
        """Does nothing, for nothing was kept."""


class _Recorded(NamedTuple):
    replay: Callable[[], None]
    places: list[Tensor]  # from which it reads what differs from step to step


class _Seen(NamedTuple):
    tensors: list[Tensor]  # all that the learner's step works with
    circumstances: list[Any]


class GraphedSteps(Steps):
    """Each step as the replay of a recorded one.

    Recording is preceded by steps that leave no trace. So what is learned doesn't depend on when a step was recorded:
    each step that counts is a replay, or else a replay gives the same numbers as the step itself. In that case a step
    is recorded only when it was the same for a block, for recording takes longer than a few steps.

    Args:
        recorder: What records.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self._seen: _Seen | None = None
        self._recorded: _Recorded | None = None
        self._is_refused = False

    def forget(self) -> None:
        """Gives back the recorded step and its memory."""
        if self._recorded is not None:
            self.recorder.wait()  # a replay may still be running
        self._seen = self._recorded = None
        self._is_refused = False

    def run(
        self, learner: TorchLearner, batches: Batches, inputs: Iterable[Inputs], noise: NDArray[np.float32]
    ) -> None:
        """See `Steps.run`. Where a user has registered hooks, or looks for anomalies, steps aren't replays."""
        if learner.is_watched or torch.is_anomaly_enabled():
            EagerSteps().run(learner, batches, inputs, noise)
            return
        recorded = None
        for i, (given, step_noise) in enumerate(zip(inputs, send(noise, learner.device), strict=True)):
            if i == 0:
                recorded = self._find_recorded(learner, batches, given, step_noise)
            if recorded is None:
                learner.counted_step(batches.make(given), step_noise)
                continue
            for place, tensor in zip(recorded.places, [*leaves(given), step_noise], strict=True):
                place.copy_(tensor)
            recorded.replay()

    def _find_recorded(self, learner: TorchLearner, batches: Batches, given: Inputs, noise: Tensor) -> _Recorded | None:
        """Returns the recorded step, of now; None where there is none."""
        seen = self._seen
        if seen is None or seen.circumstances != _circumstances(learner, seen.tensors, batches, given):
            self.forget()
            tensors = [*learner.changing_tensors()]
            self._seen = _Seen(tensors, _circumstances(learner, tensors, batches, given))
            if self.recorder.is_exact:
                return None
        if self._recorded is None and not self._is_refused:
            given, noise = clone(given), noise.clone()
            try:
                replay = self._record(learner, lambda: learner.counted_step(batches.make(given), noise))
            except RuntimeError as error:
                if learner.compute.graphs:
                    raise RuntimeError(
                        f"a gradient step could not be recorded ({error}); with compute_kwargs={{'graphs': False}} "
                        "steps run one operation at a time"
                    ) from error
                logging.getLogger("slc_agents").info(
                    "gradient steps run one operation at a time after all, for one could not be recorded: %s", error
                )
                self._is_refused = True
                return None
            self._recorded = _Recorded(replay, [*leaves(given), noise])
        return self._recorded

    def _record(self, learner: TorchLearner, step: Callable[[], None]) -> Callable[[], None]:
        kept = [(tensor, tensor.detach().clone()) for tensor in learner.changing_tensors()]
        try:
            self.recorder.warm_up(step)
            # What is recorded has memory of its own, which no other step takes, or loses when it is broken off.
            learner.workspace.clear()
            return self.recorder.record(step)
        finally:
            learner.workspace.clear()
            with torch.no_grad():
                for tensor, value in kept:
                    tensor.copy_(value)


def _circumstances(learner: TorchLearner, tensors: list[Tensor], batches: Batches, given: Inputs) -> list[Any]:
    """Returns all that a recorded step holds fast and that may change: places in memory, shapes, numbers."""
    multipliers = [module for name, module in learner.modules().items() if name]
    return [
        learner.parts,  # others when the learner has been connected anew
        *(id(tensor) for module in multipliers for tensor in (*module.parameters(), *module.buffers())),
        *map(Tensor.data_ptr, [*tensors, *batches.tensors()]),
        *map(_wants_gradient, tensors),
        *((tensor.shape, tensor.dtype) for tensor in leaves(given)),
        *(
            value
            for name, value in vars(learner).items()
            if isinstance(value, (Real, tuple)) and not name.startswith("_")
        ),
    ]


_wants_gradient = attrgetter("requires_grad")
