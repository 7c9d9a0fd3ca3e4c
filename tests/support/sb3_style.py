"""A callback in Stable-Baselines3's manner, written from its documented interface: that library is not needed."""

from __future__ import annotations

from typing import Any


class BaseCallback:
    """Counts its calls; subclasses override the hooks with an underscore."""

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = verbose
        self.n_calls = self.num_timesteps = 0
        self.locals: dict[str, Any] = {}
        self.globals: dict[str, Any] = {}
        self.parent: Any = None
        self.model: Any = None

    @property
    def training_env(self) -> Any:
        return self.model.get_env()

    @property
    def logger(self) -> Any:
        return self.model.logger

    def init_callback(self, model: Any) -> None:
        self.model = model
        self._init_callback()

    def on_training_start(self, locals_: dict[str, Any], globals_: dict[str, Any]) -> None:
        self.locals, self.globals = locals_, globals_
        self.num_timesteps = self.model.num_timesteps
        self._on_training_start()

    def on_step(self) -> Any:
        self.n_calls += 1
        self.num_timesteps = self.model.num_timesteps
        return self._on_step()

    def update_locals(self, locals_: dict[str, Any]) -> None:
        self.locals.update(locals_)

    def on_rollout_start(self) -> None:
        self._on_rollout_start()

    def on_rollout_end(self) -> None:
        self._on_rollout_end()

    def on_training_end(self) -> None:
        self._on_training_end()

    def _init_callback(self) -> None: ...
    def _on_training_start(self) -> None: ...
    def _on_rollout_start(self) -> None: ...
    def _on_rollout_end(self) -> None: ...
    def _on_training_end(self) -> None: ...

    def _on_step(self) -> Any:
        return True
