"""LAC, as the user holds it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from slc_agents.agents.backend import make_learner
from slc_agents.agents.base import Agent, AgentLearner
from slc_agents.agents.config import AgentConfig, LACConfig
from slc_agents.buffers import FiniteHorizonReplayBuffer, ReplayBuffer
from slc_agents.callbacks import Callback
from slc_agents.errors import NonFiniteError
from slc_agents.spaces import to_batch
from slc_agents.transition import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from gymnasium.vector import VectorEnv

    from slc_agents.agents.config import StartPolicyPart
    from slc_agents.envs import EnvLike
    from slc_agents.schedulers import DecayType, Schedule

__all__ = ["LAC"]


class LAC(Agent[LACConfig]):
    """Lyapunov actor-critic (Han et al. 2020, arXiv 2004.14288): off-policy, for continuous actions and costs.

    Its critic is a Lyapunov function, of which it demands that it decreases. With two of them,
    `policy_kwargs={"n_critics": 2}`, it is LATC: the larger one counts. The environment's rewards are costs, >= 0.
    """

    config_class: ClassVar[type[AgentConfig]] = LACConfig
    initial_values: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **dict.fromkeys(("alpha", "adaptive_temperature"), ("alpha/", "optimizer/alpha/")),
        "labda": ("labda/", "optimizer/labda/"),
    }
    tensors_of_parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Agent.tensors_of_parts,
        "networks": (*Agent.tensors_of_parts["networks"], "actor_target/"),
        "temperature": ("alpha/", "labda/"),
    }
    target_networks: ClassVar[Mapping[str, str]] = {**Agent.target_networks, "actor_target/": "actor/"}

    if TYPE_CHECKING:
        # Written out for editors and type checkers; a test keeps it equal to LACConfig, from which it acts.
        def __init__(
            self,
            policy: str | type = "MlpPolicy",
            env: EnvLike | None = None,
            config: LACConfig | None = None,
            *,
            eval_env: EnvLike | None = None,
            verbose: int = 0,
            opt_type: Literal["minimize"] = "minimize",
            n_envs: int = 1,
            policy_kwargs: dict[str, Any] | None = None,
            max_ep_len: int | None = None,
            epochs: int = 100,
            steps_per_epoch: int = 2048,
            start_steps: int = 0,
            update_every: int = 100,
            update_after: int = 1000,
            steps_per_update: int = 100,
            num_test_episodes: int = 10,
            alpha: float = 0.99,
            gamma: float = 0.99,
            polyak: float = 0.995,
            target_entropy: float | None = None,
            adaptive_temperature: bool = True,
            lr_a: float | Schedule = 1e-4,
            lr_c: float | Schedule = 3e-4,
            lr_alpha: float | Schedule = 1e-4,
            lr_a_final: float | None = 1e-10,
            lr_c_final: float | None = 1e-10,
            lr_alpha_final: float | None = 1e-10,
            lr_decay_type: DecayType = "linear",
            lr_a_decay_type: DecayType | None = None,
            lr_c_decay_type: DecayType | None = None,
            lr_alpha_decay_type: DecayType | None = None,
            lr_decay_ref: Literal["epoch", "step"] = "epoch",
            batch_size: int = 256,
            replay_size: int = 1_000_000,
            seed: int | None = None,
            device: str = "cpu",
            compute_kwargs: dict[str, Any] = ...,  # {}
            logger_kwargs: dict[str, Any] = ...,  # {}
            save_freq: int = 1,
            start_policy: Any = None,
            start_policy_parts: tuple[StartPolicyPart, ...] = ("networks",),
            export: bool = False,
            alpha3: float = 0.2,
            labda: float = 0.99,
            labda_min: float = 1e-4,
            lr_labda: float | Schedule = 3e-4,
            lr_labda_final: float | None = 1e-10,
            lr_labda_decay_type: DecayType | None = None,
            horizon_length: int = 0,
            terminal_cost: Literal["restart", "absorbing", "zero"] = "restart",
            terminal_horizon: int | None = None,
        ) -> None: ...

    def _make_learner(self) -> AgentLearner:
        config = self.config
        return make_learner(
            self,
            "lac",
            lyapunov=True,
            alpha3=config.alpha3,
            labda=config.labda,
            labda_min=config.labda_min,
            horizon_length=config.horizon_length,
            terminal_target=config.terminal_target,
            terminal_value=config.terminal_value,
        )

    def lyapunov_value(self, observation: Any, action: Any) -> Array:
        """Returns the Lyapunov function L(o, a), of two (LATC) the larger one.

        Args:
            observation: One observation of the environment, or a batch of them, with a leading dimension.
            action: The action that is taken there, in the environment's units; with a leading dimension where the
                observation has one.

        Returns:
            Values [n], or [] where there is no batch: float32, >= 0, in the unit of the cost.

        Raises:
            ValueError: If the shapes don't fit.
            NonFiniteError: If an observation or an action is NaN or infinite.
        """
        batch, was_batch = to_batch(observation, self.observation_space)
        self._check_finite(batch, was_batch)
        n = len(next(iter(batch.values())) if isinstance(batch, dict) else batch)
        actions, shape = np.asarray(action, np.float64), self.action_space.shape or ()
        if actions.shape != ((n, *shape) if was_batch else shape):
            for_these = f"{n} observations" if was_batch else "one observation"
            raise ValueError(
                f"action: received the shape {actions.shape}; for {for_these} {(n, *shape) if was_batch else shape} is "
                "needed"
            )
        if not np.isfinite(actions).all():
            raise NonFiniteError(f"action: it is not finite: {action!r:.200}. Give the one that is taken")
        learner: Any = self._learner
        values: Array = learner.lyapunov_value(batch, self._scale.from_env(actions.reshape(n, -1)))
        return values if was_batch else values[0]

    def _take_env(self, vector_env: VectorEnv[Any, Any, Any], source: EnvLike) -> None:
        """See `Agent._take_env`; the replay buffer must have room for the horizons of so many environments."""
        self.config.replace(n_envs=vector_env.num_envs)
        super()._take_env(vector_env, source)

    def _make_memory(self, n_envs: int, memory_class: Callable[..., ReplayBuffer] = ReplayBuffer) -> ReplayBuffer:
        horizon_length = self.config.horizon_length
        if horizon_length:
            memory_class = functools.partial(FiniteHorizonReplayBuffer, horizon_length=horizon_length)
        return super()._make_memory(n_envs, memory_class)

    def _own_callbacks(self) -> list[Callback]:
        return [_NegativeCostWarning()]


class _NegativeCostWarning(Callback):
    """Warns, once a run, of what no Lyapunov function can have: a cost below 0."""

    def __init__(self) -> None:
        self.warned = False

    def on_step(self) -> None:
        step = self.model.last_step
        if self.warned or step is None or not (step.transition.reward < 0).any():
            return
        self.warned = True
        warnings.warn(
            f"LAC takes rewards for costs, >= 0, to minimize; at step {self.num_timesteps} one is "
            f"{step.transition.reward.min():g}. If they are rewards to maximize, let the environment give costs "
            "(gymnasium.wrappers.TransformReward), or use SAC",
            stacklevel=2,
        )
