"""The usual networks as single nodes of autograd, with derivatives written by hand: the same numbers, in less time.

Autograd records and replays dozens of small operations for a network; here each network is one node that runs its
matrix products and little else. `fuse` puts these in the place of what they compute, wherever it knows a network by its
very class; everything else it leaves alone. What is fused shares its parameters with the module that it was made from.

A node leaves the gradients of its parameters where autograd would, in `parameter.grad`: added to what is there, or
else, where an optimiser has memory for them, written into that. So it is for `backward` alone, not for
`torch.autograd.grad`, and can't be differentiated twice; and hooks, on modules or parameters, aren't called.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from slc_agents.learner.policy_kwargs import LOG_STD_MAX, LOG_STD_MIN
from slc_agents.pytorch.critics import CriticEnsemble, LyapunovEnsemble
from slc_agents.pytorch.encoders import Encoded, EncodedActor
from slc_agents.pytorch.networks import Dense, EnsembleDense
from slc_agents.pytorch.policies import SquashedGaussianActor, StateDependentNoiseActor, squashed_sample

__all__ = ["FusedActor", "FusedCritic", "FusedLyapunov", "FusedTrunk", "Sample", "Workspace", "fuse"]

Layer = Dense | EnsembleDense
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Activation(NamedTuple):
    """An activation whose derivative its output tells. Both functions work in place."""

    apply_: Callable[[Tensor], object]
    backward_: Callable[[Tensor, Tensor], object]  # from the gradient of the output, and the output


_aten: Any = torch.ops.aten
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Identity: Activation(lambda x: None, lambda gradient, output: None),
    nn.ReLU: Activation(
        torch.relu_, lambda g, output: _aten.threshold_backward.grad_input(g, output, 0.0, grad_input=g)
    ),
    nn.Tanh: Activation(torch.tanh_, lambda g, output: _aten.tanh_backward.grad_input(g, output, grad_input=g)),
    nn.Sigmoid: Activation(
        torch.sigmoid_, lambda g, output: _aten.sigmoid_backward.grad_input(g, output, grad_input=g)
    ),
}


class Workspace:
    """Memory that is used again and again, and so stays in the processor's caches.

    What a network computes on its way is as large as the caches: in new memory each time, it would have to be fetched
    first, which takes longer than computing it.

    Args:
        homes: Memory for the gradients of parameters.
        widens: Whether products of bfloat16 are computed in float32 and rounded. These are the same numbers, but for
            the order of sums; without instructions for bfloat16, torch takes ten times as long for them.
    """

    def __init__(self, homes: Mapping[nn.Parameter, Tensor] | None = None, *, widens: bool = False) -> None:
        self.homes = homes or {}
        self.widens = widens
        self._free: dict[tuple[tuple[int, ...], torch.dtype], list[Tensor]] = {}
        self._kept: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
        """Returns memory that nobody uses, whatever there is in it. Whoever takes it gives it back when done."""
        free = self._free.get((shape, dtype))
        return free.pop() if free else torch.empty(shape, dtype=dtype, device=device)

    def give_back(self, *tensors: Tensor) -> None:
        """Takes memory back."""
        for tensor in tensors:
            self._free.setdefault((tensor.shape, tensor.dtype), []).append(tensor)

    def clear(self) -> None:
        """Keeps nothing for later of what was given back."""
        self._free.clear()

    def multiply(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """Multiplies matrices, [m, k] times [k, n], or a batch of each.

        Args:
            a: The first.
            b: The second, of the same type.
            out: Memory for the product; None: new memory.
        """
        product = torch.bmm if a.dim() == 3 else torch.mm
        if not self.widens or a.dtype is not torch.bfloat16:
            return product(a, b) if out is None else product(a, b, out=out)
        wide = product(a.float(), b.float())
        return wide.to(a.dtype) if out is None else out.copy_(wide)

    def add_product(self, parameter: nn.Parameter, a: Tensor, b: Tensor) -> None:
        """Adds a matrix product, [.., out, B] times [.., B, in], to a parameter's gradient."""
        home = self._free_home(parameter)
        if home is None:
            self._add(parameter, self.multiply(a, b))
        elif a.dtype is home.dtype:
            parameter.grad = self.multiply(a, b, out=home)
        else:
            product = self.take(parameter.shape, a.dtype, a.device)
            parameter.grad = home.copy_(self.multiply(a, b, out=product))
            self.give_back(product)

    def add_sum(self, parameter: nn.Parameter, terms: Tensor, dim: int, *, keepdim: bool = False) -> None:
        """Adds a sum over one dimension to a parameter's gradient."""
        home = self._free_home(parameter)
        if home is None:
            self._add(parameter, torch.sum(terms, dim, keepdim, dtype=parameter.dtype))
        elif terms.is_cuda and dim == -2 and not keepdim and terms.dtype is home.dtype:
            # There a product with ones takes half as long as the sum over what isn't the last dimension.
            multiply = torch.bmm if terms.dim() == 3 else torch.mm
            multiply(self._ones(terms), terms, out=home.unsqueeze(-2))
            parameter.grad = home
        else:
            parameter.grad = torch.sum(terms, dim, keepdim, dtype=parameter.dtype, out=home)

    def add(self, parameter: nn.Parameter, gradient: Tensor) -> None:
        """Adds to a parameter's gradient."""
        home = self._free_home(parameter)
        if home is None:
            self._add(parameter, gradient)
        else:
            parameter.grad = home.copy_(gradient)

    def _ones(self, terms: Tensor) -> Tensor:
        """Returns [.., 1, B] for terms [.., B, n]: memory that nobody writes to, and that is kept."""
        shape = *terms.shape[:-2], 1, terms.shape[-2]
        key = shape, terms.dtype
        if key not in self._kept:
            self._kept[key] = torch.ones(shape, dtype=terms.dtype, device=terms.device)
        return self._kept[key]

    def _free_home(self, parameter: nn.Parameter) -> Tensor | None:
        return None if parameter.grad is not None else self.homes.get(parameter)

    @staticmethod
    def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
        gradient = gradient.to(parameter.dtype)
        parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)


class _Stack:
    """Dense layers, one behind the other, single or as an ensemble.

    Args:
        layers: They.
        dtype: Type of the products between hidden layers. The first layer is always float32: observations don't bear
            rounding to bfloat16.
        workspace: Memory for what is computed on the way.
    """

    def __init__(self, layers: Iterable[Layer], dtype: torch.dtype, workspace: Workspace) -> None:
        # The parameters themselves: to ask a module for one takes longer than some of the work to be done with it.
        self.layers = [(layer.weight, layer.bias, ACTIVATIONS[type(layer.activation)]) for layer in layers]
        self.dtype = dtype
        self.workspace = workspace
        first = self.layers[0][0]
        self.n = len(first) if first.dim() == 3 else None

    def forward(self, x: Tensor) -> list[Tensor]:
        """Computes.

        Args:
            x: The input, [B, in]; for an ensemble [n, B, in], or [B, in] for all.

        Returns:
            The input and the output of each layer. The outputs are of the workspace: give them back (`release`).
        """
        n = self.n
        x = x.float()
        outputs = [x if n is None or x.dim() == 3 else x.expand(n, *x.shape)]
        for i, (weight, bias, activation) in enumerate(self.layers):
            dtype = self.dtype if i > 0 else torch.float32
            if i > 0:
                outputs[i] = self._converted(outputs[i], dtype)
            x = outputs[i]
            matrix, offset = self.copied(weight, dtype), self.copied(bias, dtype)
            output = self._take(x, matrix)
            if n is None and x.is_cuda:
                torch.addmm(offset, x, matrix, out=output)
            else:
                # On the CPU, and of ensembles, a product that begins with the bias takes longer than both do.
                self.workspace.multiply(x, matrix, out=output)
                output.add_(offset if n is None else offset.unsqueeze(1))
            self.drop(matrix, weight)
            self.drop(offset, bias)
            activation.apply_(output)
            outputs.append(output)
        return outputs

    def _take(self, x: Tensor, weight: Tensor) -> Tensor:
        """Returns memory for the product of the two."""
        return self.workspace.take((*x.shape[:-1], weight.shape[-1]), weight.dtype, weight.device)

    def copied(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Returns a tensor in another type, in memory of the workspace's; or itself, where it is of that type."""
        if tensor.dtype is dtype:
            return tensor
        return self.workspace.take(tensor.shape, dtype, tensor.device).copy_(tensor)

    def drop(self, copy: Tensor, tensor: Tensor) -> None:
        """Gives back what `copied` has made of a tensor, if that was a copy."""
        if copy is not tensor:
            self.workspace.give_back(copy)

    def _converted(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Exchanges memory of the workspace's for such of another type."""
        converted = self.copied(tensor, dtype)
        self.drop(tensor, converted)
        return converted

    def release(self, outputs: list[Tensor]) -> None:
        """Gives back what `forward` has taken."""
        self.workspace.give_back(*outputs[1:])
        outputs.clear()

    def backward(self, outputs: list[Tensor], gradient: Tensor) -> Tensor:
        """Adds to the gradients of the parameters that want any.

        Args:
            outputs: What `forward` gave.
            gradient: Of the last output, in the workspace's memory, which this gives back.

        Returns:
            The gradient of what the first layer's activation is applied to, which the input's follows from; it is the
            workspace's.
        """
        for i in range(len(self.layers) - 1, -1, -1):
            weight, bias, activation = self.layers[i]
            activation.backward_(gradient, outputs[i + 1])
            if i == 0:
                gradient = self._converted(gradient, torch.float32)
            if weight.requires_grad:
                self.workspace.add_product(weight, outputs[i].mT, gradient)
            if bias.requires_grad:
                self.workspace.add_sum(bias, gradient, -2)
            if i > 0:
                matrix = self.copied(weight, gradient.dtype)
                before = self._take(gradient, matrix.mT)
                self.workspace.multiply(gradient, matrix.mT, out=before)
                self.drop(matrix, weight)
                self.workspace.give_back(gradient)
                gradient = before
        return gradient

    def input_gradient(self, gradient: Tensor, columns: slice = slice(None)) -> Tensor:
        """Returns the gradient of some columns of the input, in memory of its own.

        Args:
            gradient: What `backward` gave.
            columns: Which ones.
        """
        return self.workspace.multiply(gradient, self.layers[0][0][..., columns, :].mT)


class _Fused(nn.Module):
    """What a module computes, done by hand.

    Args:
        source: The module.
        layers: The module's hidden layers.
        dtype: Type of the products between them.
        workspace: Memory for what is computed on the way.
    """

    def __init__(self, source: nn.Module, layers: nn.Sequential, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.stack = _Stack(layers, dtype, workspace)  # type: ignore[arg-type]
        self._learned = tuple(source.parameters())

    def __call__(self, *inputs: Tensor) -> Any:
        """Computes; nobody has hooks here, for which torch would look first."""
        return self.forward(*inputs)

    def anchor(self, *inputs: Tensor) -> Tensor | None:
        """Returns something here that wants a gradient, so that autograd asks for it; None where nothing does."""
        if not torch.is_grad_enabled():
            return None
        for tensor in (*self._learned, *inputs):
            if tensor.requires_grad:
                return tensor
        return None


class FusedTrunk(_Fused):
    """Hidden layers, one behind the other; see `make_mlp` and `make_ensemble_mlp`.

    Args:
        source: Those layers.
        dtype: Type of the products between hidden layers.
        workspace: Memory for what is computed on the way.
    """

    def __init__(self, source: nn.Sequential, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__(source, source, dtype, workspace)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in] to [B, out]; for an ensemble [n, B, in], or [B, in] for all members, to [n, B, out]."""
        anchor = self.anchor(x)
        if anchor is None:
            outputs = self.stack.forward(x)
            hidden = outputs[-1].to(x.dtype, copy=True)
            self.stack.release(outputs)
            return hidden
        return _TrunkNode.apply(x, anchor, self.stack)  # type: ignore[no-any-return, no-untyped-call]


class _TrunkNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, stack: _Stack) -> Tensor:
        ctx.stack, ctx.outputs = stack, stack.forward(x)
        ctx.is_shared = x.dim() < ctx.outputs[-1].dim()
        hidden: Tensor = ctx.outputs[-1].to(x.dtype, copy=True)
        return hidden

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        stack, outputs = ctx.stack, ctx.outputs
        last = stack.workspace.take(gradient.shape, outputs[-1].dtype, gradient.device)
        first = stack.backward(outputs, last.copy_(gradient))
        inputs = stack.input_gradient(first) if ctx.needs_input_grad[0] else None
        stack.release(outputs)
        stack.workspace.give_back(first)
        return inputs.sum(dim=0) if inputs is not None and ctx.is_shared else inputs, None, None


class _FusedEnsemble(_Fused, ABC):
    """An ensemble of critics, whose values are made of what their hidden layers give."""

    node: type[torch.autograd.Function]

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        anchor = self.anchor(features, action)
        if anchor is None:
            outputs, values = self.compute(features, action)
            self.release(outputs)
            return values
        return self.node.apply(features, action, anchor, self)  # type: ignore[no-any-return, no-untyped-call]

    @abstractmethod
    def compute(self, features: Tensor, action: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns what each layer gives, and the values."""

    def hidden(self, features: Tensor, action: Tensor) -> list[Tensor]:
        """Returns the inputs, and what each layer gives; `release` gives their memory back."""
        n, size = len(self.stack.layers[0][0]), features.shape[-1]
        # The input once for each critic: a product with the same matrix for all makes these copies each time.
        inputs = self.workspace.take((n, len(action), size + action.shape[-1]), torch.float32, action.device)
        inputs[..., :size].copy_(features)
        inputs[..., size:].copy_(action)
        return self.stack.forward(inputs)

    def backward(
        self, outputs: list[Tensor], gradient: Tensor, n_features: int, wanted: Iterable[bool]
    ) -> list[Tensor | None]:
        """Ends a backward pass: adds to the gradients of the hidden layers' parameters, and gives back all memory.

        Args:
            outputs: What `hidden` has given.
            gradient: Of the last one of them, in the workspace's memory.
            n_features: Size of the features.
            wanted: Whether gradients of features and actions are.

        Returns:
            These gradients.
        """
        first = self.stack.backward(outputs, gradient)
        columns = slice(n_features), slice(n_features, None)
        inputs = [
            self.stack.input_gradient(first, part).sum(dim=0) if wants else None
            for wants, part in zip(wanted, columns, strict=True)
        ]
        self.release(outputs)
        self.workspace.give_back(first)
        return inputs

    def release(self, outputs: list[Tensor]) -> None:
        """Gives back what `compute` has taken."""
        self.workspace.give_back(outputs[0])
        self.stack.release(outputs)


class _CriticNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, action: Tensor, anchor: Tensor, net: FusedCritic) -> Tensor:
        ctx.net, ctx.n_features = net, features.shape[-1]
        ctx.outputs, values = net.compute(features, action)
        if net.value_activation is not ACTIVATIONS[nn.Identity]:
            ctx.save_for_backward(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        net, outputs, workspace = ctx.net, ctx.outputs, ctx.net.workspace
        if ctx.saved_tensors:
            gradient = gradient.clone()
            net.value_activation.backward_(gradient, *ctx.saved_tensors)
        (weight, bias), hidden = net.value, outputs[-1]
        column = gradient.unsqueeze(-1)  # [n_critics, B, 1]
        if weight.requires_grad and hidden.is_cuda and hidden.dtype is column.dtype:
            workspace.add_product(weight, hidden.mT, column)
        elif weight.requires_grad:
            products = workspace.take(hidden.shape, torch.float32, hidden.device)
            torch.mul(hidden, column, out=products)
            workspace.add_sum(weight, products.mT, 2, keepdim=True)
            workspace.give_back(products)
        if bias.requires_grad:
            workspace.add_sum(bias, gradient, 1, keepdim=True)
        last = workspace.take(hidden.shape, hidden.dtype, hidden.device)
        torch.mul(column, weight.mT, out=last)
        return *net.backward(outputs, last, ctx.n_features, ctx.needs_input_grad[:2]), None, None


class FusedCritic(_FusedEnsemble):
    """An ensemble of critics; see `CriticEnsemble`.

    Args:
        source: The ensemble.
        dtype: Type of the products between hidden layers.
        workspace: Memory for what is computed on the way.
    """

    node = _CriticNode

    def __init__(self, source: CriticEnsemble, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__(source, source.trunk, dtype, workspace)
        self.value: tuple[nn.Parameter, nn.Parameter] = source.value.weight, source.value.bias
        self.value_activation = ACTIVATIONS[type(source.value.activation)]

    def compute(self, features: Tensor, action: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns what each layer gives, and the values."""
        outputs = self.hidden(features, action)
        # A sum of products: a matrix of one column is what matrix products are slow at.
        products = self.workspace.take(outputs[-1].shape, torch.float32, action.device)
        weight, bias = self.value
        torch.mul(outputs[-1], weight.mT, out=products)
        values = products.sum(dim=-1).add_(bias)
        self.workspace.give_back(products)
        self.value_activation.apply_(values)
        return outputs, values


class _LyapunovNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, action: Tensor, anchor: Tensor, net: FusedLyapunov) -> Tensor:
        ctx.net, ctx.n_features = net, features.shape[-1]
        ctx.outputs, values = net.compute(features, action)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        net, hidden = ctx.net, ctx.outputs[-1]
        last = net.workspace.take(hidden.shape, hidden.dtype, hidden.device)
        torch.mul(hidden, 2.0 * gradient.unsqueeze(-1), out=last)  # of each square
        return *net.backward(ctx.outputs, last, ctx.n_features, ctx.needs_input_grad[:2]), None, None


class FusedLyapunov(_FusedEnsemble):
    """An ensemble of Lyapunov functions; see `LyapunovEnsemble`.

    Args:
        source: The ensemble.
        dtype: Type of the products between hidden layers.
        workspace: Memory for what is computed on the way.
    """

    node = _LyapunovNode

    def __init__(self, source: LyapunovEnsemble, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__(source, source.trunk, dtype, workspace)

    def compute(self, features: Tensor, action: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns what each layer gives, and the values."""
        outputs = self.hidden(features, action)
        hidden = self.stack.copied(outputs[-1], torch.float32)
        squares = self.workspace.take(hidden.shape, torch.float32, action.device)
        values = torch.mul(hidden, hidden, out=squares).sum(dim=-1)
        self.workspace.give_back(squares)
        self.stack.drop(hidden, outputs[-1])
        return outputs, values


class Sample(NamedTuple):
    """Actions that a policy has drawn."""

    action: Tensor  # [B, n_actions] in [-1, 1]
    log_prob: Tensor  # [B]


class FusedActor(_Fused):
    """A squashed Gaussian; see `SquashedGaussianActor`.

    Args:
        source: The actor.
        dtype: Type of the products between hidden layers.
        workspace: Memory for what is computed on the way.
    """

    def __init__(self, source: SquashedGaussianActor, dtype: torch.dtype, workspace: Workspace) -> None:
        super().__init__(source, source.trunk, dtype, workspace)
        self.heads = (source.mean.weight, source.mean.bias), (source.log_std.weight, source.log_std.bias)

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples actions [B, n_actions] and returns them with their log-probabilities [B]."""
        anchor = self.anchor(features)
        if anchor is None:
            outputs, _, mean, log_std = self.compute(features)
            self.stack.release(outputs)
            return squashed_sample(mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX), noise)
        action, log_prob, _, _ = _ActorNode.apply(features, noise, anchor, self, 0)  # type: ignore[no-untyped-call]
        return action, log_prob

    def sample_both(self, features: Tensor, next_features: Tensor, noise: Tensor) -> tuple[Sample, Sample]:
        """Samples at observations and, without gradient, at the next ones, in one pass.

        Args:
            features: [B, n_inputs].
            next_features: [B, n_inputs].
            noise: [2, B, n_actions], for the next actions, and for the others.
        """
        rows = torch.cat([next_features, features])
        anchor = self.anchor(rows)
        if anchor is None:
            return Sample(*self(features, noise[1])), Sample(*self(next_features, noise[0]))
        both = _ActorNode.apply(rows, noise.flatten(0, 1), anchor, self, len(next_features))  # type: ignore[no-untyped-call]
        return Sample(*both[:2]), Sample(*both[2:])

    def compute(self, features: Tensor) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        """Computes up to the squashing.

        Returns:
            What each layer gives; both heads' weights side by side, [hidden, 2 n_actions]; the mean; and the logarithm
            of the standard deviation before it is clamped.
        """
        outputs = self.stack.forward(features)
        weights, biases = (torch.cat(parameters, dim=-1) for parameters in zip(*self.heads, strict=True))
        hidden = self.stack.copied(outputs[-1], torch.float32)
        mean, log_std = torch.mm(hidden, weights).add_(biases).chunk(2, dim=-1)
        self.stack.drop(hidden, outputs[-1])
        return outputs, weights, mean, log_std


class _ActorNode(torch.autograd.Function):
    """Samples at some rows without gradient, the first `n_free`, and at the others."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, noise: Tensor, anchor: Tensor, net: FusedActor, n_free: int
    ) -> tuple[Tensor, ...]:
        ctx.net, ctx.n_free = net, n_free
        ctx.outputs, ctx.head_weights, mean, raw = net.compute(features)
        log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
        action, log_prob = squashed_sample(mean, log_std, noise)
        bound = slice(n_free, None)
        raw, log_std, noise, bound_action = raw[bound], log_std[bound], noise[bound], action[bound]
        # How the sample moves with the logarithm of its standard deviation, and where that doesn't move.
        scale, is_clamped = log_std.exp() * noise, raw != log_std
        ctx.save_for_backward(bound_action, scale, is_clamped)
        free = action[:n_free], log_prob[:n_free]
        ctx.mark_non_differentiable(*free)
        ctx.set_materialize_grads(False)
        return bound_action, log_prob[bound], *free

    @staticmethod
    def backward(
        ctx: Any, action_gradient: Tensor | None, log_prob_gradient: Tensor | None, *_: None
    ) -> tuple[Tensor | None, ...]:
        net = ctx.net
        action, scale, is_clamped = ctx.saved_tensors
        if action_gradient is None:  # the loss doesn't depend on it
            action_gradient = torch.zeros_like(action)
        if log_prob_gradient is None:
            log_prob_gradient = action.new_zeros(len(action))
        outputs = [output[ctx.n_free :] for output in ctx.outputs]
        column = log_prob_gradient.unsqueeze(-1)
        # Of u, the sample before it is squashed: d tanh(u) = 1 - tanh(u)², d log π = 2 tanh(u).
        mean = torch.ops.aten.tanh_backward(action_gradient, action).addcmul_(column, action, value=2.0)
        log_std = (mean * scale - column).masked_fill_(is_clamped, 0.0)
        both = torch.cat([mean, log_std], dim=-1)
        hidden = net.stack.copied(outputs[-1], torch.float32)
        # The other way round, [2 n_actions, hidden], it takes a third of the time: the result is narrow.
        products = torch.mm(both.mT, hidden).chunk(2)
        net.stack.drop(hidden, outputs[-1])
        for (weight, bias), product, part in zip(net.heads, products, (mean, log_std), strict=True):
            if weight.requires_grad:
                net.workspace.add(weight, product.mT)
            if bias.requires_grad:
                net.workspace.add_sum(bias, part, -2)
        last = net.workspace.take(outputs[-1].shape, outputs[-1].dtype, both.device)
        if last.dtype is both.dtype:
            torch.mm(both, ctx.head_weights.mT, out=last)
        else:
            last.copy_(torch.mm(both, ctx.head_weights.mT))
        first = net.stack.backward(outputs, last)
        inputs = net.stack.input_gradient(first) if ctx.needs_input_grad[0] else None
        net.stack.release(ctx.outputs)
        net.workspace.give_back(first)
        if inputs is not None:
            inputs = torch.cat([inputs.new_zeros(ctx.n_free, inputs.shape[-1]), inputs])
        return inputs, None, None, None, None


def fuse(module: ModuleT, dtype: torch.dtype = torch.float32, workspace: Workspace | None = None) -> ModuleT | _Fused:
    """Returns what computes the same as a module, with those of its networks fused that are known.

    Args:
        module: An actor or critics.
        dtype: Type of the matrix products between hidden layers of what is fused: float32 or bfloat16.
        workspace: Memory for what is computed on the way; networks that aren't used at once share it.

    Returns:
        The module itself where nothing in it is known; else something that shares its parameters and buffers.
    """
    fused = _find_fused(module)
    if fused is not None:
        return fused(module, dtype, workspace or Workspace())  # type: ignore[arg-type]
    if type(module) not in _CONTAINERS:
        return module  # a user's own module may look into its parts, so they stay what they are
    parts = {name: child if child is None else fuse(child, dtype, workspace) for name, child in module._modules.items()}
    if all(parts[name] is child for name, child in module._modules.items()):
        return module
    alias = copy.copy(module)
    alias._modules = parts
    return alias


_CONTAINERS = (StateDependentNoiseActor, Encoded, EncodedActor)


def _find_fused(
    module: nn.Module,
) -> type[FusedTrunk] | type[FusedCritic] | type[FusedLyapunov] | type[FusedActor] | None:
    """Returns what fuses a module, if it is known to the last part."""
    if any(parameter.dtype is not torch.float32 for parameter in module.parameters()):
        return None
    if any("forward" in vars(part) for part in module.modules()):  # somebody has replaced what it computes
        return None
    if type(module) is nn.Sequential:
        is_of_one_kind = len({type(layer) for layer in module}) == 1
        return FusedTrunk if is_of_one_kind and all(map(_is_known, module)) else None
    if type(module) is CriticEnsemble:
        return FusedCritic if _find_fused(module.trunk) and _is_known(module.value) else None
    if type(module) is LyapunovEnsemble:
        return FusedLyapunov if _find_fused(module.trunk) else None
    if type(module) is SquashedGaussianActor:
        heads = module.mean, module.log_std
        linear = all(_is_known(head) and type(head.activation) is nn.Identity for head in heads)
        return FusedActor if linear and _find_fused(module.trunk) else None
    return None


def _is_known(layer: nn.Module) -> bool:
    return type(layer) in (Dense, EnsembleDense) and type(layer.activation) in ACTIVATIONS
