"""SAC, as the user holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from slc_agents.agents.backend import make_learner
from slc_agents.agents.base import Agent, AgentLearner
from slc_agents.agents.config import AgentConfig, SACConfig

if TYPE_CHECKING:
    from slc_agents.agents.config import StartPolicyPart
    from slc_agents.envs import EnvLike
    from slc_agents.schedulers import DecayType, Schedule

__all__ = ["SAC"]


class SAC(Agent[SACConfig]):
    """Soft actor-critic (Haarnoja et al. 2019, arXiv 1812.05905): off-policy, for continuous actions."""

    config_class: ClassVar[type[AgentConfig]] = SACConfig
    initial_values: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
        ("alpha", "adaptive_temperature"), ("alpha/", "optimizer/alpha/")
    )

    if TYPE_CHECKING:
        # Written out for editors and type checkers; a test keeps it equal to SACConfig, from which it acts.
        def __init__(
            self,
            policy: str | type = "MlpPolicy",
            env: EnvLike | None = None,
            config: SACConfig | None = None,
            *,
            eval_env: EnvLike | None = None,
            verbose: int = 0,
            opt_type: Literal["maximize", "minimize"] = "maximize",
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
        ) -> None: ...

    def _make_learner(self) -> AgentLearner:
        return make_learner(self, "sac")
