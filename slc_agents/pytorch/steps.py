"""A block of gradient steps: one after the other as the learner writes them, or each as the replay of a recorded one.

A CUDA graph is recorded once and launched as a whole, which spares the time that calling every small operation takes.
It reads and writes the very memory that it was recorded with, so what differs from step to step is copied to fixed
places, and whatever else it depends on is looked at before each block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slc_agents.pytorch.batches import Batches, Inputs, clone, leaves, send

if TYPE_CHECKING:
    from slc_agents.pytorch.learner import TorchLearner

__all__ = ["CudaRecorder", "EagerSteps", "GraphedSteps", "Steps"]

WARM_UP_STEPS = 3  # libraries make their choices and take their memory when they are first called


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


class CudaRecorder:
    """Records work on a CUDA device.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Autograd leaves parts of a backward pass on the stream where it first met a parameter, so what is recorded
        # is warmed up on the stream where it will be recorded; and that can't be the usual one.
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does work once, as it will be recorded."""
        usual = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            work()
        usual.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records work without doing it; returns what does it, as one more operation on the stream of its caller."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self._stream):
            work()
        return graph.replay

    def wait(self) -> None:
        """Waits until all that was asked of the device is done."""
        torch.cuda.synchronize(self.device)


class _Recorded(NamedTuple):
    replay: Callable[[], None]
    places: list[Tensor]  # from which it reads what differs from step to step
    circumstances: tuple[Any, ...]


class GraphedSteps(Steps):
    """Each step as the replay of a recorded one.

    Recording is preceded by steps that leave no trace, so each step that counts is a replay: what is learned doesn't
    depend on when a step was recorded.

    Args:
        recorder: What records.
    """

    def __init__(self, recorder: CudaRecorder) -> None:
        self.recorder = recorder
        self._recorded: _Recorded | None = None

    def forget(self) -> None:
        """Gives back the recorded step and its memory."""
        if self._recorded is not None:
            self.recorder.wait()  # a replay may still be running
            self._recorded = None

    def run(
        self, learner: TorchLearner, batches: Batches, inputs: Iterable[Inputs], noise: NDArray[np.float32]
    ) -> None:
        """See `Steps.run`. Where a user has registered hooks, which a replay wouldn't call, steps aren't replays."""
        if learner.is_watched:
            EagerSteps().run(learner, batches, inputs, noise)
            return
        recorded = None
        for given, step_noise in zip(inputs, send(noise, learner.device), strict=True):
            recorded = recorded or self._find_recorded(learner, batches, given, step_noise)
            for place, tensor in zip(recorded.places, [*leaves(given), step_noise], strict=True):
                place.copy_(tensor)
            recorded.replay()

    def _find_recorded(self, learner: TorchLearner, batches: Batches, given: Inputs, noise: Tensor) -> _Recorded:
        """Returns the recorded step; records it anew if anything is no longer as it was."""
        circumstances = _circumstances(learner, batches, given)
        if self._recorded is None or self._recorded.circumstances != circumstances:
            self.forget()
            given, noise = clone(given), noise.clone()
            replay = self._record(learner, lambda: learner.counted_step(batches.make(given), noise))
            self._recorded = _Recorded(replay, [*leaves(given), noise], circumstances)
        return self._recorded

    def _record(self, learner: TorchLearner, step: Callable[[], None]) -> Callable[[], None]:
        kept = [(tensor, tensor.detach().clone()) for tensor in learner.changing_tensors()]
        try:
            for _ in range(WARM_UP_STEPS):
                self.recorder.warm_up(step)
            # What is recorded has memory of its own, which no other step takes, or loses when it is broken off.
            learner.workspace.clear()
            return self.recorder.record(step)
        except RuntimeError as error:
            raise RuntimeError(
                f"a gradient step could not be recorded as a CUDA graph ({error}); leave "
                "graphs=True out of compute_kwargs, and steps run one operation at a time"
            ) from error
        finally:
            learner.workspace.clear()
            with torch.no_grad():
                for tensor, value in kept:
                    tensor.copy_(value)


def _circumstances(learner: TorchLearner, batches: Batches, given: Inputs) -> tuple[Any, ...]:
    """Returns all that a recorded step holds fast and that may change: places in memory, shapes, numbers."""
    return (
        [tensor.data_ptr() for tensor in (*learner.changing_tensors(), *batches.tensors())],
        [(tensor.shape, tensor.dtype) for tensor in leaves(given)],
        [parameter.requires_grad for parameter in learner.policy.parameters()],
        [value for value in vars(learner).values() if isinstance(value, float)],
    )
