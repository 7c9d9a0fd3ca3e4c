"""A ball on a beam: a plant of one's own, a controller by hand, and all that the tutorial does with them.

The tutorial is docs/tutorials/plant_to_controller.md. Importing this module registers `BallAndBeam-v0`.
"""

import gymnasium as gym
import numpy as np


class BallAndBeam(gym.Env):
    """A ball rolls on a beam whose angle a servo sets. It is to come to a target and to stay there.

    Position r in m from the beam's middle, its rate v, and the beam's angle theta in rad, positive where the right end
    is up. A ball that rolls without slipping has the acceleration

        dv/dt = (r (dtheta/dt)^2 - gravity sin(theta)) / (1 + inertia) - friction v

    where inertia is its moment of inertia over mass times radius squared, 2/5 for a solid ball. The servo follows the
    angle u that it is told with a lag: dtheta/dt = (u - theta) / lag.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)
    action_space = gym.spaces.Box(-0.25, 0.25, (1,), np.float32)  # rad
    metadata = {"render_modes": []}

    gravity = 9.81  # m/s^2
    inertia = 0.4
    friction = 0.1  # 1/s
    lag = 0.1  # s
    half_length = 0.5  # m
    dt = 0.05  # s, from one action to the next
    substeps = 10  # of the integration, in each of these

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.target = self.np_random.uniform(-0.3, 0.3)
        self.state = np.array([self.np_random.uniform(-0.3, 0.3), self.np_random.uniform(-0.1, 0.1), 0.0])
        return self.observe(), self.info()

    def step(self, action):
        u = float(np.clip(action[0], self.action_space.low[0], self.action_space.high[0]))
        for _ in range(self.substeps):
            self.state = self.state + self.dt / self.substeps * self.rates(self.state, u)
        error = self.state[0] - self.target
        fell = bool(abs(self.state[0]) > self.half_length)
        cost = (error / 0.1) ** 2 + 0.1 * (self.state[1] / 0.1) ** 2 + 100.0 * fell
        return self.observe(), cost, fell, False, self.info()

    def rates(self, state, u):
        r, v, theta = state
        theta_rate = (u - theta) / self.lag
        rolling = (r * theta_rate**2 - self.gravity * np.sin(theta)) / (1.0 + self.inertia)
        return np.array([v, rolling - self.friction * v, theta_rate])

    def observe(self):
        r, v, theta = self.state
        return np.array([r, v, theta, self.target, r - self.target], np.float32)

    def info(self):
        r = float(self.state[0])
        return {"reference": self.target, "state_of_interest": r, "reference_error": r - self.target}


gym.register("BallAndBeam-v0", entry_point=BallAndBeam, max_episode_steps=200)


class LQR:
    """The linear controller that is optimal for the plant near its rest, and for a small price on the angle."""

    def __init__(self, plant, price=1.0):
        # Near rest: d(error)/dt = v, dv/dt = -k theta - friction v, dtheta/dt = (u - theta) / lag.
        k, h = plant.gravity / (1.0 + plant.inertia), plant.dt / plant.substeps
        rates = np.array([[0, 1, 0], [0, -plant.friction, -k], [0, 0, -1 / plant.lag]])
        small, push = np.eye(3) + h * rates, h * np.array([[0], [0], [1 / plant.lag]])
        a, b = np.eye(3), np.zeros((3, 1))
        for _ in range(plant.substeps):
            a, b = small @ a, small @ b + push
        cost, p = np.diag([100.0, 10.0, 0.0]), np.eye(3)
        for _ in range(2_000):  # Riccati's equation
            self.gain = np.linalg.solve(price + b.T @ p @ b, b.T @ p @ a)
            p = cost + a.T @ p @ (a - b @ self.gain)

    def predict(self, observation, state=None, episode_start=None, deterministic=True):
        """Returns angles [n, 1] for observations [n, 5]."""
        angle = -observation[:, [4, 1, 2]] @ self.gain.T
        return np.clip(angle, -0.25, 0.25).astype(np.float32), state
