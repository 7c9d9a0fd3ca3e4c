"""What the control tasks are drawn on: pygame, which comes with the extra `video`.

All is drawn at twice its size and then halved, which smooths the edges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from slc_agents.drawing import COLORS, GREY, INK, format_number
from slc_agents.errors import require

__all__ = ["Canvas", "Course"]

Floats: TypeAlias = NDArray[np.float64]
Point: TypeAlias = "tuple[float, float]"
Course: TypeAlias = "tuple[str, Floats, Floats]"  # a label, times [k], values [k]

_WIDTH, _HEIGHT = 640, 480
_ZOOM = 2
_LIGHT, _PAPER = "#dddddd", "#ffffff"


class Canvas:
    """A picture of 640 × 480 pixels, with the origin at its upper left corner.

    Raises:
        MissingDependencyError: If pygame is not installed.
    """

    def __init__(self) -> None:
        self._pygame: Any = require("pygame", "video", "drawing a control task")
        self._pygame.font.init()
        self._fonts: dict[int, Any] = {}
        self._surface = self._pygame.Surface((_ZOOM * _WIDTH, _ZOOM * _HEIGHT), depth=32)
        self._window: Any = None
        self._clock = self._pygame.time.Clock()

    def clear(self) -> None:
        """Wipes all away."""
        self._surface.fill(_PAPER)

    def line(self, points: Sequence[Point], color: str = INK, width: float = 1.0, *, dashed: bool = False) -> None:
        """Draws a line through points; a dashed one leaves out every other piece between two of them."""
        zoomed = [(_ZOOM * x, _ZOOM * y) for x, y in points]
        thickness = max(1, round(_ZOOM * width))
        if not dashed:
            self._pygame.draw.lines(self._surface, color, False, zoomed, thickness)
            return
        for start, end in zip(zoomed[::2], zoomed[1::2], strict=False):
            self._pygame.draw.line(self._surface, color, start, end, thickness)

    def polygon(self, points: Sequence[Point], color: str) -> None:
        """Draws a filled polygon."""
        self._pygame.draw.polygon(self._surface, color, [(_ZOOM * x, _ZOOM * y) for x, y in points])

    def circle(self, center: Point, radius: float, color: str) -> None:
        """Draws a filled circle."""
        self._pygame.draw.circle(self._surface, color, (_ZOOM * center[0], _ZOOM * center[1]), _ZOOM * radius)

    def text(
        self, text: str, position: Point, size: int = 18, color: str = INK, align: tuple[float, float] = (0.0, 0.0)
    ) -> float:
        """Writes a line of text and returns its width.

        Args:
            text: What to write.
            position: Where, in pixels.
            size: Its height, in pixels.
            color: Its colour.
            align: Which point of it stands there: (0, 0) is its upper left corner, (1, 1) its lower right one.
        """
        if size not in self._fonts:
            self._fonts[size] = self._pygame.font.Font(None, _ZOOM * size)
        written = self._fonts[size].render(text, True, color)
        width, height = written.get_size()
        self._surface.blit(written, (_ZOOM * position[0] - align[0] * width, _ZOOM * position[1] - align[1] * height))
        return float(width) / _ZOOM

    def time_courses(
        self,
        box: tuple[float, float, float, float],
        span: tuple[float, float],
        courses: Sequence[Course],
        y_label: str,
        *,
        x_label: str = "",
        reference: Course | None = None,
    ) -> None:
        """Draws axes with lines over time.

        Args:
            box: Left, top, width and height of the axes, in pixels.
            span: First and last time.
            courses: The lines, in the colours of the package's figures; the first one is the strongest.
            y_label: What the values are.
            x_label: What the times are; no text at all below the axes where it is empty.
            reference: A dashed line.
        """
        drawn = [*courses, *([reference] if reference is not None else [])]
        values = np.concatenate([course[2] for course in drawn])
        axes = _Axes(*box, *span, min(0.0, float(values.min())), max(1e-3, float(values.max())))
        self._draw_axes(axes, y_label, x_label)
        for i, course in reversed(list(enumerate(courses))):  # the first one above the others
            self._draw_course(axes, course, COLORS[i % len(COLORS)], 1.5 if i else 3.0)
        if reference is not None:
            self._draw_course(axes, reference, INK, 1.5, dashed=True)
        x = axes.left + 8 + self.text(y_label, (axes.left + 8, axes.top - 18), 16, GREY) + 18
        for i, course in enumerate(drawn):
            color = INK if course is reference else COLORS[i % len(COLORS)]
            self.line([(x, axes.top - 13), (x + 14, axes.top - 13)], color, 3.0)
            x += 36 + self.text(course[0], (x + 18, axes.top - 18), 16, color)

    def _draw_axes(self, axes: _Axes, y_label: str, x_label: str) -> None:
        left, bottom = axes.left, axes.top + axes.height
        for tick in _ticks(axes.low, axes.high, 5):
            y = axes.place(axes.start, tick)[1]
            self.line([(left, y), (left + axes.width, y)], _LIGHT)
            self.text(format_number(tick), (left - 6, y), 16, align=(1.0, 0.5))
        for tick in _ticks(axes.start, axes.end, 8) if x_label else ():
            self.text(format_number(tick), (axes.place(tick, axes.low)[0], bottom + 6), 16, align=(0.5, 0.0))
        self.text(x_label, (left + axes.width / 2, bottom + 22), 16, GREY, align=(0.5, 0.0))
        self.line([(left, axes.top), (left, bottom), (left + axes.width, bottom)])

    def _draw_course(self, axes: _Axes, course: Course, color: str, width: float, *, dashed: bool = False) -> None:
        points = [axes.place(time, value) for time, value in zip(*course[1:], strict=True)]
        if len(points) > 1:
            self.line(points, color, width, dashed=dashed)
        if not dashed:
            self.circle(points[-1], 1.5 * width, color)

    def to_array(self) -> NDArray[np.uint8]:
        """Returns the picture [height, width, 3]."""
        pixels: NDArray[np.uint8] = self._pygame.surfarray.array3d(self._shrunk())
        return np.ascontiguousarray(pixels.transpose(1, 0, 2))

    def show(self, title: str, fps: float) -> None:
        """Shows the picture in a window, no sooner than a frame's time after the last one."""
        if self._window is None:
            self._pygame.display.init()
            self._window = self._pygame.display.set_mode((_WIDTH, _HEIGHT))
            self._pygame.display.set_caption(title)
        self._window.blit(self._shrunk(), (0, 0))
        self._pygame.event.pump()
        self._clock.tick(fps)
        self._pygame.display.flip()

    def close(self) -> None:
        """Closes the window, if there is one."""
        if self._window is not None:
            self._pygame.display.quit()
            self._window = None

    def _shrunk(self) -> Any:
        return self._pygame.transform.smoothscale(self._surface, (_WIDTH, _HEIGHT))


@dataclass(frozen=True)
class _Axes:
    """Where axes are, in pixels, and what they span."""

    left: float
    top: float
    width: float
    height: float
    start: float
    end: float
    low: float
    high: float

    def place(self, time: float, value: float) -> Point:
        across, up = (time - self.start) / (self.end - self.start), (value - self.low) / (self.high - self.low)
        return self.left + across * self.width, self.top + (1 - up) * self.height


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Returns round numbers between two, about as many as wanted."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 12) for number in range(first, math.floor(high / step + 1e-9) + 1)]
