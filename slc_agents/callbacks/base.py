"""What a callback is, and the callbacks that carry others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from slc_agents.errors import check_whole_number
from slc_agents.logger import Logger
from slc_agents.transition import Episode

if TYPE_CHECKING:
    from slc_agents.agents.base import Agent
    from slc_agents.callbacks.foreign import ForeignCallbackLike

__all__ = [
    "Callback",
    "CallbackLike",
    "CallbackList",
    "EveryNTimesteps",
    "FunctionCallback",
    "Periodic",
    "goes_on",
    "make_callback",
]

CallbackLike: TypeAlias = "Callback | ForeignCallbackLike | Callable[[Any], object] | Sequence[CallbackLike]"


def goes_on(answer: object) -> bool:
    """Whether training goes on after a callback's answer: it does, unless that is False (numpy's False is one too)."""
    return answer is not False and not (isinstance(answer, np.bool_) and not answer)


class Callback:
    """Code of the user's that runs inside training. Override the hooks that matter.

    Attributes:
        model: The agent that trains.
        parent: The `EvalCallback` that calls this one, at a new best or after each evaluation; None: `learn` does.
    """

    _model: Agent[Any] | None = None
    _inner: Sequence[Callback] = ()  # those that it calls; they serve the same agent
    parent: Callback | None = None

    def bind(self, model: Agent[Any]) -> None:
        """Tells the callback, and those that it calls, whom they serve; called before training starts."""
        self._model = model
        for callback in self._inner:
            callback.bind(model)

    @property
    def model(self) -> Agent[Any]:
        """The agent that trains."""
        if self._model is None:
            raise RuntimeError(f"{type(self).__name__} has no model yet: it gets one when it is given to learn()")
        return self._model

    @property
    def num_timesteps(self) -> int:
        """Environment steps so far, summed over parallel environments."""
        return self.model.num_timesteps

    @property
    def logger(self) -> Logger:
        """The agent's logger; what is recorded stands in the next row."""
        return self.model.logger

    @property
    def episode(self) -> Episode | None:
        """The episode that finished last: in `on_episode_end`, the one that it is about."""
        return self.model.last_episode

    def on_training_start(self) -> None:
        """Before the first step of a `learn` or `resume`."""

    def on_rollout_start(self) -> None:
        """Before a stretch of steps without gradient steps."""

    def on_step(self) -> bool | None:
        """After each vector step and the gradient steps that were due. Returning False ends training."""

    def on_rollout_end(self) -> None:
        """Before gradient steps, and at the end of training."""

    def on_episode_end(self) -> None:
        """For each finished episode, after the gradient steps of its last step and before `on_step`."""

    def on_epoch_end(self) -> None:
        """After an epoch's test episodes, before its row is written."""

    def on_training_end(self) -> None:
        """After the last step, however it came about."""

    def state_dict(self) -> dict[str, Any]:
        """Returns what the callback must remember to go on after an interruption, in JSON-able values."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class CallbackList(Callback):
    """Several callbacks as one, in their order. Each hears of every step, also when an earlier one ends training."""

    def __init__(self, callbacks: Sequence[CallbackLike]) -> None:
        if isinstance(callbacks, str) or not isinstance(callbacks, Sequence):
            raise TypeError(f"CallbackList: callbacks={callbacks!r}: a list of callbacks is needed")
        self.callbacks = self._inner = [make_callback(callback) for callback in callbacks]

    def on_training_start(self) -> None:
        """Passes it on."""
        for callback in self.callbacks:
            callback.on_training_start()

    def on_rollout_start(self) -> None:
        """Passes it on."""
        for callback in self.callbacks:
            callback.on_rollout_start()

    def on_step(self) -> bool:
        """Passes it on; False if any says so."""
        answers = [callback.on_step() for callback in self.callbacks]
        return all(goes_on(answer) for answer in answers)

    def on_rollout_end(self) -> None:
        """Passes it on."""
        for callback in self.callbacks:
            callback.on_rollout_end()

    def on_episode_end(self) -> None:
        """Passes it on."""
        for callback in self.callbacks:
            callback.on_episode_end()

    def on_epoch_end(self) -> None:
        """Passes it on."""
        for callback in self.callbacks:
            callback.on_epoch_end()

    def on_training_end(self) -> None:
        """Passes it on to each, also when an earlier one fails."""
        with ExitStack() as stack:
            for callback in reversed(self.callbacks):
                stack.callback(callback.on_training_end)

    def state_dict(self) -> dict[str, Any]:
        """Returns each callback's state, by its place and class."""
        return {f"{i}/{type(callback).__name__}": callback.state_dict() for i, callback in enumerate(self.callbacks)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Gives each callback its state back; one that wasn't there before stays as it is."""
        for i, callback in enumerate(self.callbacks):
            name = f"{i}/{type(callback).__name__}"
            if name in state:
                callback.load_state_dict(state[name])


class FunctionCallback(Callback):
    """A plain function `f(model)`, called at each step. Returning False ends training."""

    def __init__(self, function: Callable[[Any], object]) -> None:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"FunctionCallback: function={function!r}: a function f(model) is needed")
        self.function = function

    def on_step(self) -> bool:
        """Calls the function."""
        return goes_on(self.function(self.model))


class Periodic(Callback):
    """Base of what happens every so many environment steps, summed over parallel environments.

    With `n` environments a step count moves by `n` at a time: it happens at the first step at or past each multiple.

    Args:
        every: Number of environment steps, at least 1.
    """

    every_name = "every"  # what a subclass calls it

    def __init__(self, every: int) -> None:
        self.every = check_whole_number(f"{type(self).__name__}: {self.every_name}", every)
        self._periods = 0

    def on_training_start(self) -> None:
        """Counts from where training stands."""
        self._periods = self.num_timesteps // self.every

    def on_step(self) -> bool | None:
        """Lets it happen when it is time."""
        periods = self.num_timesteps // self.every
        if periods == self._periods:
            return None
        self._periods = periods
        return self.on_period()

    def on_period(self) -> bool | None:
        """What happens. Returning False ends training."""
        raise NotImplementedError


class EveryNTimesteps(Periodic):
    """Calls another callback's `on_step` every `n_steps` environment steps.

    Args:
        n_steps: Number of environment steps, summed over parallel environments.
        callback: What to call.
    """

    every_name = "n_steps"

    def __init__(self, n_steps: int, callback: CallbackLike) -> None:
        super().__init__(n_steps)
        if callback is None:
            raise TypeError("EveryNTimesteps: callback=None: what is to be called is needed, a callback or a function")
        self.callback = make_callback(callback)
        self._inner = (self.callback,)

    def on_training_start(self) -> None:
        """Passes it on."""
        super().on_training_start()
        self.callback.on_training_start()

    def on_period(self) -> bool | None:
        """Calls the inner callback."""
        return self.callback.on_step()

    def on_training_end(self) -> None:
        """Passes it on."""
        self.callback.on_training_end()

    def state_dict(self) -> dict[str, Any]:
        """Returns the inner callback's state."""
        return self.callback.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Gives the inner callback its state."""
        self.callback.load_state_dict(state)


def make_callback(callback: CallbackLike | None) -> Callback:
    """Makes one callback of what `learn` accepts.

    That is a callback, one that was written for Stable-Baselines3, a function, a list of these, or nothing.

    Raises:
        TypeError: If it is none of these.
    """
    from slc_agents.callbacks.foreign import ForeignCallback, ForeignCallbackLike  # built on this module

    if callback is None:
        return CallbackList([])
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, ForeignCallbackLike) and not isinstance(callback, type):
        return ForeignCallback(callback)
    if isinstance(callback, Sequence) and not isinstance(callback, str):
        return CallbackList(callback)
    if callable(callback) and not isinstance(callback, type):
        return FunctionCallback(callback)
    raise TypeError(
        f"callback: received {callback!r}; allowed are a slc_agents.callbacks.Callback object, a function f(model), "
        "a callback for Stable-Baselines3 (with init_callback and on_step), or a list of these"
    )
