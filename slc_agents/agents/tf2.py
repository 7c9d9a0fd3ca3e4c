"""The agents on TensorFlow, for `slc_agents.tf2`: the same in all but what computes."""

from __future__ import annotations

from typing import ClassVar

from slc_agents.agents import lac, sac
from slc_agents.agents.backend import Backend

__all__ = ["LAC", "SAC"]


class SAC(sac.SAC):
    """Soft actor-critic (Haarnoja et al. 2019, arXiv 1812.05905) on TensorFlow; see `slc_agents.SAC`.

    A policy class of your own is a subclass of `slc_agents.tf2.policies.MlpPolicy`.
    """

    backend: ClassVar[Backend] = "tf2"


class LAC(lac.LAC):
    """Lyapunov actor-critic (Han et al. 2020, arXiv 2004.14288) on TensorFlow; see `slc_agents.LAC`.

    A policy class of your own is a subclass of `slc_agents.tf2.policies.MlpPolicy`.
    """

    backend: ClassVar[Backend] = "tf2"
