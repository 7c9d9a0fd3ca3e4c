"""Disturbances: what they change, by values, and that nothing else changes."""

from __future__ import annotations

import copy
import functools
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

from slc_agents.envs import check_env, make_test_env, make_vector_env
from slc_agents.envs.cart_pole import CartPoleCost
from slc_agents.envs.disturbances import (
    ActionBias,
    ActionDelay,
    ActionImpulse,
    ActionNoise,
    MujocoChange,
    ObservationBias,
    ObservationDelay,
    ObservationNoise,
    ParameterChange,
)
from slc_agents.envs.state import get_env_state, set_env_state
from slc_agents.errors import UnsupportedSpaceError


class Echo(gym.Env[Any, Any]):
    """Shows the action that it was given, after the number of the step, starting with its seeded draw."""

    observation_space = gym.spaces.Box(-10, 10, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self) -> None:
        self.gain, self.table = 1.0, np.ones(3)

    @property
    def doubled(self) -> float:
        return 2 * self.gain

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        assert action.dtype == np.float32
        return self.gain * action, 0.0, False, False, {"true": action}


ACTION = np.array([0.25, -0.5], np.float32)


def shown(env: gym.Env[Any, Any], n_steps: int, action: Any = ACTION) -> list[Any]:
    return [env.step(action)[0].tolist() for _ in range(n_steps)]


# -- actions -----------------------------------------------------------------------------------------------------------


def added(env: gym.Env[Any, Any], n_steps: int) -> list[float]:
    """What is added to the first part of the action in each step of an episode."""
    env.reset(seed=1)
    return [one[0] - 0.25 for one in shown(env, n_steps)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"steps": 2}, [0, 0, 2, 0, 0, 0, 0, 0, 0]),
        ({"steps": range(1, 3)}, [0, 2, 2, 0, 0, 0, 0, 0, 0]),
        ({"steps": (0, 5)}, [2, 0, 0, 0, 0, 2, 0, 0, 0]),
        ({"steps": 1, "period": 3}, [0, 2, 0, 0, 2, 0, 0, 2, 0]),
        ({"steps": [2, 3], "period": 4}, [0, 0, 2, 2, 0, 0, 2, 2, 0]),
    ],
)
def test_impulses(options: Any, expected: list[float]) -> None:
    env = ActionImpulse(Echo(), 2.0, **options)
    assert added(env, 9) == expected
    assert added(env, 9) == expected  # counted anew in each episode


def test_an_impulse_on_one_part() -> None:
    env = ActionImpulse(Echo(), [0.0, 3.0], 0)
    env.reset()
    assert shown(env, 1) == [[0.25, 2.5]]


def test_bias() -> None:
    env = ActionBias(Echo(), [0.5, -1.0])
    env.reset()
    assert shown(env, 2) == [[0.75, -1.5]] * 2


@pytest.mark.parametrize(("kind", "mean"), [(ActionNoise, ACTION), (ObservationNoise, ACTION)])
def test_noise(kind: Any, mean: Any) -> None:
    env = kind(Echo(), [0.5, 2.0])
    plain = Echo().reset(seed=3)[0]
    first, _ = env.reset(seed=3)
    assert np.array_equal(first, plain) is (kind is ActionNoise)  # episodes start as they would without
    seen = np.array(shown(env, 1000))
    np.testing.assert_allclose(seen.mean(axis=0), mean, atol=0.2)
    np.testing.assert_allclose(seen.std(axis=0), [0.5, 2.0], rtol=0.1)
    env.reset(seed=3)
    assert shown(env, 5) == seen[:5].tolist()
    env.reset()
    assert shown(env, 5) != seen[:5].tolist()


def test_two_noises_are_independent() -> None:
    env = ActionNoise(ActionNoise(Echo(), [1.0, 0.0]), [0.0, 1.0])
    env.reset(seed=3)
    seen = np.array(shown(env, 300)) - ACTION
    assert abs(np.corrcoef(seen.T)[0, 1]) < 0.2


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delayed_actions(delay: int) -> None:
    env = ActionDelay(Echo(), delay)
    for _ in range(2):
        env.reset()
        seen = [env.step(np.full(2, i, np.float32))[0][0] for i in range(1, 6)]
        assert seen == [*[0] * delay, *range(1, 6)][:5]


def test_a_delayed_action_starts_within_the_bounds() -> None:
    echo = Echo()
    echo.action_space = gym.spaces.Box(np.array([0.5, -2], np.float32), np.array([1, -1], np.float32))
    env = ActionDelay(echo, 1)
    env.reset()
    assert shown(env, 2) == [[0.5, -1.0], ACTION.tolist()]


def test_a_control_task_is_disturbed_behind_its_bounds() -> None:
    """And disturbances add up."""
    env = ActionImpulse(ActionBias(gym.make("slc/CartPoleCost-v1", gravity=0), 10.0), 70.0, 1)
    env.reset(seed=0)
    plant: Any = env.unwrapped
    gained = []
    for _ in range(3):
        plant.state = np.zeros(4)
        env.step(np.array([50.0], np.float32))  # clipped to 20
        gained.append(plant.state[1])
    np.testing.assert_allclose(np.divide(gained, gained[0]), [1, 100 / 30, 1])


# -- observations ------------------------------------------------------------------------------------------------------


def test_observation_bias_is_clipped_to_the_bounds() -> None:
    env = ObservationBias(Echo(), [1.0, 20.0])
    first, _ = env.reset(seed=3)
    plain, _ = Echo().reset(seed=3)
    assert first.tolist() == [plain[0] + 1, 10.0]
    observation, _, _, _, info = env.step(ACTION)
    assert observation.tolist() == [1.25, 10.0]
    assert observation.dtype == np.float32
    assert info["true"].tolist() == ACTION.tolist()


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_delayed_observations(delay: int) -> None:
    env = ObservationDelay(Echo(), delay)
    for seed in (1, 2):
        first, _ = env.reset(seed=seed)
        assert first.tolist() == Echo().reset(seed=seed)[0].tolist()
        seen = [env.step(np.full(2, i, np.float32))[0][0] for i in range(1, 6)]
        assert seen == [*[first[0]] * delay, *range(1, 6)][:5]


# -- parameters --------------------------------------------------------------------------------------------------------


def test_parameters_are_changed_and_set_back() -> None:
    base = gym.make("slc/CartPoleCost-v1")
    plant: Any = base.unwrapped
    env = ParameterChange(base, {"cart_mass": 3.0}, {"pole_length": 2.0})
    assert (plant.cart_mass, plant.pole_length, plant.pole_mass) == (3.0, 2.0, 0.1)
    env.restore()
    assert (plant.cart_mass, plant.pole_length) == (1.0, 1.0)
    ParameterChange(base, {"cart_mass": 3.0}).close()
    assert plant.cart_mass == 1.0


def test_changed_parameters_act() -> None:
    env = ParameterChange(Echo(), {"table": 2.0}, {"gain": 3.0})
    env.reset()
    assert shown(env, 1) == [[0.75, -1.5]]
    assert env.unwrapped.table == 2.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "factors", "message"),
    [
        ({"gian": 1.0}, None, "Echo has no parameter 'gian', a number or an array that can be set; there are gain"),
        ({"doubled": 1.0}, None, "no parameter 'doubled'.*there are gain, table"),
        ({"step": 1.0}, None, "no parameter 'step'"),
        ({"gain": "big"}, None, "gain='big': a finite number is needed, as 1.0 was"),
        ({"gain": np.inf}, None, "gain=inf"),
        ({"table": np.ones(2)}, None, r"table=array.*or an array like it"),
        ({"gain": 2.0}, {"gain": 2.0}, r"\['gain'\]: give a value or a factor, not both"),
        (None, {"gain": 0}, "gain=0: a finite number above 0"),
    ],
)
def test_parameters_that_cannot_be_changed(values: Any, factors: Any, message: str) -> None:
    echo = Echo()
    with pytest.raises(ValueError, match=message):
        ParameterChange(echo, values, factors)
    assert (echo.gain, echo.table.tolist()) == (1.0, [1.0] * 3)


def test_a_control_task_checks_its_parameters() -> None:
    env = gym.make("slc/CartPoleCost-v1")
    with pytest.raises(ValueError, match=r"pole_length=-1\.0: a finite number above 0"):
        ParameterChange(env, {"cart_mass": 2.0, "pole_length": -1.0})
    assert (env.unwrapped.pole_length, env.unwrapped.cart_mass) == (1.0, 1.0)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["n_genes", "state", "time"])
def test_what_is_no_parameter_of_a_control_task(name: str) -> None:
    env = gym.make("slc/Oscillator-v1")
    env.reset()
    with pytest.raises(ValueError, match=f"Oscillator has no parameter '{name}'"):
        ParameterChange(env, {name: 4})


def model_arrays(model: Any) -> dict[str, Any]:
    arrays = {name: getattr(model, name) for name in dir(model) if not name.startswith("_")}
    return {name: value.copy() for name, value in arrays.items() if isinstance(value, np.ndarray)}


@pytest.mark.parametrize("env_id", ["Hopper-v5", "slc/AntCost-v1"])
def test_a_mujoco_model_is_changed_and_set_back(env_id: str) -> None:
    base = gym.make(env_id)
    model: Any = base.unwrapped.model  # type: ignore[attr-defined]
    before = model_arrays(model)
    env = MujocoChange(base, mass=2.0, friction=0.5, gear=0.25)
    for name, factor in (("body_mass", 2), ("body_inertia", 2), ("geom_friction", 0.5), ("actuator_gear", 0.25)):
        np.testing.assert_array_equal(getattr(model, name), factor * before[name])
    np.testing.assert_allclose(model.body_subtreemass, 2 * before["body_subtreemass"])  # derived from them
    env.restore()
    for name, array in model_arrays(model).items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    MujocoChange(base, mass=2.0).close()
    np.testing.assert_array_equal(model.body_mass, before["body_mass"])


def test_a_changed_mujoco_model_acts() -> None:
    """In free fall, with no force but the motor's."""
    accelerations = []
    for options in ({}, {"gear": 0.5}, {"mass": 2.0}):
        env = MujocoChange(gym.make("HalfCheetah-v5", reset_noise_scale=0, frame_skip=1), **options)
        env.reset(seed=0)
        plant: Any = env.unwrapped
        plant.model.dof_damping[:], plant.model.jnt_stiffness[:], plant.model.dof_armature[:] = 0, 0, 0
        plant.data.qpos[1] = 10.0
        env.step(np.array([0.01, 0, 0, 0, 0, 0], np.float32))
        accelerations.append(plant.data.qvel[3])
    np.testing.assert_allclose(accelerations[1:], accelerations[0] / 2, rtol=1e-3)


@pytest.mark.parametrize(
    ("env", "options", "message"),
    [
        (Echo, {}, "has no model of MuJoCo's"),
        (lambda: gym.make("Hopper-v5"), {"mass": 0}, "mass=0: a finite number above"),
    ],
)
def test_models_that_cannot_be_changed(env: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MujocoChange(env(), **options)


# -- all of them -------------------------------------------------------------------------------------------------------

ALL: dict[str, Any] = {
    "ActionImpulse": functools.partial(ActionImpulse, magnitude=3.0, steps=range(20, 30), period=40),
    "ActionNoise": functools.partial(ActionNoise, scale=1.0),
    "ActionBias": functools.partial(ActionBias, bias=0.5),
    "ActionDelay": functools.partial(ActionDelay, delay=2),
    "ObservationNoise": functools.partial(ObservationNoise, scale=0.1),
    "ObservationBias": functools.partial(ObservationBias, bias=0.1),
    "ObservationDelay": functools.partial(ObservationDelay, delay=2),
    "ParameterChange": functools.partial(ParameterChange, factors={"pole_mass": 2.0}),
}
TASK = "slc/CartPoleTrackingCost-v1"
ENDLESS = {"theta_limit": 1e3, "x_limit": 1e3, "cost_limit": 1e9}


def play(env: Any, n_steps: int) -> list[Any]:
    env.action_space.seed(5)
    return [
        [np.asarray(part).tolist() for part in env.step(0.1 * env.action_space.sample())[:3]] for _ in range(n_steps)
    ]


@pytest.mark.parametrize("name", ALL)
def test_it_makes_a_difference(name: str) -> None:
    envs = [make_vector_env(TASK, wrappers=wrappers, **ENDLESS) for wrappers in ([], [ALL[name]])]
    for env in envs:
        env.reset(seed=2)
    one, other = (play(env, 35) for env in envs)
    assert one != other


@pytest.mark.parametrize("name", [*ALL, "MujocoChange"])
def test_states_are_restored_exactly(name: str) -> None:
    def make() -> Any:
        if name in ALL:
            return make_vector_env(TASK, 2, wrappers=[ALL[name]], **ENDLESS)
        return make_vector_env("slc/HalfCheetahCost-v1", 2, wrappers=[functools.partial(MujocoChange, mass=2)])

    first, second = make(), make()
    first.reset(seed=1)
    play(first, 25)
    state = copy.deepcopy(get_env_state(first))
    expected = play(first, 20)
    second.reset(seed=2)
    set_env_state(second, state)
    assert play(second, 20) == expected


@pytest.mark.parametrize("name", ALL)
def test_copies_pickles_specs_and_checks(name: str) -> None:
    env = ALL[name](gym.make(TASK, **ENDLESS))
    env.reset(seed=1)
    pickled = pickle.loads(pickle.dumps(env))
    assert play(pickled, 3) == play(env, 3)
    assert env.spec is not None
    again = gym.make(env.spec)
    again.reset(seed=1), env.reset(seed=1)
    assert play(again, 30) == play(env, 30)
    made = make_test_env(env, make_vector_env(env))
    assert made is not None
    assert type(made.envs[0].env) is type(env)  # type: ignore[attr-defined]
    check_env(env)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_of_changed_environments_are_changed(duplicate: Any) -> None:
    """Though MuJoCo's robots are made anew where they are copied; and a copy can be set back, alone."""
    base = gym.make("slc/HopperCost-v1")
    mass = base.unwrapped.model.body_mass.copy()  # type: ignore[attr-defined]
    env = MujocoChange(ParameterChange(base, {"reference_velocity": 2.0}), mass=2.0)
    made = duplicate(env)
    np.testing.assert_array_equal(made.unwrapped.model.body_mass, 2 * mass)
    assert made.unwrapped.reference_velocity == 2.0
    made.close()
    np.testing.assert_array_equal(made.unwrapped.model.body_mass, mass)
    assert made.unwrapped.reference_velocity == 1.0
    np.testing.assert_array_equal(base.unwrapped.model.body_mass, 2 * mass)  # type: ignore[attr-defined]
    env.restore()
    np.testing.assert_array_equal(duplicate(env).unwrapped.model.body_mass, mass)


def test_a_disturbed_control_task_must_be_reset_first() -> None:
    env = ActionBias(CartPoleCost(), 1.0)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ActionNoise(Echo(), -1), "scale=-1: a finite number of at least 0 is needed"),
        (lambda: ActionNoise(Echo(), [1, 2, 3]), r"scale=\[1, 2, 3\]: .*an array of the shape \(2,\)"),
        (lambda: ActionBias(Echo(), np.nan), "bias=nan"),
        (lambda: ObservationBias(Echo(), "big"), "bias='big'"),
        (lambda: ActionImpulse(Echo(), 1, -1), "steps=-1: a whole number of at least 0"),
        (lambda: ActionImpulse(Echo(), 1, range(3, 3)), r"steps=range\(3, 3\): in none of them"),
        (lambda: ActionImpulse(Echo(), 1, 0, 0), "period=0: a whole number of at least 1"),
        (lambda: ActionDelay(Echo(), -1), "delay=-1"),
        (lambda: ObservationDelay(Echo(), 1.5), "delay=1.5"),  # type: ignore[arg-type]
    ],
)
def test_arguments_out_of_range(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_spaces_that_do_not_fit() -> None:
    with pytest.raises(UnsupportedSpaceError, match=r"ActionNoise: the action space is Discrete\(2\); a Box of floats"):
        ActionNoise(gym.make("CartPole-v1"), 1.0)
    echo = Echo()
    echo.observation_space = gym.spaces.Box(0, 255, (2,), np.uint8)
    with pytest.raises(UnsupportedSpaceError, match="ObservationNoise: the observation space is"):
        ObservationNoise(echo, 1.0)
