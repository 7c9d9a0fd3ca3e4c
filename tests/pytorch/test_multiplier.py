"""Non-negative multipliers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from slc_agents.pytorch.multiplier import LearnedMultiplier, make_multiplier


@pytest.mark.parametrize("value", [1e-6, 0.99, 1.0, 50.0])
def test_a_learned_one_starts_where_it_is_told_and_is_the_exponential_of_its_parameter(value: float) -> None:
    multiplier = make_multiplier(value, learned=True)
    assert float(multiplier().detach()) == pytest.approx(value, rel=1e-6)
    [(name, parameter)] = multiplier.named_parameters()
    assert name == "log_value"
    assert float(parameter.detach()) == pytest.approx(math.log(value), rel=1e-6)
    multiplier().backward()
    assert float(parameter.grad) == pytest.approx(value, rel=1e-6)  # type: ignore[arg-type]


def test_a_learned_one_stays_positive() -> None:
    multiplier = make_multiplier(1.0, learned=True)
    with torch.no_grad():
        next(multiplier.parameters()).fill_(-80.0)
    assert 0 < float(multiplier().detach()) < 1e-30


@pytest.mark.parametrize(
    ("reached", "kept"), [(-9.0, math.log(1e-3)), (-5.0, -5.0), (math.log(1e-3), math.log(1e-3)), (0.5, 0.0)]
)
def test_bounds_are_those_of_the_parameter_itself(reached: float, kept: float) -> None:
    multiplier = LearnedMultiplier(0.5, minimum=1e-3, maximum=1.0)
    with torch.no_grad():
        multiplier.log_value.fill_(reached)
    multiplier.clamp_()
    assert float(multiplier.log_value.detach()) == np.float32(kept)
    assert list(multiplier.state_dict()) == ["log_value"]


@pytest.mark.parametrize("value", [-200.0, 200.0])
def test_without_bounds_it_goes_anywhere(value: float) -> None:
    multiplier = LearnedMultiplier(0.5)
    with torch.no_grad():
        multiplier.log_value.fill_(value)
    multiplier.clamp_()
    assert float(multiplier.log_value.detach()) == value


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_fixed_one_has_nothing_to_learn(value: float) -> None:
    multiplier = make_multiplier(value, learned=False)
    assert float(multiplier()) == value
    assert not list(multiplier.parameters())
    assert not multiplier().requires_grad
    assert list(multiplier.state_dict()) == ["fixed_value"]
