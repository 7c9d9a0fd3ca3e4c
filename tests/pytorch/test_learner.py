"""What is PyTorch's own in a learner: how it computes gradients of some parameters and not of others.

What each backend's learner does is in tests/learner.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from slc_agents.pytorch.learner import frozen_alias
from tests.support.backends import RATES, make_buffer


def test_a_frozen_alias_shares_memory_and_asks_for_no_gradients() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    alias = frozen_alias(net)
    for theirs, ours in zip([*alias.parameters(), *alias.buffers()], [*net.parameters(), *net.buffers()], strict=True):
        assert theirs.data_ptr() == ours.data_ptr()
        assert not theirs.requires_grad
    assert all(p.requires_grad for p in net.parameters())
    x = torch.randn(4, 2, requires_grad=True)
    alias.eval()(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in [*net.parameters(), *alias.parameters()])


def test_the_learner_s_frozen_critic_follows_training_and_loading(make_learner: Any) -> None:
    learner, other = make_learner(seed=0), make_learner(seed=1)
    x, a = torch.randn(5, 3), torch.randn(5, 2)

    def same() -> bool:
        return torch.equal(learner.policy.critic(x, a), learner.frozen_critic(x, a))

    assert same()
    before = learner.frozen_critic(x, a)
    learner.set_learning_rates(RATES)
    learner.update(make_buffer(learner), 2)
    assert same()
    assert not torch.equal(learner.frozen_critic(x, a), before)
    learner.load_state_dict(other.state_dict())
    assert same()
    assert torch.equal(learner.frozen_critic(x, a), other.policy.critic(x, a).detach())


def test_versions_names_torch(make_learner: Any) -> None:
    assert make_learner().versions()["torch"] == torch.__version__
