"""Disturbances by name, and of a user's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from tracked_point import make_point

from slc_agents.envs.disturbances import ActionBias, ActionImpulse
from slc_agents.errors import UnsupportedSpaceError
from slc_agents.evaluation.family import NAMES, disturbance_family, named_disturbance

SIZED = ["action-noise", "action-bias", "observation-noise", "observation-bias", "action-delay", "observation-delay"]


def course(env: gymnasium.Env[Any, Any], n: int = 4) -> list[float]:
    """What a point shows that is moved by 0.5 in each step."""
    first, _ = env.reset(seed=3)
    return [float(value[0]) for value in (first, *(env.step(np.array([0.5], np.float32))[0] for _ in range(n)))]


@pytest.mark.parametrize("name", [*SIZED, "action-impulse"])
def test_a_name_disturbs_by_its_size(name: str) -> None:
    family = named_disturbance(name, steps=[1]) if name == "action-impulse" else named_disturbance(name)
    undisturbed = course(make_point()())
    assert (family.name, family.neutral) == (name, 0.0)
    assert course(family.at(0.0)(make_point()())) == undisturbed
    assert course(family.at(1.0)(make_point()())) != undisturbed


def test_an_impulse_pushes_in_its_steps() -> None:
    x0 = course(make_point()())[0]
    moved = np.array([0, 0.5, 2.5, 3.0, 5.0]) + x0
    assert course(named_disturbance("action-impulse", steps=[1], period=2).at(1.5)(make_point()())) == pytest.approx(
        moved
    )
    once = named_disturbance("action-impulse", steps=0).at(1.5)(make_point()())  # the first one, and a number alone
    assert np.diff(course(once)) == pytest.approx([2.0, 0.5, 0.5, 0.5])
    regular = named_disturbance("action-impulse").at(1.5)(make_point(length=50)())
    steps = np.diff(course(regular, 45))
    assert (steps > 1).nonzero()[0].tolist() == [20, 40]


def test_a_parameter_is_multiplied() -> None:
    family = named_disturbance("parameter:gain")
    env = family.at(2.0)(make_point()())
    assert np.diff(course(env)) == pytest.approx([1.0] * 4)
    assert (family.neutral, family.default_sizes(env.action_space)) == (1.0, (0.25, 0.5, 1.0, 2.0, 4.0))


def test_parts_say_what_of_an_observation_is_disturbed() -> None:
    family = named_disturbance("observation-bias", parts=[0, 0, 1, 0])
    env = family.at(0.1)(gymnasium.make("slc/CartPoleCost-v1"))
    plain, _ = gymnasium.make("slc/CartPoleCost-v1").reset(seed=1)
    assert env.reset(seed=1)[0] - plain == pytest.approx([0, 0, 0.1, 0])
    with pytest.raises(ValueError, match=r"parts=\[1.0, 2.0\], multiplied with the size 3: .*shape \(1,\)"):
        named_disturbance("action-bias", parts=[1, 2]).at(3.0)(make_point()())


def test_sizes_of_actions_are_in_half_ranges() -> None:
    space = make_point()().action_space  # from -8 to 4
    assert named_disturbance("action-impulse").default_sizes(space) == (0, 6, 12, 24, 48)
    assert named_disturbance("action-delay").default_sizes(space) == (0, 1, 2, 4, 8)
    for family in (named_disturbance("observation-noise"), disturbance_family(ActionBias)):
        with pytest.raises(ValueError, match=r"has no sizes of its own.* --sizes 0,0.1,0.2"):
            family.default_sizes(space)
    impulse, unbounded = named_disturbance("action-impulse"), gymnasium.spaces.Box(-np.inf, np.inf, (2,))
    with pytest.raises(ValueError, match=r"which has no bounds.* --sizes 0,0.1,0.2"):
        impulse.default_sizes(unbounded)
    with pytest.raises(UnsupportedSpaceError, match=r"action-impulse: the action space is Discrete\(2\)"):
        impulse.default_sizes(gymnasium.spaces.Discrete(2))


def test_a_function_of_an_environment_and_a_size() -> None:
    def drop(env: Any, size: float) -> Any:
        return ActionBias(env, -size)

    for disturb, name in (
        (drop, "drop"),
        (ActionBias, "ActionBias"),
        (partial(ActionImpulse, steps=0), "ActionImpulse"),
    ):
        family = disturbance_family(disturb)
        assert (family.name, family.neutral) == (name, None)
        assert isinstance(family.at(1.0)(make_point()()), gymnasium.Wrapper)
    assert disturbance_family(family) is family
    assert disturbance_family("action-bias").name == "action-bias"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "action-nois"}, "did you mean action-noise"),
        ({"name": "wind"}, r"there are action-impulse, .*parameter:NAME, mujoco:NAME"),
        ({"name": "parameter"}, "did you mean parameter:NAME"),
        ({"name": "parameter:"}, "did you mean parameter:NAME"),
        ({"name": "mujoco:colour"}, "there are mass, friction, gear"),
        ({"name": "action-noise", "steps": [3]}, r"steps=\[3\]: action-noise has no such option"),
        ({"name": "action-bias", "period": 3}, "period=3: action-bias has no such option"),
        ({"name": "action-bias", "parts": "x"}, "parts='x': numbers are needed"),
        ({"name": "action-impulse", "period": 3}, "give the steps of the first impulse too"),
        (
            {"name": "action-delay", "parts": [1]},
            r"parts=\[1\]: action-delay has no such option; it is one of action-im",
        ),
    ],
)
def test_what_is_wrong_is_said(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named_disturbance(**arguments)


@pytest.mark.parametrize("disturbance", [3, None, make_point()()])
def test_what_is_no_disturbance(disturbance: Any) -> None:
    with pytest.raises(TypeError, match=r"disturbance: received .*a name, or a function"):
        disturbance_family(disturbance)


def test_every_name_makes_a_family() -> None:
    for name in NAMES:
        assert named_disturbance({"parameter:": "parameter:x", "mujoco:": "mujoco:mass"}.get(name, name)).name
