"""What is recorded on the CPU is done again on the same memory: every kind of operation, and what can't be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from slc_agents.pytorch import recorders
from slc_agents.pytorch.recorders import CpuRecorder


def replayed(work: Callable[[Tensor], Tensor], first: Tensor, second: Tensor) -> Tensor:
    """Records work on the values of one tensor, and returns what a replay makes of another's."""
    given, result = first.clone(), torch.empty_like(work(first.clone()))

    def all_work() -> None:
        result.copy_(work(given))

    replay = CpuRecorder().record(all_work)
    given.copy_(second)
    replay()
    return result


def _zeroed(x: Tensor) -> Tensor:
    x[1].zero_()
    x[:, 2] += 5.0
    return x


def _gradient(x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    (torch.tanh(leaf) * leaf.sigmoid()).square().sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


def _convolution_gradient(x: Tensor) -> Tensor:
    leaf = x.clone().requires_grad_()
    torch.conv1d(leaf[None], torch.ones(2, 3, 2), padding=1).square().sum().backward()  # type: ignore[no-untyped-call]
    assert leaf.grad is not None
    return leaf.grad


def _many(x: Tensor) -> Tensor:
    x, y = x.clone(), 2.0 * x
    torch._foreach_add_([x, y], 1.0)
    return x + y


WORKS: dict[str, Callable[[Tensor], Tensor]] = {
    "a kernel that writes into an output": lambda x: x.exp() + 1.0,
    "several outputs": lambda x: x.min(dim=0).values + x.max(dim=0).indices,
    "views": lambda x: (x.mT[1:] * 2.0).unsqueeze(0).expand(2, -1, -1).flatten(),
    "in place": lambda x: x.clone().mul_(3.0).add_(x),
    "in place on a view": lambda x: _zeroed(x.clone()),
    "constants": lambda x: torch.zeros_like(x).add_(x) + torch.ones(4) + x.new_zeros(4),
    "a constant of Python's": lambda x: x * torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "a kernel that writes nowhere": lambda x: torch.nn.functional.mse_loss(x, x * 2.0, reduction="sum"),
    "another type": lambda x: x.to(torch.bfloat16).float(),
    "unfilled memory": lambda x: torch.empty_like(x).copy_(x),
    "a gradient": _gradient,
    "many at once": _many,
    "a convolution": _convolution_gradient,
}


@pytest.mark.parametrize("work", WORKS)
def test_a_replay_does_the_work_on_new_values(work: str) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(3, 4, generator=generator) for _ in range(2))
    expected = WORKS[work](second.clone())
    assert not torch.equal(expected, WORKS[work](first.clone()))
    assert torch.equal(replayed(WORKS[work], first, second), expected)


def test_replays_follow_each_other() -> None:
    x = torch.tensor([1.0, 2.0])
    replay = CpuRecorder().record(lambda: _double(x))
    x.copy_(torch.tensor([1.0, 2.0]))
    for _ in range(3):
        replay()
    assert x.tolist() == [8.0, 16.0]


def _ignore(value: object) -> None:
    pass


def _double(x: Tensor) -> None:
    x.mul_(2.0)


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (lambda x: x * float(x.sum()), "_local_scalar_dense"),
        (lambda x: x[x > 0], "index"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: x + torch.randn(3, 4), "randn"),
        (lambda x: torch.dropout(x, 0.5, True), "dropout|bernoulli"),
        (lambda x: x if torch.equal(x, x) else -x, "equal"),
    ],
)
def test_what_depends_on_values_or_chance_is_refused(work: Callable[[Tensor], Tensor], name: str) -> None:
    x = torch.ones(3, 4)
    with pytest.raises(RuntimeError, match=rf"({name}).* is not permitted"):
        CpuRecorder().record(lambda: _ignore(work(x)))


def test_what_torchscript_does_not_know_is_called_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    traced: list[Any] = []
    trace = recorders._trace

    def note(calls: Any) -> Any:
        traced.append(trace(calls))
        return traced[-1]

    monkeypatch.setattr(recorders, "_trace", note)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(replayed(WORKS["a convolution"], x, x + 1.0), WORKS["a convolution"](x + 1.0))
    assert traced == [None]


def test_a_recording_lives_as_long_as_it_is_held() -> None:
    x = torch.zeros(2)
    before = len(torch.jit._state._python_cu.get_functions())  # type: ignore[attr-defined]
    CpuRecorder().record(lambda: _double(x))()
    assert len(torch.jit._state._python_cu.get_functions()) == before  # type: ignore[attr-defined]


def test_a_recording_changes_nothing_of_how_torch_runs_other_functions() -> None:
    x = torch.zeros(2)
    replay = CpuRecorder().record(lambda: _double(x))
    replay()
    assert torch._C._get_graph_executor_optimize()  # type: ignore[attr-defined]
    assert torch.is_grad_enabled()
