"""Adam over parameters that lie side by side."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import nn

from slc_agents.pytorch.optimizer import NoOptimizer, Optimizer, lay_out, merge_runs, move_together


def make_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 7))


@pytest.fixture(autouse=True)
def _own_randomness() -> Any:
    with torch.random.fork_rng(devices=[]):
        yield


def test_steps_are_those_of_torch() -> None:
    net, theirs = make_net(), make_net()
    optimizer = Optimizer(dict(net.named_parameters()))
    adam = torch.optim.Adam(theirs.parameters(), lr=0.0)
    for i in range(5):
        x = torch.randn(4, 3)
        optimizer.rate.fill_(0.01 * (i + 1))
        adam.param_groups[0]["lr"] = 0.01 * (i + 1)
        optimizer.minimise(net(x).square().mean())
        adam.zero_grad()
        theirs(x).square().mean().backward()
        adam.step()
        for mine, other in zip(net.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)
    assert optimizer.steps == 5
    moments = {(name, letter): moment for name, moment, letter in optimizer.tensors()}
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(moments[name, "m"], adam.state[parameter]["exp_avg"])
        torch.testing.assert_close(moments[name, "v"], adam.state[parameter]["exp_avg_sq"])


def test_parameters_keep_their_values_and_lie_side_by_side() -> None:
    net, before = make_net(), make_net().state_dict()
    optimizer = Optimizer(dict(net.named_parameters()))
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.untyped_storage().data_ptr() == optimizer.groups[0].flat.untyped_storage().data_ptr()
        assert parameter.data_ptr() % 64 == optimizer.groups[0].flat.data_ptr() % 64


def test_gradients_taken_away_come_back() -> None:
    net = make_net()
    optimizer = Optimizer(dict(net.named_parameters()))
    optimizer.rate.fill_(0.1)
    x = torch.randn(4, 3)
    optimizer.minimise(net(x).square().mean())
    net.zero_grad(set_to_none=True)
    before = net[0].weight.clone()
    optimizer.minimise(net(x).square().mean())
    assert not torch.equal(net[0].weight, before)


def test_parameters_of_several_types() -> None:
    parameters = {"a": nn.Parameter(torch.ones(3)), "b": nn.Parameter(torch.ones(2, dtype=torch.float64))}
    optimizer = Optimizer(parameters)
    optimizer.rate.fill_(0.5)
    optimizer.minimise(parameters["a"].sum() + parameters["b"].sum())
    torch.testing.assert_close(parameters["a"].detach(), torch.full((3,), 0.5))
    torch.testing.assert_close(parameters["b"].detach(), torch.full((2,), 0.5, dtype=torch.float64))
    assert [(name, letter) for name, _, letter in optimizer.tensors()] == [(n, x) for n in "ab" for x in "mv"]


@pytest.mark.parametrize("copying", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_a_copy_moves_its_own_parameters(copying: Any) -> None:
    net = make_net()
    optimizer = Optimizer(dict(net.named_parameters()))
    optimizer.rate.fill_(0.1)
    x = torch.randn(4, 3)
    optimizer.minimise(net(x).square().mean())
    other_net, other = copying((net, optimizer))
    assert other.steps == 1
    before = net[0].weight.clone()
    other.minimise(other_net(x).square().mean())
    assert torch.equal(net[0].weight, before)
    optimizer.minimise(net(x).square().mean())
    for mine, its in zip(net.parameters(), other_net.parameters(), strict=True):
        assert torch.equal(mine, its)
    assert not torch.equal(net[0].weight, before)


def test_memory_is_aligned_and_zero() -> None:
    flat, views = lay_out([torch.ones(3), torch.ones(20, 1), torch.ones(())])
    assert flat.shape == (16 + 32 + 16,)
    assert not flat.any()
    assert [view.storage_offset() for view in views] == [0, 16, 48]
    assert [view.shape for view in views] == [(3,), (20, 1), ()]


def test_runs_are_merged_where_both_partners_lie_alike() -> None:
    a, b = [[nn.Parameter(torch.full((n,), float(n))) for n in (3, 20, 5)] for _ in range(2)]
    move_together(a)
    assert len(merge_runs([*zip(a, b, strict=True)])) == 3
    move_together(b)
    merged = merge_runs([*zip(a, b, strict=True)])
    assert [pair[0].shape for pair in merged] == [(16 + 32 + 5,)]
    with torch.no_grad():
        merged[0][0].mul_(2.0)
    assert [float(p.detach()[0]) for p in a] == [6.0, 40.0, 10.0]
    assert [float(p.detach()[0]) for p in b] == [3.0, 20.0, 5.0]
    other_order = [(a[0], b[0]), (a[2], b[2]), (a[1], b[1])]
    assert len(merge_runs(other_order)) == 3
    assert merge_runs([]) == []


def test_nothing_to_learn() -> None:
    NoOptimizer().minimise(torch.ones(()))
