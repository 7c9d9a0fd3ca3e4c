"""Histograms of what is learned and remembered."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from slc_agents.callbacks.base import Periodic
from slc_agents.errors import check_whole_number
from slc_agents.seeding import make_seed

__all__ = ["HistogramCallback"]


class HistogramCallback(Periodic):
    """Records histograms every so many environment steps; they stand beside the next row of the log.

    They are seen where a sink of the log shows them: TensorBoard, Weights & Biases, or a sink of one's own with
    `write_histogram`. Training isn't changed by it in any way.

    Choices, and the keys of their histograms:

    - `weights`: `weights/<tensor>`, each trained tensor of the networks that has more than one number.
    - `gradient_means`: `gradient_means/<tensor>`, the optimisers' running means of their gradients (Adam's first
      moment).
    - `actions`: `buffer/actions/<i>`, component `i` of stored actions, in [-1, 1] as the policy has them.
    - `rewards`: `buffer/rewards`, stored rewards; with `opt_type="minimize"`, costs.

    Args:
        every: Environment steps between two times, summed over parallel environments.
        what: Any of the choices above.
        n_samples: How many of the replay buffer's transitions are drawn, uniformly, for `actions` and `rewards`.

    Raises:
        TypeError: If `what` is a text and no list of texts.
        ValueError: If a choice is unknown, or there is none, or a number is less than 1.
    """

    CHOICES = ("weights", "gradient_means", "actions", "rewards")

    def __init__(
        self,
        every: int = 10_000,
        what: Sequence[str] = ("weights", "actions", "rewards"),
        *,
        n_samples: int = 10_000,
    ) -> None:
        super().__init__(every)
        if isinstance(what, str) or not isinstance(what, Sequence):
            raise TypeError(f"HistogramCallback: what={what!r}; a list of texts is needed: what=['weights']")
        unknown = [choice for choice in what if choice not in self.CHOICES]
        if unknown or not what:
            raise ValueError(f"HistogramCallback: what={what!r}; allowed are any of {', '.join(self.CHOICES)}")
        self.what = tuple(what)
        self.n_samples = check_whole_number("HistogramCallback: n_samples", n_samples)

    def on_training_start(self) -> None:
        """Counts from where training stands; says so if nobody will see anything."""
        super().on_training_start()
        if not self.logger.shows_histograms:
            warnings.warn(
                "HistogramCallback: no sink of the log shows histograms, so it does nothing; have one, such as "
                'logger_kwargs={"output_dir": ..., "sinks": ["csv", "tensorboard"]}',
                stacklevel=2,
            )

    def on_period(self) -> None:
        """Records what was asked for."""
        if not self.logger.shows_histograms:
            return
        if "weights" in self.what or "gradient_means" in self.what:
            self._record_tensors()
        if "actions" in self.what or "rewards" in self.what:
            self._record_transitions()

    def _record_tensors(self) -> None:
        parameters = self.model.get_parameters()
        networks = self.model.tensors_of_parts["networks"]
        for name, tensor in parameters.items():
            # What has no optimiser isn't trained: target networks, the normaliser.
            gradient = parameters.get(f"optimizer/{name}/m")
            if gradient is None or tensor.size == 1 or not name.startswith(networks):
                continue
            if "weights" in self.what:
                self.logger.record_histogram(f"weights/{name}", tensor)
            if "gradient_means" in self.what:
                self.logger.record_histogram(f"gradient_means/{name}", gradient)

    def _record_transitions(self) -> None:
        buffer = self.model.replay_buffer
        if not buffer.is_ready:
            return
        # The buffer's own generator draws what is learned from: drawing from it here would change training.
        generator = np.random.default_rng(make_seed(self.model.seed, "histogram", self.num_timesteps))
        batch = buffer.gather(generator.integers(0, len(buffer), self.n_samples))
        if "actions" in self.what:
            for i, component in enumerate(batch.action.reshape(len(batch.action), -1).T):
                self.logger.record_histogram(f"buffer/actions/{i}", component)
        if "rewards" in self.what:
            self.logger.record_histogram("buffer/rewards", self.model.config.reward_sign * batch.reward)
