"""gymnasium's MuJoCo tasks with another aim: to run at a given velocity, neither slower nor faster.

From the control tasks of Han et al. 2020 (arXiv 2004.14288). Importing this module needs MuJoCo, which comes with the
extra `mujoco`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import EzPickle
from numpy.typing import NDArray

from slc_agents.envs.control_task import UNBOUNDED, tracking_info
from slc_agents.errors import check_number, require

require("mujoco", "mujoco", "a control task of MuJoCo's")

from gymnasium.envs.mujoco.ant_v5 import AntEnv  # noqa: E402
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv  # noqa: E402
from gymnasium.envs.mujoco.hopper_v5 import HopperEnv  # noqa: E402
from gymnasium.envs.mujoco.humanoid_v5 import HumanoidEnv  # noqa: E402
from gymnasium.envs.mujoco.swimmer_v5 import SwimmerEnv  # noqa: E402
from gymnasium.envs.mujoco.walker2d_v5 import Walker2dEnv  # noqa: E402

__all__ = [
    "AntCost",
    "HalfCheetahCost",
    "HealthyVelocityCost",
    "HopperCost",
    "HumanoidCost",
    "SwimmerCost",
    "VelocityCost",
    "Walker2dCost",
]

# Keyword arguments of gymnasium's classes that would have no effect.
_OF_THE_REWARD = {
    "forward_reward_weight",
    "ctrl_cost_weight",
    "contact_cost_weight",
    "contact_cost_range",
    "healthy_reward",
}


class VelocityCost(gymnasium.Env[Any, Any], EzPickle):
    """Stands before one of gymnasium's classes: the cost is (v_x - r)²; r and v_x are appended to the observation.

    v_x is the velocity that gymnasium's task rewards, in m/s, that of the last step; after a reset it is the root's.

    Args:
        reference_velocity: The velocity r to run at, in m/s.
        **options: Keyword arguments of gymnasium's class, but for those of its reward.

    Raises:
        ValueError: If the velocity is no finite number.
        TypeError: If an option is one of the reward's.
    """

    data: Any  # MuJoCo's MjData
    observation_structure: dict[str, int]

    def __init__(self, reference_velocity: float = 1.0, **options: Any) -> None:
        self.reference_velocity = check_number("reference_velocity", reference_velocity)
        pointless = sorted(_OF_THE_REWARD & set(options))
        if pointless:
            raise TypeError(
                f"{type(self).__name__} has no keyword {pointless[0]!r}, which shapes gymnasium's reward; the cost "
                "here is the squared error of the velocity. Leave it out"
            )
        super().__init__(**options)
        size = int(np.prod(self.observation_space.shape or ())) + 2
        self.observation_space = spaces.Box(-UNBOUNDED, UNBOUNDED, (size,), np.float32)
        self.observation_structure = {**self.observation_structure, "reference": 1, "x_velocity": 1}
        EzPickle.__init__(self, reference_velocity=reference_velocity, **options)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode."""
        observation, info = super().reset(seed=seed, options=options)
        return self._shown(observation, float(self.data.qvel[0]), info)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Moves the robot by one step, at that cost."""
        observation, _, terminated, truncated, info = super().step(action)
        velocity = float(info["x_velocity"])
        shown, info = self._shown(observation, velocity, info)
        return shown, self._cost(velocity), bool(terminated), bool(truncated), info

    def _shown(
        self, observation: NDArray[np.float64], velocity: float, info: dict[str, Any]
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        kept = {key: value for key, value in info.items() if not key.startswith("reward_")}  # of gymnasium's reward
        shown = np.concatenate((observation, (self.reference_velocity, velocity))).astype(np.float32)
        return shown, {**kept, **tracking_info(self.reference_velocity, velocity)}

    def _cost(self, velocity: float) -> float:
        return (velocity - self.reference_velocity) ** 2


class HealthyVelocityCost(VelocityCost):
    """A `VelocityCost` for a task that knows unhealthy states, and ends in one unless `terminate_when_unhealthy=False`.

    Args:
        reference_velocity: The velocity to run at, in m/s.
        unhealthy_cost: Added to the cost of each step that ends unhealthy.
        **options: Keyword arguments of gymnasium's class, but for those of its reward.

    Raises:
        ValueError: If a number is not finite, or the cost is below 0.
        TypeError: If an option is one of the reward's.
    """

    is_healthy: Any  # gymnasium's property

    def __init__(self, reference_velocity: float = 1.0, unhealthy_cost: float = 10.0, **options: Any) -> None:
        super().__init__(reference_velocity, **options)
        self.unhealthy_cost = check_number("unhealthy_cost", unhealthy_cost, minimum=0)
        EzPickle.__init__(self, reference_velocity=reference_velocity, unhealthy_cost=unhealthy_cost, **options)

    def _cost(self, velocity: float) -> float:
        return super()._cost(velocity) + (0.0 if self.is_healthy else self.unhealthy_cost)


class SwimmerCost(VelocityCost, SwimmerEnv):
    """gymnasium's `Swimmer-v5` as a `VelocityCost`."""


class HalfCheetahCost(VelocityCost, HalfCheetahEnv):
    """gymnasium's `HalfCheetah-v5` as a `VelocityCost`."""


class HopperCost(HealthyVelocityCost, HopperEnv):
    """gymnasium's `Hopper-v5` as a `HealthyVelocityCost`."""


class Walker2dCost(HealthyVelocityCost, Walker2dEnv):
    """gymnasium's `Walker2d-v5` as a `HealthyVelocityCost`."""


class AntCost(HealthyVelocityCost, AntEnv):
    """gymnasium's `Ant-v5` as a `HealthyVelocityCost`."""


class HumanoidCost(HealthyVelocityCost, HumanoidEnv):
    """gymnasium's `Humanoid-v5` as a `HealthyVelocityCost`."""
