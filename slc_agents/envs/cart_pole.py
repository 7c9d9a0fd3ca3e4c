"""A pole on a cart, to be balanced by a continuous force: at the middle of its rail, or along a moving reference.

The pole is a uniform rod without friction (Barto, Sutton & Anderson 1983, doi:10.1109/TSMC.1983.6313077; the equations
as in Florian 2007, "Correct equations for the dynamics of the cart-pole system"). Costs as in Han et al. 2020
(arXiv 2004.14288).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents.drawing import COLORS, GREY, INK
from slc_agents.envs.control_task import UNBOUNDED, ControlTask
from slc_agents.errors import check_number, check_positive

if TYPE_CHECKING:
    from slc_agents.envs.canvas import Canvas

__all__ = ["CartPoleCost", "CartPoleTrackingCost"]


@dataclass(kw_only=True, eq=False, repr=False)
class CartPoleCost(ControlTask):
    """Balances the pole with the cart at the middle of the rail.

    The state and the observation are [x, ẋ, θ, θ̇], θ from the upright, in Euler steps of `dt`; the action is the force
    on the cart. The cost is (x / x_limit)² + 20 (θ / theta_limit)². Beyond ± x_limit or ± theta_limit, or where the
    cost would exceed cost_limit, the episode ends with the cost cost_limit.

    Attributes:
        gravity: Acceleration of free fall, m/s².
        cart_mass: In kg.
        pole_mass: In kg.
        pole_length: Of the whole pole, in m.
        max_force: The force is clipped to ± this, in N. The bounds of the action space are as they were made.
        x_limit: How far the cart may go from the middle, in m.
        theta_limit: How far the pole may tilt, in rad.
        cost_limit: The largest cost, and that of a failure.
        max_start_x: Episodes start with x uniform in ± this, in m,
        max_start: and with the rest of the state uniform in ± this.
        dt: Length of a step, in s.
        render_mode: `human`, `rgb_array` or None.

    Raises:
        ValueError: If a parameter is out of range.
    """

    gravity: float = 9.8
    cart_mass: float = 1.0
    pole_mass: float = 0.1
    pole_length: float = 1.0
    max_force: float = 20.0
    x_limit: float = 10.0
    theta_limit: float = math.radians(20)
    cost_limit: float = 100.0
    max_start_x: float = 5.0
    max_start: float = 0.2
    dt: float = 0.02
    render_mode: str | None = None

    _observation_size = 4

    def __post_init__(self) -> None:
        self.check_parameters()
        self.action_space = spaces.Box(-self.max_force, self.max_force, (1,), np.float32)
        self.observation_space = spaces.Box(-UNBOUNDED, UNBOUNDED, (self._observation_size,), np.float32)

    def check_parameters(self) -> None:
        """Raises a `ValueError` if a parameter is out of range, as one may be that was set later."""
        self._check(("cart_mass", "pole_mass", "pole_length", "max_force", "dt"), check_positive)
        self._check(("x_limit", "theta_limit", "cost_limit"), check_positive)
        self._check(("gravity", "max_start_x", "max_start"), partial(check_number, minimum=0.0))

    def _start(self) -> NDArray[np.float64]:
        spread = np.array([self.max_start_x, self.max_start, self.max_start, self.max_start])
        return self.np_random.uniform(-spread, spread)

    def _clip(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(action, -self.max_force, self.max_force)

    def _move(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        _, x_dot, theta, theta_dot = map(float, self.state)
        sin, cos = math.sin(theta), math.cos(theta)
        half, mass = self.pole_length / 2, self.cart_mass + self.pole_mass
        share = self.pole_mass / mass
        push = float(action[0]) / mass + share * half * theta_dot**2 * sin
        theta_acceleration = (self.gravity * sin - cos * push) / (half * (4 / 3 - share * cos**2))
        x_acceleration = push - share * half * theta_acceleration * cos
        rates = np.array([x_dot, x_acceleration, theta_dot, theta_acceleration])
        return self.state + self.dt * rates

    def reference(self, time: float) -> float | NDArray[np.float64]:
        """Returns the upright pole in the middle, [x, θ], at any time."""
        return np.zeros(2)

    @property
    def state_of_interest(self) -> float | NDArray[np.float64]:
        """[x, θ]."""
        return self.state[[0, 2]]

    def _cost(self) -> float:
        return float((self.state[0] / self.x_limit) ** 2 + 20 * (self.state[2] / self.theta_limit) ** 2)

    def _assess(self) -> tuple[float, bool]:
        cost = self._cost()
        inside = abs(self.state[0]) <= self.x_limit and abs(self.state[2]) <= self.theta_limit
        if inside and cost <= self.cost_limit:
            return cost, False
        return self.cost_limit, True

    def _draw(self, canvas: Canvas) -> None:
        x, _, theta, _ = map(float, self.state)
        canvas.text(f"{type(self).__name__}, {self.time:.2f} s: cost {self._assess()[0]:.3g}", (40, 14), size=22)
        canvas.text(f"x {x:+.2f} m,  tilt {math.degrees(theta):+.1f} deg", (40, 42), size=18, color=GREY)
        rail, scale = 400.0, 260.0 / self.x_limit  # pixels; pixels per metre along the rail
        self._draw_rail(canvas, rail, scale)
        reference = 320 + scale * float(np.atleast_1d(self.reference(self.time))[0])
        canvas.line([(reference, y) for y in range(110, int(rail), 6)], COLORS[2], 2.0, dashed=True)
        canvas.polygon([(reference, rail + 4), (reference - 8, rail + 18), (reference + 8, rail + 18)], COLORS[2])
        canvas.text("reference", (reference, rail + 40), 16, COLORS[2], align=(0.5, 0.0))
        self._draw_cart(canvas, 320 + scale * x, rail, theta)

    def _draw_rail(self, canvas: Canvas, rail: float, scale: float) -> None:
        canvas.line([(20, rail), (620, rail)], GREY, 3.0)
        for part in (-1.0, -0.5, 0.0, 0.5, 1.0):
            place = 320 + scale * part * self.x_limit
            height = 60 if abs(part) == 1 else 0  # a post, where the rail ends
            canvas.line([(place, rail - height), (place, rail + 6)], COLORS[1] if height else GREY, 3.0)
            canvas.text(f"{part * self.x_limit:g} m", (place, rail + 22), 16, GREY, align=(0.5, 0.0))

    def _draw_cart(self, canvas: Canvas, x: float, rail: float, theta: float) -> None:
        """Draws cart and pole larger than the rail is drawn, or they could hardly be seen; the pole's length shows."""
        axle, length = (x, rail - 44), 190 * min(self.pole_length, 1.4)
        for wheel in (x - 20, x + 20):
            canvas.circle((wheel, rail - 9), 9, INK)
        canvas.polygon([(x - 36, rail - 44), (x + 36, rail - 44), (x + 36, rail - 12), (x - 36, rail - 12)], COLORS[0])
        along = np.array([math.sin(theta), -math.cos(theta)])
        across = 5 * np.array([-along[1], along[0]])
        foot, tip = np.array(axle), np.array(axle) + length * along
        canvas.polygon(
            [tuple(corner) for corner in (foot - across, tip - across, tip + across, foot + across)], COLORS[4]
        )
        canvas.circle((tip[0], tip[1]), 5, COLORS[4])
        canvas.circle(axle, 7, INK)
        force = 50 * float(self._applied[0]) / self.max_force
        if force:
            start = x + math.copysign(40, force)
            head = start + force + math.copysign(8, force)
            canvas.line([(start, rail - 28), (start + force, rail - 28)], COLORS[1], 3.0)
            canvas.polygon([(head, rail - 28), (start + force, rail - 35), (start + force, rail - 21)], COLORS[1])


@dataclass(kw_only=True, eq=False, repr=False)
class CartPoleTrackingCost(CartPoleCost):
    """Balances the pole while the cart follows a reference along the rail.

    As `CartPoleCost`, but for the reference r(t) = reference_amplitude sin(2π reference_frequency t), which is appended
    to the observation, and the cost (x - r)² + (θ / theta_limit)².

    Attributes:
        theta_limit: How far the pole may tilt, in rad.
        reference_amplitude: In m.
        reference_frequency: In Hz.
    """

    theta_limit: float = math.radians(60)
    reference_amplitude: float = 7.0
    reference_frequency: float = 0.005

    _observation_size = 5

    def check_parameters(self) -> None:
        """Raises a `ValueError` if a parameter is out of range, as one may be that was set later."""
        super().check_parameters()
        self._check(("reference_amplitude", "reference_frequency"), check_number)

    def reference(self, time: float) -> float:
        """Returns where the cart should be at a time, in m."""
        return self.reference_amplitude * math.sin(2 * math.pi * self.reference_frequency * time)

    @property
    def state_of_interest(self) -> float:
        """Where the cart is, x."""
        return float(self.state[0])

    def _cost(self) -> float:
        error = self.state_of_interest - self.reference(self.time)
        return float(error**2 + (self.state[2] / self.theta_limit) ** 2)

    def _observe(self) -> NDArray[np.float32]:
        return np.array([*self.state, self.reference(self.time)], np.float32)
