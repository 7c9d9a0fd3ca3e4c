"""Oscillators: rings of genes that repress each other, whose first protein is to follow a sine.

The repressilator of Elowitz & Leibler 2000 (doi:10.1038/35002125), driven by light, as a control task in Han et al.
2020 (arXiv 2004.14288).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from slc_agents.envs.control_task import UNBOUNDED, ControlTask
from slc_agents.errors import check_number, check_positive

if TYPE_CHECKING:
    from slc_agents.envs.canvas import Canvas

__all__ = ["Oscillator", "OscillatorComplicated"]


@dataclass(kw_only=True, eq=False, repr=False)
class Oscillator(ControlTask):
    """A ring of three genes, in each of which the protein of the one before represses transcription.

    mRNA mᵢ and protein pᵢ of gene i, with the light uᵢ in [0, 1] that is shone on it:

        ṁᵢ = -mrna_degradation mᵢ + transcription / (dissociation + pᵢ₋₁²) + light_gain uᵢ
        ṗᵢ = -protein_degradation pᵢ + translation mᵢ

    in Euler steps, none below 0. The reference is r(t) = reference_mean + reference_amplitude sin(2πt /
    reference_period), the observation [m, p, r, p₁ - r], the cost (p₁ - r)². All start uniform in [0, max_start].

    Attributes:
        mrna_degradation: Rate at which mRNA decays. Like the other four: a number, or one for each gene.
        transcription: Rate of transcription without repression, times `dissociation`.
        dissociation: At which p² transcription is half.
        light_gain: Rate of transcription at full light.
        protein_degradation: Rate at which protein decays.
        translation: Rate of translation.
        reference_mean: The reference's mean.
        reference_amplitude: Its amplitude.
        reference_period: Its period, in the unit of `dt`.
        max_start: The largest concentration at the start.
        cost_limit: The episode ends when the cost exceeds it. None: never.
        dt: Length of a step.
        render_mode: `human`, `rgb_array` or None.

    Raises:
        ValueError: If a parameter is out of range.
    """

    mrna_degradation: float | NDArray[np.float64] = 0.16
    transcription: float | NDArray[np.float64] = 1.6
    dissociation: float | NDArray[np.float64] = 1.0
    light_gain: float | NDArray[np.float64] = 5.0
    protein_degradation: float | NDArray[np.float64] = 0.06
    translation: float | NDArray[np.float64] = 0.16
    reference_mean: float = 8.0
    reference_amplitude: float = 7.0
    reference_period: float = 200.0
    max_start: float = 5.0
    cost_limit: float | None = 100.0
    dt: float = 1.0
    render_mode: str | None = None

    n_genes: ClassVar[int] = 3

    def __post_init__(self) -> None:
        self.check_parameters()
        low = np.array([0.0] * 2 * self.n_genes + [-UNBOUNDED] * 2, np.float32)
        self.observation_space = spaces.Box(low, np.float32(UNBOUNDED), dtype=np.float32)
        self.action_space = spaces.Box(0.0, 1.0, (self.n_genes,), np.float32)

    def check_parameters(self) -> None:
        """Raises a `ValueError` if a parameter is out of range, as one may be that was set later."""
        for name in ("mrna_degradation", "transcription", "light_gain", "protein_degradation", "translation"):
            self._check_rate(name, partial(check_number, minimum=0.0))
        self._check_rate("dissociation", check_positive)
        self._check(("reference_period", "dt"), check_positive)
        self._check(("reference_mean", "reference_amplitude"), check_number)
        self._check(("max_start",), partial(check_number, minimum=0.0))
        if self.cost_limit is not None:
            self._check(("cost_limit",), check_positive)

    def _check_rate(self, name: str, check: Callable[[str, Any], float]) -> None:
        value: Any = getattr(self, name)
        if np.ndim(value) == 0:
            self._check((name,), check)
            return
        if np.shape(value) != (self.n_genes,):
            raise ValueError(f"{name}={value!r}: a number is needed, or {self.n_genes}, one for each gene")
        setattr(self, name, np.array([check(f"{name}[{i}]", float(one)) for i, one in enumerate(value)]))

    def _start(self) -> NDArray[np.float64]:
        return self.np_random.uniform(0.0, self.max_start, 2 * self.n_genes)

    def _move(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        mrna, protein = np.split(self.state, 2)
        repressor = np.roll(protein, 1)
        transcribed = self.transcription / (self.dissociation + repressor**2) + self.light_gain * action
        mrna_rate = transcribed - self.mrna_degradation * mrna
        protein_rate = self.translation * mrna - self.protein_degradation * protein
        return np.maximum(self.state + self.dt * np.concatenate((mrna_rate, protein_rate)), 0.0)

    def reference(self, time: float) -> float:
        """Returns what the concentration of the first protein should be at a time."""
        return self.reference_mean + self.reference_amplitude * math.sin(2 * math.pi * time / self.reference_period)

    @property
    def state_of_interest(self) -> float:
        """The concentration of the first protein."""
        return float(self.state[self.n_genes])

    def _assess(self) -> tuple[float, bool]:
        cost = (self.state_of_interest - self.reference(self.time)) ** 2
        return cost, self.cost_limit is not None and cost > self.cost_limit

    def _observe(self) -> NDArray[np.float32]:
        reference = self.reference(self.time)
        return np.array([*self.state, reference, self.state_of_interest - reference], np.float32)

    def _draw(self, canvas: Canvas) -> None:
        times = np.array([time for time, _ in self._trace])
        states = np.array([state for _, state in self._trace]).T  # [2 n_genes, times]
        elapsed = float(times[-1] - times[0])
        span = float(times[0]), float(times[0]) + 100 * self.dt * max(1, math.ceil(elapsed / (100 * self.dt)))
        ahead = np.linspace(*span, 120)
        reference = "reference", ahead, np.array([self.reference(time) for time in ahead])
        mrna, protein = (
            [(f"{letter}{i + 1}", times, course) for i, course in enumerate(courses)]
            for letter, courses in zip("mp", np.split(states, 2), strict=True)
        )
        canvas.text(f"{type(self).__name__}, time {self.time:g}: cost {self._assess()[0]:.3g}", (60, 14), size=22)
        canvas.time_courses((60, 64, 556, 210), span, protein, "protein", reference=reference)
        canvas.time_courses((60, 314, 556, 120), span, mrna, "mRNA", x_label="time")


@dataclass(kw_only=True, eq=False, repr=False)
class OscillatorComplicated(Oscillator):
    """A ring of four genes, as `Oscillator` is one of three; its episodes end early only where `cost_limit` is set."""

    cost_limit: float | None = None

    n_genes: ClassVar[int] = 4
