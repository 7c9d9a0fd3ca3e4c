"""Small learners for the tests of the PyTorch backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from slc_agents.pytorch.learner import TensorBatch
from slc_agents.pytorch.sac import SACLearner
from tests.support.backends import BackendUnderTest

PYTORCH = BackendUnderTest("pytorch")


def _losses(learner: SACLearner, batch: TensorBatch, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The critics' and the actor's loss, as a gradient step has them before it moves anything."""
    alpha = learner.alpha().detach()
    next_sample, draw_sample = learner.sample_actions(batch, noise)
    critic_loss, _ = learner.critic_loss(batch, alpha, next_sample)
    return critic_loss, learner.actor_loss(batch, alpha, draw_sample())


@pytest.fixture
def losses() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    return _losses


@pytest.fixture
def make_learner() -> Callable[..., Any]:
    return PYTORCH.make_learner


@pytest.fixture
def make_lac_learner() -> Callable[..., Any]:
    return PYTORCH.make_lac_learner


@pytest.fixture
def make_batch() -> Callable[..., Any]:
    return PYTORCH.make_batch
