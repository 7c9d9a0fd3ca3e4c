"""Adam over parameters that lie side by side, so that one call moves them all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

__all__ = ["NoOptimizer", "Optimizer", "by_type", "lay_out", "merge_runs", "move_together"]

ALIGNMENT = 64  # bytes; each parameter begins at a multiple, as matrix products like it
GPU_PIECES = 36  # tensors that one call of Adam's kernel takes


def lay_out(tensors: Sequence[Tensor], pinned: bool = False) -> tuple[Tensor, list[Tensor]]:
    """Makes zeroed memory for tensors of one type and device, side by side.

    Args:
        tensors: What there is to be room for.
        pinned: Whether a GPU shall be able to read and write it by itself, where it is the CPU's.

    Returns:
        The memory as one flat tensor, with gaps of zeros, and a contiguous view of it for each of the tensors.
    """
    first = tensors[0]
    step = ALIGNMENT // first.element_size() if ALIGNMENT % first.element_size() == 0 else 1
    starts, size = [], 0
    for tensor in tensors:
        starts.append(size)
        size += -(-tensor.numel() // step) * step
    flat = torch.zeros(size, dtype=first.dtype, device=first.device, pin_memory=pinned)
    return flat, [flat[i : i + t.numel()].view(t.shape) for i, t in zip(starts, tensors, strict=True)]


def move_together(parameters: Sequence[nn.Parameter], pinned: bool = False) -> Tensor:
    """Moves parameters of one type and device into one piece of memory, which is returned as a flat tensor.

    Args:
        parameters: They.
        pinned: See `lay_out`.
    """
    flat, views = lay_out(parameters, pinned)
    for parameter, view in zip(parameters, views, strict=True):
        view.copy_(parameter.detach())
        parameter.data = view
    return flat


def by_type(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Returns parameters in groups of one type each."""
    groups: dict[torch.dtype, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(parameter.dtype, []).append(parameter)
    return list(groups.values())


def merge_runs(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Joins pairs of tensors whose partners lie behind each other, at equal distances, into pairs of flat ones.

    Args:
        pairs: Tensors with their partners, of equal shapes.

    Returns:
        Pairs that share the memory of the given ones; those that aren't contiguous stay as they are.
    """
    merged: list[tuple[Tensor, Tensor]] = []
    run: list[tuple[Tensor, Tensor]] = []
    for pair in [*pairs, None]:
        if pair is not None and run and _follows(run[-1], pair):
            run.append(pair)
            continue
        if len(run) > 1:
            (a, b), (last, _) = run[0], run[-1]
            size = last.storage_offset() - a.storage_offset() + last.numel()
            merged.append((a.detach().as_strided((size,), (1,)), b.detach().as_strided((size,), (1,))))
        else:
            merged += run
        run = [] if pair is None else [pair]
    return merged


def _follows(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor]) -> bool:
    gaps = set()
    for a, b in zip(before, after, strict=True):
        if not (a.is_contiguous() and b.is_contiguous()) or a.dtype != b.dtype or a.numel() == 0:
            return False
        if a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
            return False
        gaps.add(b.storage_offset() - a.storage_offset() - a.numel())
    gap = gaps.pop()
    return not gaps and 0 <= gap * before[0].element_size() < ALIGNMENT  # no more than what aligning leaves free


class Optimizer:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) over one group of parameters, with its default settings.

    It moves the parameters into memory of its own, where they lie side by side, and so do their gradients and moments.
    Its learning rate is a tensor that is filled in place.

    Args:
        parameters: What it moves, by name; all on one device.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self.parameters = dict(parameters)
        device = next(iter(self.parameters.values())).device
        self.rate = torch.zeros((), dtype=torch.float32, device=device)
        self.count = torch.zeros((), dtype=torch.float32, device=device)  # steps taken
        self.groups = [_Group(group) for group in by_type(self.parameters.values())]

    def minimise(self, loss: Tensor) -> None:
        """Takes one step down a loss."""
        for group in self.groups:
            group.forget_gradients()
        loss.backward(_one(loss.dtype, loss.device))  # type: ignore[no-untyped-call]
        self.step()

    @torch.no_grad()
    def step(self) -> None:
        """Moves the parameters by the gradients that they have."""
        idle = [pair for group in self.groups for pair in group.gather_gradients()]
        self.count.add_(1.0)
        flat, gradient, m, v = ([part for group in self.groups for part in group.pieces[i]] for i in range(4))
        _adam(flat, gradient, m, v, self.count, self.rate)
        for tensor, value in idle:
            tensor.copy_(value)

    def move_in(self) -> None:
        """Moves the parameters, wherever they are now, side by side again. What is known of them stays."""
        for group in self.groups:
            group.move_in()

    @property
    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """Where the gradient of each parameter belongs; found there, it needn't be copied."""
        return {p: g for group in self.groups for p, g in zip(group.parameters, group.gradients, strict=True)}

    def tensors(self) -> Iterator[tuple[str, Tensor, str]]:
        """Yields each parameter's name with one of its two moments and that moment's letter."""
        moments = {parameter: pair for group in self.groups for parameter, pair in group.moments()}
        for name, parameter in self.parameters.items():
            m, v = moments[parameter]
            yield name, m, "m"
            yield name, v, "v"

    def memory(self) -> Iterator[Tensor]:
        """Yields all that it works with beside the parameters themselves."""
        yield from (self.rate, self.count)
        for group in self.groups:
            yield from (group.flat, group.gradient, group.m, group.v)

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return int(self.count.item())

    @steps.setter
    def steps(self, steps: int) -> None:
        self.count.fill_(float(steps))


@lru_cache(maxsize=16)
def _one(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns the gradient of a loss by itself, which isn't to be written to; `backward` would make one each time."""
    return torch.ones((), dtype=dtype, device=device)


def _adam(
    flat: list[Tensor], gradient: list[Tensor], m: list[Tensor], v: list[Tensor], count: Tensor, rate: Tensor
) -> None:
    """Moves flat parameters by Adam's rule, with its defaults; `count` includes this step."""
    constants: dict[str, Any] = {"lr": rate, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8}
    counts = [count] * len(flat)
    if rate.device.type == "mps":  # where there is no fused kernel that takes the rate as a tensor
        counts = [count - 1.0 for _ in flat]  # this function counts by itself
        adam(flat, gradient, m, v, [], counts, foreach=False, amsgrad=False, maximize=False, **constants)
        return
    # What torch.optim.Adam(fused=True) calls, without what surrounds it, which takes longer than this does.
    torch._fused_adam_(flat, gradient, m, v, [], counts, amsgrad=False, maximize=False, **constants)


class _Group:
    """Parameters of one type, in one piece of memory, and what Adam knows of them."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.m, self.v = lay_out(self.parameters)[0], lay_out(self.parameters)[0]
        self.move_in()

    def move_in(self) -> None:
        """Moves the parameters into memory where they lie side by side."""
        self.flat = move_together(self.parameters)
        self.gradient, self.gradients = lay_out(self.parameters)
        self.m, self.v = self.m.to(self.flat), self.v.to(self.flat)
        # A GPU's kernel takes one of its many processors for each tensor, unless that is very large.
        n = GPU_PIECES if self.flat.is_cuda else 1
        step = ALIGNMENT // self.flat.element_size()
        size = step * max(1, -(-len(self.flat) // (n * step)))
        self.pieces = [torch.split(whole, size) for whole in (self.flat, self.gradient, self.m, self.v)]

    def forget_gradients(self) -> None:
        """Takes the gradients away."""
        for parameter in self.parameters:
            parameter.grad = None

    def gather_gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Brings the gradients to where they lie side by side, if they aren't there.

        Returns:
            What a step must leave as it is, with its values: parameters without a gradient, and their moments.
        """
        idle = []
        for i, (parameter, gradient) in enumerate(zip(self.parameters, self.gradients, strict=True)):
            given = parameter.grad
            if given is None:
                own = parameter.detach(), *self._moments(i)
                idle += [(tensor, tensor.clone()) for tensor in own]
                continue
            if given is not gradient:
                gradient.copy_(given)
                parameter.grad = gradient
        return idle

    def _moments(self, i: int) -> tuple[Tensor, Tensor]:
        start, shape = self.gradients[i].storage_offset(), self.parameters[i].shape
        part = slice(start, start + shape.numel())
        return self.m[part].view(shape), self.v[part].view(shape)

    def moments(self) -> Iterator[tuple[nn.Parameter, tuple[Tensor, Tensor]]]:
        """Yields each parameter with views of its first and second moment."""
        for i, parameter in enumerate(self.parameters):
            yield parameter, self._moments(i)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the memory that the parameters lie in: a copy's and a pickle's parameters lie elsewhere."""
        return {name: self.__dict__[name] for name in ("parameters", "m", "v")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Moves the parameters in anew."""
        self.__dict__.update(state)
        self.move_in()


class NoOptimizer:
    """Stands where there is nothing to learn."""

    gradients: Mapping[nn.Parameter, Tensor] = {}

    def move_in(self) -> None:
        """Does nothing."""

    def memory(self) -> Iterator[Tensor]:
        """Yields nothing."""
        return iter(())

    def minimise(self, loss: Tensor) -> None:
        """Does nothing."""
