from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slc_agents.errors import ConfigError
from slc_agents.schedulers import (
    ConstantScheduler,
    ExponentialScheduler,
    LinearScheduler,
    learning_rate_at,
    make_scheduler,
    scheduler_from_dict,
    scheduler_to_dict,
)

rates = st.floats(1e-12, 10.0)
progress = st.floats(0.0, 1.0)


@pytest.mark.parametrize(
    ("scheduler", "values"),
    [
        (ConstantScheduler(3e-4), [3e-4, 3e-4, 3e-4]),
        (LinearScheduler(1.0, 0.5), [1.0, 0.75, 0.5]),
        (LinearScheduler(0.5, 1.0), [0.5, 0.75, 1.0]),
        (LinearScheduler(1e-3, 0.0), [1e-3, 5e-4, 0.0]),
        (ExponentialScheduler(1e-2, 1e-6), [1e-2, 1e-4, 1e-6]),
        (ExponentialScheduler(1e-6, 1e-2), [1e-6, 1e-4, 1e-2]),
    ],
)
def test_values(scheduler, values):
    assert [scheduler(p) for p in (0.0, 0.5, 1.0)] == pytest.approx(values, rel=1e-12)


@given(rates, rates, progress)
@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_rates_stay_between_their_ends_which_are_exact(kind, initial, final, p):
    scheduler = make_scheduler(kind, initial, final)
    low, high = sorted((initial, final))
    assert low * (1 - 1e-9) <= scheduler(p) <= high * (1 + 1e-9)
    assert (scheduler(0.0), scheduler(1.0)) == (initial, final)


@given(rates, rates, progress, progress)
@pytest.mark.parametrize("kind", ["linear", "exponential"])
def test_rates_move_one_way(kind, initial, final, p, q):
    scheduler = make_scheduler(kind, initial, final)
    earlier, later = scheduler(min(p, q)), scheduler(max(p, q))
    change = (later - earlier) * math.copysign(1.0, final - initial)
    assert change >= -1e-12 * max(initial, final)


def test_make_scheduler():
    assert make_scheduler("constant", 0.1, 0.2) == ConstantScheduler(0.1)
    assert make_scheduler("linear", 0.1, 0.2) == LinearScheduler(0.1, 0.2)
    assert make_scheduler("exponential", 0.1, 0.2) == ExponentialScheduler(0.1, 0.2)
    with pytest.raises(ConfigError, match="'cosine': must be one of 'constant', 'linear', 'exponential'"):
        make_scheduler("cosine", 0.1, 0.2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConstantScheduler(-1.0), r"value=-1.0: must be >= 0"),
        (lambda: ConstantScheduler(True), r"value=True: must be a finite number"),
        (lambda: ConstantScheduler("1e-3"), r"value='1e-3': must be a finite number"),
        (lambda: LinearScheduler(math.nan, 1.0), r"initial=nan: must be a finite number"),
        (lambda: LinearScheduler(1.0, math.inf), r"final=inf: must be a finite number"),
        (lambda: ExponentialScheduler(0.0, 1.0), r"initial=0.0: must be > 0"),
        (lambda: ExponentialScheduler(1.0, 0), r"final=0: must be > 0"),
    ],
)
def test_rates_out_of_range(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@given(st.sampled_from(["constant", "linear", "exponential"]), rates, rates)
def test_schedulers_survive_json(kind, initial, final):
    scheduler = make_scheduler(kind, initial, final)
    assert scheduler_from_dict(json.loads(json.dumps(scheduler_to_dict(scheduler)))) == scheduler


def test_a_description_says_all():
    assert scheduler_to_dict(LinearScheduler(1e-3, 1e-5)) == {"type": "linear", "initial": 1e-3, "final": 1e-5}
    # YAML reads 1e-3 as a text.
    assert scheduler_from_dict({"type": "linear", "initial": "1e-3", "final": 0}) == LinearScheduler(1e-3, 0.0)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({}, "type: None must be one of"),
        ({"type": ["linear"]}, "must be one of"),
        ({"type": "step", "initial": 1}, "'step' must be one of"),
        ({"type": "linear", "initial": 1}, r"keys type, initial, final; received \['initial', 'type'\]"),
        ({"type": "constant", "value": 1, "final": 2}, "keys type, value; received"),
        ({"type": "linear", "initial": "fast", "final": 1}, "initial='fast': must be a finite number"),
        ({"type": "linear", "initial": None, "final": 1}, "initial=None: must be a finite number"),
        ({"type": "linear", "initial": -1, "final": 1}, "must be >= 0"),
    ],
)
def test_wrong_descriptions(description, message):
    with pytest.raises(ConfigError, match=message):
        scheduler_from_dict(description)


def test_a_function_of_the_users_is_a_schedule():
    assert learning_rate_at(lambda p: 1 - p, 0.25, "lr_a") == 0.75
    assert isinstance(learning_rate_at(lambda p: 1, 0.0, "lr_a"), float)


@pytest.mark.parametrize("answer", [None, "fast", math.nan, math.inf, -1e-9])
def test_a_function_that_returns_no_rate(answer):
    with pytest.raises(ConfigError, match=r"the schedule of lr_c returned .* at progress 0\.5; .* >= 0"):
        learning_rate_at(lambda p: answer, 0.5, "lr_c")


def test_an_error_of_the_function_is_its_own():
    with pytest.raises(TypeError, match="mine"):
        learning_rate_at(lambda p: (_ for _ in ()).throw(TypeError("mine")), 0.5, "lr_c")
