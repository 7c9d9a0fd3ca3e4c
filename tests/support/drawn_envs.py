"""An environment that draws what it is told to, without a window."""

from __future__ import annotations

from typing import Any

import numpy as np
from scripted_envs import ScriptedEnv


class DrawnEnv(ScriptedEnv):
    """A `ScriptedEnv` with a dark picture that has a bright row, one lower at each step.

    Args:
        frame: What to show instead: an array, or an error to raise.
        size: Height and width of the picture.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        render_mode: str | None = "rgb_array",
        lengths: tuple[int, ...] = (5, 3),
        *,
        frame: Any = None,
        size: tuple[int, int] = (32, 48),
        **options: Any,
    ) -> None:
        super().__init__(lengths=lengths, **options)
        self.render_mode, self.frame, self.size = render_mode, frame, size

    def render(self) -> Any:
        if isinstance(self.frame, Exception):
            raise self.frame
        if self.frame is not None:
            return self.frame
        picture = np.full((*self.size, 3), 20, np.uint8)
        picture[2 * self.elapsed : 2 * self.elapsed + 2] = (220, 40, 40)
        return picture


class BlindEnv(ScriptedEnv):
    """Can't draw, and takes no `render_mode`."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012
