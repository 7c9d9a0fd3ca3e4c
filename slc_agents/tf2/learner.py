"""What every TensorFlow learner shares: acting, optimisers, target networks, metrics, state.

An algorithm is a subclass that writes its gradient step out in full; see `slc_agents.tf2.sac`. A block of steps runs as
one graph, which is made when the first block of its kind comes: the step is a subgraph of it, repeated by a loop.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from numbers import Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from slc_agents.buffers import ReplayBuffer
from slc_agents.compute import ComputeOptions
from slc_agents.errors import ConfigError
from slc_agents.learner.exploration import ExplorationNoise
from slc_agents.learner.state import TensorSpec, check_state, moment_name
from slc_agents.seeding import Stream
from slc_agents.spaces import observation_boxes, storage_dtype
from slc_agents.tf2.acting import Acting, count_rows
from slc_agents.tf2.batches import TensorBatch, gather_block
from slc_agents.tf2.export import FORMATS, export_policy
from slc_agents.tf2.networks import Tensor, named_variables
from slc_agents.tf2.optimizer import Optimizer
from slc_agents.transition import Array, Observation

__all__ = ["TensorBatch", "TensorFlowLearner"]

MAX_BLOCK_BYTES = 2**26  # of the minibatches that are gathered at once; a larger block is done in parts


class TensorFlowLearner(ABC):
    """Acts with a policy and improves it from a memory.

    Args:
        policy: The networks; see `slc_agents.tf2.policies`.
        device: Where they live.
        batch_size: Transitions in a minibatch.
        polyak: Part of the old target kept in each update of the target networks.
        compute: What the user has said of how to compute: whether graphs are made. All else is PyTorch's.
        generators: Random streams: `action` for the noise of sampled actions, `learner` for that of gradient steps.

    Raises:
        ConfigError: If `compute` has what TensorFlow offers no choice of.
    """

    metric_names: tuple[str, ...]
    # Slow copies among the policy's parts, each with the part that it follows.
    targets: Mapping[str, str] = {"critic_target": "critic"}
    # The group of parameters that each learning rate is for.
    rates: Mapping[str, str] = {"lr_a": "actor", "lr_c": "critic", "lr_alpha": "alpha"}
    # Samples of the policy that a gradient step draws, each of which needs noise.
    n_samples = 2
    export_formats: Mapping[str, str] = {name: format.suffix for name, format in FORMATS.items()}

    def __init__(
        self,
        policy: tf.Module,
        *,
        device: str,
        batch_size: int,
        polyak: float,
        generators: Mapping[Stream, np.random.Generator],
        compute: ComputeOptions,
    ) -> None:
        _check_compute(compute)
        self.policy = cast("Any", policy)
        self.device = device
        self.batch_size = batch_size
        self.polyak = polyak
        self.graphed = compute.graphs is not False
        self.generators = generators
        self.n_actions = int(np.prod(self.policy.action_space.shape))
        self.exploration = ExplorationNoise()
        self.optimizers: dict[str, Optimizer] = {}
        self.acting = Acting(policy, device, graphed=self.graphed)
        self._transition_bytes = 2 * _n_bytes(self.policy.observation_space) + 4 * (self.n_actions + 3) + 1
        self._metric_steps = 0
        self._blocks: tuple[list[Any], Callable[..., None]] | None = None
        with tf.device(device):
            self._metrics = tf.Variable(tf.zeros(len(self.metric_names)), trainable=False)

    def add_optimizers(self) -> None:
        """Gives each group of parameters its optimiser: the actor, each multiplier, and the critics all else."""
        groups: dict[str, dict[str, tf.Variable]] = {group: {} for group in self.rates.values()}
        for name, variable in self.variables().items():
            part = name.partition("/")[0]
            if variable.trainable and part not in self.targets:
                groups[part if part in groups else "critic"][name] = variable
        self.optimizers = {group: Optimizer(parameters) for group, parameters in groups.items()}

    @abstractmethod
    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step.

        Args:
            batch: The minibatch.
            noise: Standard normal noise [n_samples, B, n_actions]: for the next actions, for the actor's, for others.

        Returns:
            0-d tensors in the order of `metric_names`.
        """

    # -- acting ----------------------------------------------------------------------------------------------------

    def act(
        self, observation: Observation, deterministic: bool = False, *, generator: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Returns actions [n, n_actions] in [-1, 1] for observations [n, *shape].

        Args:
            observation: What the environments show.
            deterministic: Whether to take the policy's mean, not a sample.
            generator: Where a sample's noise comes from, each its own. None: this is a step of training, whose noise
                comes from the learner's own stream of actions and may be that of the step before.
        """
        n = count_rows(observation)
        noise: NDArray[np.float32] | None = None
        if not deterministic:
            noise = (
                self.exploration.draw(self.generators["action"], self.policy.actor, n, self.n_actions)
                if generator is None
                else generator.standard_normal((n, self.n_actions), dtype=np.float32)
            )
        return self.acting.act(observation, noise)

    def observe(self, observation: Observation) -> None:
        """Takes training observations into the normaliser's statistics."""
        self.policy.observe(observation)

    # -- learning --------------------------------------------------------------------------------------------------

    def update(self, memory: ReplayBuffer, n: int) -> None:
        """Does `n` gradient steps on minibatches of a memory, at constant learning rates."""
        shape = (n, self.n_samples, self.batch_size, self.n_actions)
        try:
            indices = memory.sample_indices(n, self.batch_size)
            noise = self.generators["learner"].standard_normal(shape, dtype=np.float32)
        except MemoryError as error:
            raise MemoryError(
                f"batch_size={self.batch_size}, steps_per_update={n}: a block of gradient steps on such minibatches "
                f"needs more memory than this machine can give ({error}); lower them"
            ) from error
        size = max(1, MAX_BLOCK_BYTES // (self.batch_size * self._transition_bytes))
        for first in range(0, n, size):
            part = slice(first, first + size)
            with tf.device(self.device):
                block = gather_block(memory, indices[part]).present()
                self._block_function(block)(block, tf.convert_to_tensor(noise[part]))
        self._metric_steps += n

    def _block_function(self, block: dict[str, Any]) -> Callable[..., None]:
        """Returns what does a block of gradient steps: a graph, where that is wanted, made anew if it wouldn't fit."""
        if not self.graphed:
            return self._run_steps
        specs = tf.nest.map_structure(lambda tensor: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype), block)
        # A graph holds fast what Python's numbers were when it was made.
        numbers = [
            value for name, value in vars(self).items() if isinstance(value, (Real, tuple)) and not name.startswith("_")
        ]
        circumstances = [specs, numbers]
        if self._blocks is None or self._blocks[0] != circumstances:
            noise = tf.TensorSpec([None, self.n_samples, self.batch_size, self.n_actions])
            function = tf.function(self._run_loop, input_signature=[specs, noise], autograph=False)
            self._blocks = circumstances, function
        return self._blocks[1]

    def _run_loop(self, block: dict[str, Any], noise: Tensor) -> None:
        """Does a block of gradient steps, as a graph; `block` is what is present of it."""

        def body(i: Tensor) -> list[Tensor]:
            self.counted_step(TensorBatch.at(block, i), noise[i])
            return [i + 1]

        tf.while_loop(lambda i: i < tf.shape(noise)[0], body, [tf.constant(0)], parallel_iterations=1)

    def _run_steps(self, block: dict[str, Any], noise: Tensor) -> None:
        """Does a block of gradient steps, one operation at a time."""
        for i in range(len(noise)):
            self.counted_step(TensorBatch.at(block, i), noise[i])

    def counted_step(self, batch: TensorBatch, noise: Tensor) -> None:
        """Does one gradient step, and adds its metrics to the others'."""
        self._metrics.assign_add(tf.stack(self.step(batch, noise)))

    def minimise(self, loss: Tensor, name: str, tape: tf.GradientTape) -> None:
        """Takes one optimiser step down a loss that a tape has recorded, for one named group of parameters."""
        if self.optimizers[name].parameters:
            self.optimizers[name].minimise(loss, tape)

    def move_targets(self) -> None:
        """Moves the target networks towards what they follow: target = polyak target + (1 - polyak) net."""
        variables = self.variables()
        for part, followed in self.targets.items():
            for name, target in variables.items():
                if name.startswith(f"{part}/"):
                    _move(target, variables[followed + name.removeprefix(part)], self.polyak)

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Sets learning rates by the names of their hyperparameters: `{"lr_a": 1e-4, ...}`."""
        for rate, value in rates.items():
            self.optimizers[self.rates[rate]].rate.assign(value)

    def read_metrics(self) -> dict[str, float]:
        """Returns means over the gradient steps since the last call; nothing if there were none."""
        if self._metric_steps == 0:
            return {}
        means = (self._metrics.numpy() / self._metric_steps).tolist()
        self._metrics.assign(tf.zeros_like(self._metrics))
        self._metric_steps = 0
        return dict(zip(self.metric_names, means, strict=True))

    def metrics_state(self) -> dict[str, Any]:
        """Returns what `read_metrics` has gathered since its last call, in JSON-able values."""
        return {"sums": self._metrics.numpy().tolist(), "steps": self._metric_steps}

    def load_metrics_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `metrics_state` gave."""
        sums = np.array(state["sums"], np.float32)
        if sums.shape != tuple(self._metrics.shape):
            raise ValueError(f"the metrics' sums have shape {list(sums.shape)}; {list(self._metrics.shape)} is needed")
        self._metrics.assign(sums)
        self._metric_steps = int(state["steps"])

    def exploration_state(self) -> dict[str, Any]:
        """Returns the noise that is kept over several steps of training, where there is any."""
        return self.exploration.state_dict()

    def load_exploration_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `exploration_state` gave."""
        self.exploration.load_state_dict(state)

    def check_export(self, format: str) -> None:
        """Checks nothing: no format needs a package beside TensorFlow."""
        del format

    def export(self, path: Path, format: str, about: Mapping[str, Any]) -> None:
        """Writes the deterministic policy to where it needs nothing of this package; see `export_policy`."""
        export_policy(self.policy, path, format, about)

    def read_foreign_weights(self, path: Path, opt_type: str) -> dict[str, Array] | None:
        """Refuses what stable-learning-control saved; None where the path means no such thing.

        Raises:
            ValueError: If it is one.
        """
        saved = (path, path / "torch_save", path / "tf2_save")
        if path.suffix in (".pt", ".pth") or any((folder / "save_info.json").is_file() for folder in saved):
            raise ValueError(
                "weights of stable-learning-control are read by the PyTorch agents. Start one of those from them "
                "(from slc_agents), save it, and give its file here"
            )
        return None

    def describe(self, memory: ReplayBuffer | None = None) -> str:
        """Returns a line that says how gradient steps are computed."""
        way = "a block of steps as one graph" if self.graphed else "one operation at a time"
        return f"gradient steps on {self.device}: TensorFlow {tf.__version__}, {way}"

    def versions(self) -> dict[str, str]:
        """Returns the versions of what computes."""
        return {"tensorflow": str(tf.__version__)}

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the graphs, which are another's in a copy or a pickle."""
        return {**self.__dict__, "_blocks": None, "acting": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Lets them be made anew."""
        self.__dict__.update(state)
        self.acting = Acting(self.policy, self.device, graphed=self.graphed)

    # -- state -----------------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, tf.Module]:
        """Returns what is learned, by the name under which the archive has it."""
        return {"": self.policy}

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the networks' variables, and the multipliers', by their archive names."""
        return {
            f"{prefix}/{name}" if prefix else self._archive_name(name): variable
            for prefix, module in self.modules().items()
            for name, variable in named_variables(module)
        }

    def _archive_name(self, name: str) -> str:
        """Returns the archive name of a policy's variable: an ensemble's member comes first, as in critic/0/head/...

        What the members share, such as an encoder in front of them, is no part of the ensemble: critic/encoder/...
        """
        part, *path = name.split("/")
        module = getattr(self.policy, part) if part in ("critic", "critic_target") else None
        for i, step in enumerate(path):
            if getattr(module, "is_ensemble", False):
                return "/".join([part, step, *path[:i], *path[i + 1 :]])
            module = getattr(module, step, None)
        return name

    def _archive_variables(self) -> dict[str, tf.Variable]:
        """Returns all that an archive holds: networks, multipliers, optimisers."""
        found = self.variables()
        for group, optimizer in self.optimizers.items():
            for name in optimizer.parameters:
                found[moment_name(name, group, "m")] = optimizer.m[name]
                found[moment_name(name, group, "v")] = optimizer.v[name]
            if optimizer.parameters:
                found[f"optimizer/{group}/step"] = optimizer.count
        return found

    def state_dict(self) -> dict[str, Array]:
        """Returns copies of every tensor by its archive name: networks, multipliers, optimisers."""
        return {name: np.array(variable.numpy()) for name, variable in self._archive_variables().items()}

    def load_state_dict(self, state: Mapping[str, Array], *, take: Callable[[str], bool] = lambda name: True) -> None:
        """Puts tensors back in their places. All are checked before the first is written.

        Args:
            state: Tensors by their archive names.
            take: Says by its name whether a tensor is taken; by default all are, and must be there without exception.

        Raises:
            ValueError: If one is missing, unknown or has another shape or kind of type; it names the first one.
        """
        wanted = {name: variable for name, variable in self._archive_variables().items() if take(name)}
        given = {name: array for name, array in state.items() if take(name)}
        specs = {
            name: TensorSpec(tuple(variable.shape), variable.dtype.as_numpy_dtype.__name__, variable.dtype.is_floating)
            for name, variable in wanted.items()
        }
        check_state(specs, given)
        for name, variable in wanted.items():
            variable.assign(np.array(given[name], variable.dtype.as_numpy_dtype))


def _n_bytes(space: Any) -> int:
    """Returns how large an observation of a space is in memory."""
    boxes = observation_boxes(space).values()
    return sum(math.prod(box.shape) * np.dtype(storage_dtype(box)).itemsize for box in boxes)


def _move(target: tf.Variable, followed: tf.Variable, polyak: float) -> None:
    if polyak < 0.5:  # so that 0 gives the very values
        target.assign(followed - polyak * (followed - target))
    else:
        target.assign_add((1.0 - polyak) * (followed - target))


def _check_compute(compute: ComputeOptions) -> None:
    """Raises a `ConfigError` where something is asked for that TensorFlow has no choice of."""
    remedies = {"num_threads": "TensorFlow's threads are the process's: set OMP_NUM_THREADS before it starts"}
    for field in fields(compute):
        value = getattr(compute, field.name)
        if field.name != "graphs" and value != field.default:
            raise ConfigError(
                f"compute_kwargs: {field.name}={value!r}: the TensorFlow agents have no such choice; of "
                f"compute_kwargs they take graphs. {remedies.get(field.name, 'Leave it out')}"
            )
