"""What records work on tensors once, to do it again and again without the Python that it was written in.

Work that is done again reads and writes the very memory that it was recorded with.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["CpuRecorder", "CudaRecorder", "Recorder"]

WARM_UP_RUNS = 3  # libraries make their choices and take their memory when they are first called


class Recorder(Protocol):
    """Records work on one device.

    Attributes:
        is_exact: Whether a replay gives the very numbers that the work itself gives, to the last bit.
    """

    is_exact: bool

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does work as often as it takes until it does the same each time."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Returns what does work as it is now; in recording it may be done once more.

        Raises:
            RuntimeError: If Python depends on a value there, so that a recording wouldn't be the same work.
        """

    def wait(self) -> None:
        """Waits until all that was asked of the device is done."""


class CudaRecorder:
    """Records on a CUDA device, as a CUDA graph.

    Args:
        device: The device.
    """

    is_exact = False  # nobody has looked

    def __init__(self, device: torch.device) -> None:
        self.device = device
        # Autograd leaves parts of a backward pass on the stream where it first met a parameter, so what is recorded
        # is warmed up on the stream where it will be recorded; and that can't be the usual one.
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does it as it will be recorded."""
        usual = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP_RUNS):
                work()
        usual.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Records without doing it; what is returned is one more operation on the stream of its caller."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self._stream):
            work()
        return graph.replay

    def wait(self) -> None:
        """See `Recorder.wait`."""
        torch.cuda.synchronize(self.device)


class CpuRecorder:
    """Records on the CPU: the kernels that were called, each with its tensors, as one TorchScript function.

    What a kernel returns keeps its memory, into which the kernel writes again. Views are made once. And there is no
    autograd and no Python in it, which for small networks take as long as the kernels do.
    """

    is_exact = True

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does nothing: the first run is like any other."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See `Recorder.record`."""
        recording = _Recording()
        with recording:
            work()
        return _compile(recording.calls)

    def wait(self) -> None:
        """Does nothing: what was asked for is done."""


class _Call(NamedTuple):
    """A kernel with its arguments."""

    kernel: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]  # that get copies of what it returns; none where it writes into its arguments

    def tensors(self) -> list[Tensor]:
        """Returns all that it works with."""
        return _tensors((self.args, self.kwargs, self.outputs))

    def on(self, now: Callable[[Tensor], Tensor]) -> _Call:
        """Returns the same call on other tensors."""

        def exchange(value: Any) -> Any:
            return now(value) if isinstance(value, Tensor) else value

        return _Call(self.kernel, *(tree_map(exchange, part) for part in self[1:]))

    def __call__(self) -> None:
        """Makes it."""
        result = self.kernel(*self.args, **self.kwargs)
        for output, tensor in zip(self.outputs, _tensors(result) if self.outputs else (), strict=True):
            output.copy_(tensor)


class _Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which kernels are called."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[_Call] = []
        self._kept: list[Any] = []  # so that no memory of one tensor becomes another's meanwhile

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not _DIFFERING.isdisjoint(op.tags):
            raise RuntimeError(f"{op} is not permitted in what is recorded")
        result = op(*args, **kwargs)
        self._kept.append((args, kwargs, result))
        if op._schema.is_mutable:
            self.calls.append(_Call(op, args, kwargs, []))
        elif (name := op.overloadpacket.__name__) in _FILLED:
            self.calls.append(_Call(torch.ops.aten.fill_.Scalar, (result, _FILLED[name]), {}, []))
        elif not (_is_view(result, (args, kwargs)) or name in _UNFILLED):
            self.calls.append(_writing(op, args, kwargs, _tensors(result)))
        return result


# Kernels that depend on more than their arguments, or whose output's shape, or Python's way, depends on values.
_DIFFERING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape, torch.Tag.nondeterministic_seeded}
_FILLED = {"zeros": 0, "zeros_like": 0, "new_zeros": 0, "ones": 1, "ones_like": 1, "new_ones": 1}
_UNFILLED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
# Of these the variant that writes into an output gives it another shape meanwhile, if it is a single number.
_RESIZING = {torch.ops.aten.mse_loss.default}


def _writing(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]) -> _Call:
    """Returns a call that does what one did, into the memory where that has left its output."""
    arguments = [(argument.name, str(argument.type)) for argument in op._schema.arguments]
    is_resized = op in _RESIZING and outputs[0].dim() == 0
    for name in () if is_resized else op.overloadpacket.overloads():
        variant = getattr(op.overloadpacket, name)
        given = [argument for argument in variant._schema.arguments if not argument.is_out]
        written = [argument.name for argument in variant._schema.arguments if argument.is_out]
        if len(written) == len(outputs) and [(argument.name, str(argument.type)) for argument in given] == arguments:
            return _Call(variant, args, {**kwargs, **dict(zip(written, outputs, strict=True))}, [])
    return _Call(op, args, kwargs, outputs)


def _compile(calls: Sequence[_Call]) -> Callable[[], None]:
    """Returns what makes all calls, one after the other."""
    parts: list[Callable[[], None]] = []
    # Tracing overlooks what returns nothing, such as Adam's kernel; Python calls that, in between.
    for is_seen, group in itertools.groupby(calls, lambda call: bool(call.kernel._schema.returns)):
        together: list[Any] = [*group]
        traced = _trace(together) if is_seen else None
        if traced is None:
            parts.extend(together)
        else:
            parts.append(traced)

    def replay() -> None:
        # What TorchScript would change to be faster is not for kernels that write into their arguments.
        with torch.no_grad(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            for part in parts:
                part()

    return replay


def _trace(calls: Sequence[_Call]) -> Callable[[], None] | None:
    """Returns calls as one TorchScript function; None where TorchScript doesn't know all of them."""
    tensors = {id(tensor): tensor for call in calls for tensor in call.tensors()}
    given = tuple(tensors.values())

    def make_all(*now: Tensor) -> Tensor:
        places = dict(zip(tensors, now, strict=True))
        for call in calls:
            call.on(lambda tensor: places[id(tensor)])()
        return now[0]  # a function that returns nothing can't be traced

    names = [f"tensor_{i}" for i in range(len(given))]
    try:
        with torch.no_grad():
            # Not torch.jit.trace, which keeps every function for as long as the process lives.
            graph, _ = torch._C._create_graph_by_tracing(make_all, given, lambda _: "", True, False, None, names)
    except RuntimeError:
        return None
    function = torch._C.CompilationUnit().create_function("make_all", graph)
    return functools.partial(function, *given)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _is_view(result: Any, inputs: Any) -> bool:
    """Whether a result is nothing but other views of its inputs' memory."""
    there = {tensor.untyped_storage().data_ptr() for tensor in _tensors(inputs)}
    return all(tensor.untyped_storage().data_ptr() in there for tensor in _tensors(result))
