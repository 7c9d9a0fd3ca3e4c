"""What is PyTorch's own in a learner of LAC; what each backend's does is in tests/learner."""

from __future__ import annotations

from typing import Any

import numpy as np

RATES = dict.fromkeys(("lr_a", "lr_c", "lr_alpha", "lr_labda"), 1e-2)


def test_a_change_of_the_target_policy_is_followed(make_lac_learner: Any, make_batch: Any) -> None:
    learner, still = make_lac_learner(), make_lac_learner()
    for one in (learner, still):
        one.set_learning_rates(RATES)
        one.step(*make_batch(one, 0))
    for parameter in learner.policy.actor_target.parameters():
        parameter.data = parameter.data.clone()
    for one in (learner, still):
        one.follow_policy()
        one.step(*make_batch(one, 1))
    for name, array in still.state_dict().items():
        np.testing.assert_allclose(learner.state_dict()[name], array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_it_says_that_its_networks_are_fused_and_its_steps_recorded(make_lac_learner: Any) -> None:
    for kwargs in ({}, {"n_critics": 2}, {"horizon_length": 2}):
        assert "fused networks, whole steps recorded" in make_lac_learner(**kwargs).describe()
