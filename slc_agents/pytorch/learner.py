"""What every PyTorch learner shares: acting, optimisers, target networks, metrics, state.

An algorithm is a subclass that writes its gradient step out in full; see `slc_agents.pytorch.sac`.
"""

from __future__ import annotations

import copy
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slc_agents.buffers import ReplayBuffer
from slc_agents.compute import ComputeOptions, Precision
from slc_agents.errors import ConfigError
from slc_agents.learner.exploration import ExplorationNoise
from slc_agents.learner.state import TensorSpec, check_state, member_name, moment_name, parameter_name
from slc_agents.pytorch.accelerate import Networks, choose_plan
from slc_agents.pytorch.acting import Acting, count_rows
from slc_agents.pytorch.acting_copy import make_acting_policy
from slc_agents.pytorch.batches import Batches, HostBatches, TensorBatch
from slc_agents.pytorch.device_memory import DeviceMemory, choose_place
from slc_agents.pytorch.encoders import TensorObservation
from slc_agents.pytorch.export import FORMATS, export_policy
from slc_agents.pytorch.fused import FusedActor, Sample, Workspace, fuse
from slc_agents.pytorch.optimizer import NoOptimizer, Optimizer, by_type, merge_runs, move_together
from slc_agents.pytorch.parts import Parts
from slc_agents.pytorch.recorders import CpuRecorder, CudaRecorder
from slc_agents.pytorch.slc_weights import find_weights, read_weights
from slc_agents.pytorch.steps import EagerSteps, GraphedSteps, Steps
from slc_agents.seeding import Stream
from slc_agents.transition import Array, Observation

__all__ = ["Sample", "TensorBatch", "TorchLearner", "frozen_alias"]

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def frozen_alias(module: ModuleT) -> ModuleT:
    """Returns a copy of a module that shares its parameters' memory, but asks for no gradients.

    What flows through it differentiates by the inputs alone: no gradients of weights are computed and thrown away, and
    nothing has to be frozen and unfrozen around a loss.
    """
    alias = copy.deepcopy(module)
    tensors = [*module.parameters(), *module.buffers()]
    for theirs, ours in zip([*alias.parameters(), *alias.buffers()], tensors, strict=True):
        theirs.data = ours.data
    return alias.requires_grad_(False).train()


class TorchLearner(ABC):
    """Acts with a policy and improves it from a memory.

    Args:
        policy: The networks; see `slc_agents.pytorch.policies`. Moved to `device`.
        device: Where they live.
        batch_size: Transitions in a minibatch.
        polyak: Part of the old target kept in each update of the target networks.
        compute: What the user has said of how to compute; see `slc_agents.pytorch.accelerate` for what is chosen.
        generators: Random streams: `action` for the noise of sampled actions, `learner` for that of gradient steps.
    """

    metric_names: tuple[str, ...]
    # Slow copies among the policy's parts, each with the part that it follows.
    targets: Mapping[str, str] = {"critic_target": "critic"}
    # Samples of the policy that a gradient step draws, each of which needs noise.
    n_samples = 2
    actor: Any
    critic: Any
    critic_target: Any
    frozen_critic: Any
    export_formats: Mapping[str, str] = {name: format.suffix for name, format in FORMATS.items()}

    def __init__(
        self,
        policy: nn.Module,
        *,
        device: torch.device,
        batch_size: int,
        polyak: float,
        generators: Mapping[Stream, np.random.Generator],
        compute: ComputeOptions,
    ) -> None:
        # Its parts are its class's business; some, such as dropout, act only while it learns.
        self.policy = cast("Any", policy.to(device).eval())
        self.device = device
        self.batch_size = batch_size
        self.polyak = polyak
        self.compute = compute
        self.generators = generators
        self.n_actions = int(np.prod(self.policy.action_space.shape))
        self.exploration = ExplorationNoise()
        self.optimizers: dict[str, Optimizer | NoOptimizer] = {}
        self._rate_names: dict[str, str] = {}
        self._metrics = torch.zeros(len(self.metric_names), dtype=torch.float32, device=device)
        self._metric_steps = 0

    def connect(self) -> None:
        """Makes the networks that the losses compute with, which share the policy's parameters and do what it does.

        Called when the optimisers are there, since these move the parameters in memory.
        """
        policy = self.policy
        self.plan = choose_plan(policy, self.device, self.batch_size, self.compute)
        self._minds_its_mode = not all(map(_ignores_its_mode, policy.modules()))
        followed = [(getattr(policy, target), getattr(policy, part)) for target, part in self.targets.items()]
        for target, _ in followed:
            for group in by_type(target.parameters()):
                move_together(group)
        self.parts = Parts(policy, is_learned=True)
        nets = [policy.actor, policy.critic, frozen_alias(policy.critic), *(target for target, _ in followed)]
        homes = {
            parameter: gradient
            for optimizer in self.optimizers.values()
            for parameter, gradient in optimizer.gradients.items()
        }
        self.workspace = Workspace(homes, widens=self.plan.widened)
        nets, networks = self._fuse(nets)
        precision: Precision = "float32" if networks == "ordinary" else self.plan.precision
        # By itself, but on the CPU not where networks are ordinary, since what they compute on their way would stay in
        # memory for each operation; nor where the step is a user's own, whose Python may do another thing each time.
        packages = {cls.__module__.partition(".")[0] for cls in type(self).__mro__}
        is_ours = packages <= {"slc_agents", "abc", "builtins"}
        by_itself = is_ours and (networks == "fused" or self.device.type == "cuda")
        graphed = self.plan.graphed and (by_itself or self.compute.graphs is True)
        widened = self.plan.widened and precision != "float32"
        self.plan = replace(self.plan, networks=networks, precision=precision, graphed=graphed, widened=widened)
        for name, net in zip(("actor", "critic", "frozen_critic", *self.targets), nets, strict=True):
            setattr(self, name, net)
        self._target_pairs = merge_runs(
            [pair for one, other in followed for pair in zip(one.parameters(), other.parameters(), strict=True)]
        )
        self._target_buffers = [
            pair for one, other in followed for pair in zip(one.buffers(), other.buffers(), strict=True)
        ]
        self.acting_policy = make_acting_policy(policy, self.device)
        self.acting = Acting(self.acting_policy.policy, self.acting_policy.device)
        self.steps = self._make_steps()
        self._batches: Batches | None = None
        self._memory: weakref.ref[ReplayBuffer] | None = None  # that of the batches; it isn't kept alive

    def _fuse(self, nets: list[Any]) -> tuple[list[Any], Networks]:
        """Returns the networks, fused as far as they are known, and how far that is."""
        may_fuse = self.plan.networks == "fused"
        fused = [fuse(net, self.plan.dtype, self.workspace) for net in nets] if may_fuse else nets
        count = sum(one is not net for one, net in zip(fused, nets, strict=True))
        if count == 0 and self.plan.precision != "float32":
            raise ConfigError(
                f"compute_kwargs: precision={self.plan.precision!r}: only fused networks compute in it, and none of "
                f"this policy's is one on {self.device}: {type(self.policy).__name__}. Leave it out; or use the "
                "package's own policies with ReLU, Tanh, Sigmoid or Identity, on the CPU or a CUDA device"
            )
        if self.is_watched:
            return nets, "ordinary"  # whose hooks are called, and which compute in float32
        return fused, "fused" if count == len(nets) else "partly fused" if count else "ordinary"

    def _make_steps(self) -> Steps:
        if not self.plan.graphed:
            return EagerSteps()
        return GraphedSteps(CudaRecorder(self.device) if self.device.type == "cuda" else CpuRecorder())

    @property
    def is_watched(self) -> bool:
        """Whether a user has registered hooks on the policy, which a step by other means than its own wouldn't call."""
        return self.parts.are_watched

    def follow_policy(self) -> None:
        """Connects anew what a user has changed: parts or memory of the policy, hooks, what wants gradients."""
        if not self.parts.are_current():
            graphed, steps = self.plan.graphed, self.steps
            steps.forget()
            for optimizer in self.optimizers.values():
                optimizer.move_in()
            self.connect()
            if self.plan.graphed == graphed:
                self.steps = steps

    @abstractmethod
    def step(self, batch: TensorBatch, noise: Tensor) -> tuple[Tensor, ...]:
        """Does one gradient step.

        Args:
            batch: The minibatch.
            noise: Standard normal noise [n_samples, B, n_actions]: for the next actions, for the actor's, for others.

        Returns:
            0-d tensors, detached, in the order of `metric_names`.
        """

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out what shares the policy's memory, which a copy or a pickle would give memory of its own."""
        sharing = ["actor", "critic", *self.targets, "frozen_critic", "_target_pairs", "_target_buffers"]
        sharing += [
            "plan",
            "_minds_its_mode",
            "parts",
            "acting_policy",
            "acting",
            "workspace",
            "steps",
            "_batches",
            "_memory",
        ]
        return {name: value for name, value in self.__dict__.items() if name not in sharing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes it anew."""
        self.__dict__.update(state)
        self.connect()

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
        self.acting_policy.follow()
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
        self.acting_policy.observe(observation)

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
        self.follow_policy()
        batches = self._find_batches(memory)
        self.acting_policy.outdate()
        if self._minds_its_mode:
            self.policy.train()
        try:
            with self.plan.in_force():
                self.steps.run(self, batches, batches.inputs(memory, indices), noise)
        finally:
            if self._minds_its_mode:
                self.policy.eval()
        self._metric_steps += n

    def counted_step(self, batch: TensorBatch, noise: Tensor) -> None:
        """Does one gradient step, and adds its metrics to the others'."""
        self._metrics += torch.stack(self.step(batch, noise))

    def changing_tensors(self) -> Iterator[Tensor]:
        """Yields all that a gradient step may write to, and the learning rates."""
        for module in self.modules().values():
            yield from module.parameters()
            yield from module.buffers()
        for optimizer in self.optimizers.values():
            yield from optimizer.memory()
        yield self._metrics

    def _find_batches(self, memory: ReplayBuffer) -> Batches:
        """Returns what makes minibatches of a memory's transitions."""
        if self._batches is None or self._memory is None or self._memory() is not memory:
            self._batches = None  # before another mirror is made, an old one gives its memory back
            self.steps.forget()
            on_device = choose_place(memory, self.device, self.compute.replay_on_device).on_device
            self._batches = DeviceMemory(memory, self.device) if on_device else HostBatches(self.device)
            self._memory = weakref.ref(memory)
        return self._batches

    def sample_actions(self, batch: TensorBatch, noise: Tensor) -> tuple[Sample, Callable[[], Sample]]:
        """Samples the policy at the next observations, without gradient, and at the observations.

        Where that is one pass through the actor, it is made at once. Otherwise the second sample is drawn when it is
        asked for: an actor may see through an encoder that the critics' step has moved by then.

        Args:
            batch: The minibatch.
            noise: Standard normal noise [2, B, n_actions]: for the next actions, and for the others.

        Returns:
            The sample at the next observations, and what gives the one at the observations.
        """

        def features(observation: TensorObservation) -> Tensor:
            seen: Tensor = self.policy.features(observation)
            return seen.detach()

        if isinstance(self.actor, FusedActor):
            sample, next_sample = self.actor.sample_both(
                features(batch.observation), features(batch.next_observation), noise
            )
            return next_sample, lambda: sample
        with torch.no_grad():
            next_sample = Sample(*self.actor(features(batch.next_observation), noise[0]))
        return next_sample, lambda: Sample(*self.actor(features(batch.observation), noise[1]))

    def minimise(self, loss: Tensor, name: str) -> None:
        """Takes one optimiser step down a loss, for one named group of parameters."""
        self.optimizers[name].minimise(loss)

    @torch.no_grad()
    def move_targets(self) -> None:
        """Moves the target networks towards what they follow: target = polyak target + (1 - polyak) net."""
        for target, parameter in self._target_pairs:
            target.lerp_(parameter, 1.0 - self.polyak)
        for target, buffer in self._target_buffers:
            target.copy_(buffer)

    def add_optimizer(self, name: str, rate: str, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Adds the optimiser of a group of named parameters, whose learning rate is the hyperparameter `rate`."""
        named = dict(parameters)
        self.optimizers[name] = Optimizer(named) if named else NoOptimizer()
        self._rate_names[rate] = name

    def set_learning_rates(self, rates: Mapping[str, float]) -> None:
        """Sets learning rates by the names of their hyperparameters: `{"lr_a": 1e-4, ...}`."""
        for rate, value in rates.items():
            optimizer = self.optimizers[self._rate_names[rate]]
            if isinstance(optimizer, Optimizer):
                optimizer.rate.fill_(value)

    def read_metrics(self) -> dict[str, float]:
        """Returns means over the gradient steps since the last call; nothing if there were none."""
        if self._metric_steps == 0:
            return {}
        means = (self._metrics / self._metric_steps).tolist()
        self._metrics.zero_()
        self._metric_steps = 0
        return dict(zip(self.metric_names, means, strict=True))

    def metrics_state(self) -> dict[str, Any]:
        """Returns what `read_metrics` has gathered since its last call, in JSON-able values."""
        return {"sums": self._metrics.tolist(), "steps": self._metric_steps}

    def load_metrics_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `metrics_state` gave."""
        sums = torch.tensor(state["sums"], dtype=torch.float32)
        if sums.shape != self._metrics.shape:
            raise ValueError(f"the metrics' sums have shape {list(sums.shape)}; {list(self._metrics.shape)} is needed")
        self._metrics.copy_(sums)
        self._metric_steps = int(state["steps"])

    def exploration_state(self) -> dict[str, Any]:
        """Returns the noise that is kept over several steps of training, where there is any."""
        return self.exploration.state_dict()

    def load_exploration_state(self, state: Mapping[str, Any]) -> None:
        """Takes back what `exploration_state` gave."""
        self.exploration.load_state_dict(state)

    def check_export(self, format: str) -> None:
        """Raises a `MissingDependencyError` if a format needs a package that isn't installed."""
        FORMATS[format].check_installed()

    def export(self, path: Path, format: str, about: Mapping[str, Any]) -> None:
        """Writes the deterministic policy to a file that needs nothing of this package; see `export_policy`."""
        export_policy(self.policy, path, format, about)

    def read_foreign_weights(self, path: Path, opt_type: str) -> dict[str, Array] | None:
        """Reads weights of PyTorch that stable-learning-control saved, for this learner's policy.

        Args:
            path: Their file, or a folder that holds it.
            opt_type: What is taken to be the file's, where nothing beside it says it.

        Returns:
            Tensors by their archive names; None where the path means no such file.
        """
        found = find_weights(path)
        return None if found is None else read_weights(found, self.policy, opt_type)

    def describe(self, memory: ReplayBuffer | None = None) -> str:
        """Returns a line that says how gradient steps, with minibatches of a memory, are computed."""
        about = "" if memory is None else choose_place(memory, self.device, self.compute.replay_on_device).about
        return f"{self.plan}, {about}" if about else str(self.plan)

    def versions(self) -> dict[str, str]:
        """Returns the versions of what computes."""
        return {"torch": str(torch.__version__)}

    # -- state -----------------------------------------------------------------------------------------------------

    def modules(self) -> dict[str, nn.Module]:
        """Returns what is learned, by the name under which the archive has it."""
        return {"": self.policy}

    def state_dict(self) -> dict[str, Array]:
        """Returns copies of every tensor by its archive name: networks, multipliers, optimisers."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._archive_tensors()}

    def load_state_dict(self, state: Mapping[str, Array], *, take: Callable[[str], bool] = lambda name: True) -> None:
        """Puts tensors back in their places. All are checked before the first is written.

        Args:
            state: Tensors by their archive names.
            take: Says by its name whether a tensor is taken; by default all are, and must be there without exception.

        Raises:
            ValueError: If one is missing, unknown or has another shape or kind of type; it names the first one.
        """
        wanted = {name: tensor for name, tensor in self._archive_tensors() if take(name)}
        given = {name: array for name, array in state.items() if take(name)}
        specs = {
            name: TensorSpec(tuple(tensor.shape), tensor.dtype, tensor.is_floating_point())
            for name, tensor in wanted.items()
        }
        check_state(specs, given)
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(torch.from_numpy(np.array(given[name])))
        for name, optimizer in self.optimizers.items():
            if isinstance(optimizer, Optimizer) and f"optimizer/{name}/step" in given:
                optimizer.steps = int(given[f"optimizer/{name}/step"])
        self.acting_policy.outdate()

    def _archive_tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yields every tensor under its archive name: views, through which it can be read and written."""
        for prefix, module in self.modules().items():
            for name, tensor in module.state_dict(prefix=f"{prefix}." if prefix else "").items():
                yield from self._split(name, tensor)
        for name, optimizer in self.optimizers.items():
            if isinstance(optimizer, Optimizer):
                for parameter, tensor, letter in optimizer.tensors():
                    for part, view in self._split(parameter, tensor):
                        yield moment_name(part, name, letter), view
                yield f"optimizer/{name}/step", torch.tensor(optimizer.steps)

    def _split(self, name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Gives a parameter its archive name; an ensemble's is split into its members': critic/0/..., critic/1/...

        What the members share, such as an encoder in front of them, is no part of the ensemble: critic/encoder/...
        """
        for part in ("critic", "critic_target"):
            inner = name.removeprefix(f"{part}.")
            if inner != name and _is_stacked(getattr(self.policy, part), inner):
                for i in range(len(tensor)):
                    yield member_name(name, part, i), tensor[i]
                return
        yield parameter_name(name), tensor


def _ignores_its_mode(module: nn.Module) -> bool:
    """Whether a module, apart from its parts, is known to do the same in training as otherwise."""
    cls = type(module)
    return cls.__module__.startswith("slc_agents.") or cls in (nn.Sequential, nn.Identity, nn.ReLU, nn.Tanh)


def _is_stacked(module: nn.Module, name: str) -> bool:
    """Says whether a parameter, by its name, lies in an ensemble: the module, or one of those on the way to it."""
    while not getattr(module, "is_ensemble", False):
        child, _, name = name.partition(".")
        if not name:
            return False
        module = getattr(module, child)
    return True
