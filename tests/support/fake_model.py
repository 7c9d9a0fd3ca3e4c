"""An agent that does nothing, for callbacks to serve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from fake_training import RowLogger

from slc_agents.training.state import Run


class FakeModel:
    """Counts, and records what is asked of it."""

    seed = 3
    policy_class: str | type = "MlpPolicy"

    def __init__(self, opt_type: str = "maximize") -> None:
        self.env = None
        self.num_timesteps = 0
        self.num_episodes = 0
        self.mean_recent_return: float | None = None
        self.logger = RowLogger()
        self.config = SimpleNamespace(opt_type=opt_type, max_ep_len=None, to_dict=lambda: {"seed": 3, "rate": len})
        self.run = Run(0, 100, 10, 0)
        self.saved: list[tuple[str, int, bool]] = []
        self.checked_exports: list[tuple[Path, str | None]] = []
        self.exported: list[tuple[Path, str | None, int]] = []
        self.parameters = {"actor/0/weight": np.zeros(2)}
        self.asked: list[bool] = []

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> Any:
        self.asked.append(deterministic)
        return np.zeros((len(observation), 2), np.float32), None

    @property
    def is_interrupted(self) -> bool:
        return not self.run.is_finished(self.num_timesteps)

    def check_spaces(self, env: Any, name: str) -> None:
        self.checked = name

    def is_better(self, score: float, other: float) -> bool:
        return score < other if self.config.opt_type == "minimize" else score > other

    def save(self, path: Any, *, replay_buffer: bool = False) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(self.num_timesteps))
        self.saved.append((path.name, self.num_timesteps, replay_buffer))

    def check_export(self, path: Any, format: str | None = None) -> None:
        self.checked_exports.append((Path(path), format))

    def export(self, path: Any, format: str | None = None) -> None:
        self.exported.append((Path(path), format, self.num_timesteps))

    def get_parameters(self) -> dict[str, Any]:
        return self.parameters


def run_steps(callback: Any, model: FakeModel, until: int, n_envs: int = 1, *, ends: bool = True) -> list[int]:
    """Lets a callback hear of vector steps. Returns the step counts at which it answered False, and goes on."""
    callback.bind(model)
    callback.on_training_start()
    stops = []
    while model.num_timesteps < until:
        model.num_timesteps += n_envs
        if callback.on_step() is False:
            stops.append(model.num_timesteps)
    if ends:
        callback.on_training_end()
    return stops
