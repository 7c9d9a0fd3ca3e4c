"""Evaluating while training, and acting on what comes out."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from slc_agents.callbacks.base import Callback, CallbackLike, CallbackList, Periodic, goes_on, make_callback
from slc_agents.callbacks.figures import EpisodeRecorder, draw_episode, draw_returns
from slc_agents.envs import EnvLike, make_vector_env
from slc_agents.envs.vector import have_one_in_common
from slc_agents.errors import check_flag, check_number, check_path, check_whole_number, require
from slc_agents.seeding import make_seed
from slc_agents.training.evaluation import run_episodes

__all__ = ["EvalCallback", "StopTrainingOnNoModelImprovement", "StopTrainingOnRewardThreshold"]


class _Judge(Callback):
    """Base of what judges the evaluations of the `EvalCallback` that calls it."""

    @property
    def evaluation(self) -> EvalCallback:
        if not isinstance(self.parent, EvalCallback):
            raise ValueError(
                f"{type(self).__name__} judges evaluations: give it to an EvalCallback as callback_on_new_best or "
                "callback_after_eval, not to learn()"
            )
        return self.parent


class EvalCallback(Periodic):
    """Evaluates the agent every so many environment steps, keeps the best and the history.

    Writes `eval/mean_reward` and `eval/mean_ep_length` into the next row of the log, as the test episodes of each epoch
    do; set `num_test_episodes=0` to have only one of them. What is best depends on `opt_type`: for costs, the lowest.

    With `figures=True` two figures stand beside the next row, in the sinks that show figures (TensorBoard, Weights &
    Biases, one's own with `write_figure`): `eval/returns`, the mean of each evaluation so far with its lowest and
    highest episode, and `eval/episode`, rewards and actions of one episode of the last evaluation over time, and
    observations too where they are at most 8 numbers and no images.

    Args:
        eval_env: An environment to evaluate in, other than the one that is trained in.
        callback_on_new_best: Called at each new best.
        callback_after_eval: Called after each evaluation. Returning False ends training.
        n_eval_episodes: Episodes of one evaluation.
        eval_freq: Environment steps between two evaluations, summed over parallel environments.
        log_path: Folder for `evaluations.npz` (arrays `timesteps` [k], `results` and `ep_lengths` [k, episodes]).
        best_model_save_path: Folder for `best_model.zip`.
        deterministic: Whether the policy's mean action is taken, not a sample.
        figures: Whether to draw figures; needs matplotlib.

    Raises:
        MissingDependencyError: If `figures` is set and matplotlib is not installed.

    Attributes:
        best_mean_reward: The best mean return so far (for costs, the lowest), or None.
        last_mean_reward: That of the last evaluation, or None.
    """

    every_name = "eval_freq"

    def __init__(
        self,
        eval_env: EnvLike,
        callback_on_new_best: CallbackLike | None = None,
        callback_after_eval: CallbackLike | None = None,
        n_eval_episodes: int = 5,
        eval_freq: int = 10_000,
        log_path: str | os.PathLike[str] | None = None,
        best_model_save_path: str | os.PathLike[str] | None = None,
        deterministic: bool = True,
        *,
        figures: bool = False,
    ) -> None:
        super().__init__(eval_freq)
        self.n_eval_episodes = check_whole_number("EvalCallback: n_eval_episodes", n_eval_episodes)
        self.log_path = None if log_path is None else check_path("EvalCallback: log_path", log_path)
        self.best_model_save_path = (
            None
            if best_model_save_path is None
            else check_path("EvalCallback: best_model_save_path", best_model_save_path)
        )
        self.deterministic = check_flag("EvalCallback: deterministic", deterministic)
        self.figures = check_flag("EvalCallback: figures", figures)
        if figures:
            require("matplotlib", "plot", "EvalCallback(figures=True)")
        self.callback_on_new_best = make_callback(callback_on_new_best)
        self.callback_after_eval = make_callback(callback_after_eval)
        self._inner = (self.callback_on_new_best, self.callback_after_eval)
        _set_parent(self._inner, self)
        self.eval_env: VectorEnv[Any, Any, Any] = make_vector_env(eval_env)
        self.best_mean_reward: float | None = None
        self.last_mean_reward: float | None = None
        self.history: dict[str, list[Any]] = {"timesteps": [], "results": [], "ep_lengths": []}

    def on_training_start(self) -> None:
        """Passes it on."""
        if self.model.env is not None and have_one_in_common(self.eval_env, self.model.env):
            raise ValueError(
                "EvalCallback: eval_env is the environment that is trained in, whose episodes an evaluation would cut "
                "off. Give another one, or an id or a factory"
            )
        self.model.check_spaces(self.eval_env, "EvalCallback: eval_env")
        if self.figures and not self.logger.shows_figures:
            warnings.warn(
                "EvalCallback(figures=True): no sink of the log shows figures, so none are drawn; have one, such as "
                'logger_kwargs={"output_dir": ..., "sinks": ["csv", "tensorboard"]}',
                stacklevel=2,
            )
        super().on_training_start()
        for callback in self._inner:
            callback.on_training_start()

    def on_period(self) -> bool:
        """Evaluates; returns whether to go on."""
        model = self.model
        recorder = None
        if self.figures and self.logger.shows_figures:
            recorder = EpisodeRecorder(self.eval_env.single_observation_space, self.eval_env.num_envs - 1)
        episodes = run_episodes(
            model,
            self.eval_env,
            self.n_eval_episodes,
            deterministic=self.deterministic,
            seed=make_seed(model.seed, "eval", self.num_timesteps),
            max_ep_len=model.config.max_ep_len,
            on_step=recorder,
        )
        returns, lengths = [episode.reward for episode in episodes], [episode.length for episode in episodes]
        self.last_mean_reward = float(np.mean(returns))
        self.logger.record("eval/mean_reward", self.last_mean_reward)
        self.logger.record("eval/mean_ep_length", float(np.mean(lengths)))
        self.history["timesteps"].append(self.num_timesteps)
        self.history["results"].append(returns)
        self.history["ep_lengths"].append(lengths)
        if recorder is not None:
            self._record_figures(recorder)
        if self.log_path is not None:
            self.log_path.mkdir(parents=True, exist_ok=True)
            arrays: dict[str, Any] = {key: np.array(value) for key, value in self.history.items()}
            partial = self.log_path / ".evaluations.partial.npz"
            np.savez(partial, **arrays)
            os.replace(partial, self.log_path / "evaluations.npz")
        go_on = True
        if self.best_mean_reward is None or model.is_better(self.last_mean_reward, self.best_mean_reward):
            self.best_mean_reward = self.last_mean_reward
            if self.best_model_save_path is not None:
                model.save(self.best_model_save_path / "best_model.zip")
            go_on = goes_on(self.callback_on_new_best.on_step())
        return goes_on(self.callback_after_eval.on_step()) and go_on

    def _record_figures(self, episode: EpisodeRecorder) -> None:
        score = "cost" if self.model.config.opt_type == "minimize" else "return"
        self.logger.record_figure("eval/returns", draw_returns(self.history, score))
        self.logger.record_figure("eval/episode", draw_episode(episode, score, self.num_timesteps))

    def on_training_end(self) -> None:
        """Passes it on."""
        CallbackList(self._inner).on_training_end()

    def state_dict(self) -> dict[str, Any]:
        """Returns the best and last scores, the history and the inner callbacks' states."""
        return {
            "best_mean_reward": self.best_mean_reward,
            "last_mean_reward": self.last_mean_reward,
            "history": self.history,
            "on_new_best": self.callback_on_new_best.state_dict(),
            "after_eval": self.callback_after_eval.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        if not state:
            return
        self.best_mean_reward, self.last_mean_reward = state["best_mean_reward"], state["last_mean_reward"]
        self.history = {key: list(value) for key, value in state["history"].items()}
        self.callback_on_new_best.load_state_dict(state["on_new_best"])
        self.callback_after_eval.load_state_dict(state["after_eval"])


def _set_parent(callbacks: Sequence[Callback], parent: EvalCallback) -> None:
    for callback in callbacks:
        callback.parent = parent
        _set_parent(callback._inner, parent)


class StopTrainingOnRewardThreshold(_Judge):
    """Ends training when an evaluation reaches a mean return; for `EvalCallback(callback_on_new_best=...)`.

    Args:
        reward_threshold: The mean return (for costs, the mean cost) to reach.
    """

    def __init__(self, reward_threshold: float) -> None:
        self.reward_threshold = check_number(f"{type(self).__name__}: reward_threshold", reward_threshold)

    def on_step(self) -> bool:
        """Compares the best mean return with the threshold."""
        best = self.evaluation.best_mean_reward
        reached = best is not None and (
            best == self.reward_threshold or self.model.is_better(best, self.reward_threshold)
        )
        return not reached


class StopTrainingOnNoModelImprovement(_Judge):
    """Ends training after evaluations without a new best; for `EvalCallback(callback_after_eval=...)`.

    Args:
        max_no_improvement_evals: Number of evaluations in a row without a new best that are borne.
        min_evals: Number of evaluations before it starts to count.
    """

    def __init__(self, max_no_improvement_evals: int, min_evals: int = 0) -> None:
        self.max_no_improvement_evals = check_whole_number(
            f"{type(self).__name__}: max_no_improvement_evals", max_no_improvement_evals, 0
        )
        self.min_evals = check_whole_number(f"{type(self).__name__}: min_evals", min_evals, 0)
        self.n_evals = 0
        self.no_improvement_evals = 0
        self._best = math.nan

    def on_step(self) -> bool:
        """Counts evaluations without a new best."""
        best = self.evaluation.best_mean_reward
        self.n_evals += 1
        if best is not None and best != self._best:
            self._best = best
            self.no_improvement_evals = 0
        elif self.n_evals > self.min_evals:
            self.no_improvement_evals += 1
        return self.no_improvement_evals <= self.max_no_improvement_evals

    def state_dict(self) -> dict[str, Any]:
        """Returns the counts."""
        best = None if math.isnan(self._best) else self._best
        return {"n_evals": self.n_evals, "no_improvement_evals": self.no_improvement_evals, "best": best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the counts back."""
        if state:
            self.n_evals, self.no_improvement_evals = state["n_evals"], state["no_improvement_evals"]
            self._best = math.nan if state["best"] is None else state["best"]
