"""The usual networks as single nodes of autograd, with derivatives written by hand: the same numbers, in less time.

Autograd records and replays dozens of small operations for a network; here each network is one node that runs its
matrix products and little else. `fuse` puts these in the place of what they compute, wherever it knows a network by its
very class; everything else it leaves alone. What is fused shares its parameters with the module that it was made from.

A node leaves the gradients of its parameters where autograd would, in `parameter.grad`, by adding to what is there.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from slc_agents.pytorch.critics import CriticEnsemble
from slc_agents.pytorch.encoders import Encoded, EncodedActor
from slc_agents.pytorch.networks import Dense, EnsembleDense
from slc_agents.pytorch.policies import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    SquashedGaussianActor,
    StateDependentNoiseActor,
    squashed_sample,
)

__all__ = ["FusedActor", "FusedCritic", "FusedTrunk", "fuse"]

LayerT = Dense | EnsembleDense
Layers = Sequence[LayerT]
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Activation(NamedTuple):
    """An activation whose derivative its output tells."""

    apply_: Callable[[Tensor], Tensor]  # in place
    backward: Callable[[Tensor, Tensor], Tensor]  # from the gradient of the output, and the output; may be in place


def _relu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    return torch.ops.aten.threshold_backward.grad_input(gradient, output, 0.0, grad_input=gradient)  # type: ignore[no-any-return]


ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.Identity: Activation(lambda x: x, lambda gradient, output: gradient),
    nn.ReLU: Activation(torch.relu_, _relu_backward),
    nn.Tanh: Activation(torch.tanh_, torch.ops.aten.tanh_backward),
    nn.Sigmoid: Activation(torch.sigmoid_, torch.ops.aten.sigmoid_backward),
}


class _Stack:
    """Dense layers, one behind the other, single or as an ensemble.

    Args:
        layers: They.
        dtype: Type of the products between hidden layers. The first layer is always float32: observations don't bear
            rounding to bfloat16.
    """

    def __init__(self, layers: Iterable[LayerT], dtype: torch.dtype) -> None:
        self.layers = [(layer, ACTIVATIONS[type(layer.activation)]) for layer in layers]
        self.dtype = dtype

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the input [B, in] (for an ensemble [n, B, in], or [B, in] for all) and the output of each layer."""
        is_ensemble = self.layers[0][0].weight.dim() == 3
        outputs = [x.expand(len(self.layers[0][0].weight), *x.shape) if is_ensemble and x.dim() == 2 else x]
        for i, (layer, activation) in enumerate(self.layers):
            weight: Tensor = layer.weight
            bias: Tensor = layer.bias
            if i > 0 and self.dtype is not torch.float32:
                outputs[i] = outputs[i].to(self.dtype)
                weight, bias = weight.to(self.dtype), bias.to(self.dtype)
            if is_ensemble:
                output = torch.baddbmm(bias.unsqueeze(1), outputs[i], weight)
            else:
                output = torch.addmm(bias, outputs[i], weight)
            outputs.append(activation.apply_(output))
        return outputs

    def backward(self, outputs: list[Tensor], gradient: Tensor) -> Tensor:
        """Adds to the gradients of the parameters that want any.

        Args:
            outputs: What `forward` gave.
            gradient: Of the last output; it is spent.

        Returns:
            The gradient of what the first layer's activation is applied to, which the input's follows from.
        """
        for i in range(len(self.layers) - 1, -1, -1):
            layer, activation = self.layers[i]
            gradient = activation.backward(gradient, outputs[i + 1])
            weight = layer.weight
            if i == 0:
                gradient = gradient.to(weight.dtype)
            if weight.requires_grad:
                _add_product(weight, outputs[i].mT, gradient)
            if layer.bias.requires_grad:
                _add(layer.bias, gradient.sum(dim=-2, dtype=weight.dtype))
            if i > 0:
                gradient = torch.matmul(gradient, weight.to(gradient.dtype).mT)
        return gradient

    def input_gradient(self, gradient: Tensor, columns: slice = slice(None)) -> Tensor:
        """Returns the gradient of some columns of the input, one row for each of `gradient`, which `backward` gave."""
        return torch.matmul(gradient, self.layers[0][0].weight[..., columns, :].mT)


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    if parameter.grad is None:
        parameter.grad = gradient.to(parameter.dtype)
    else:
        parameter.grad.add_(gradient)


def _add_product(parameter: nn.Parameter, a: Tensor, b: Tensor) -> None:
    """Adds the matrix product of two tensors to a parameter's gradient."""
    gradient = parameter.grad
    if gradient is None or a.dtype != gradient.dtype:
        _add(parameter, torch.matmul(a, b))
    elif gradient.dim() == 2:
        torch.addmm(gradient, a, b, out=gradient)
    else:
        torch.baddbmm(gradient, a, b, out=gradient)


class _Fused(nn.Module):
    """What a module computes, done by hand.

    Args:
        source: The module.
    """

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.source = source
        self._inside = tuple(source.modules())
        self._learned = tuple(source.parameters())

    def is_watched(self) -> bool:
        """Whether a user has registered hooks inside, which only the module itself calls."""
        return any(
            module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
            for module in self._inside
        )

    def anchor(self, *inputs: Tensor) -> Tensor | None:
        """Returns something here that wants a gradient, so that autograd asks for it; None where nothing does."""
        if not torch.is_grad_enabled():
            return None
        return next((tensor for tensor in (*self._learned, *inputs) if tensor.requires_grad), None)


class FusedTrunk(_Fused):
    """Hidden layers, one behind the other; see `make_mlp` and `make_ensemble_mlp`.

    Args:
        source: Those layers.
        dtype: Type of the products between hidden layers.
    """

    def __init__(self, source: nn.Sequential, dtype: torch.dtype) -> None:
        super().__init__(source)
        self.stack = _Stack(_layers(source), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [B, in] to [B, out]; for an ensemble [n, B, in], or [B, in] for all members, to [n, B, out]."""
        if self.is_watched():
            return self.source(x)  # type: ignore[no-any-return]
        anchor = self.anchor(x)
        if anchor is None:
            return self.stack.forward(x)[-1].to(x.dtype)
        return _TrunkNode.apply(x, anchor, self.stack)  # type: ignore[no-any-return, no-untyped-call]


class _TrunkNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, stack: _Stack) -> Tensor:
        outputs = stack.forward(x)
        ctx.stack, ctx.is_shared = stack, x.dim() < outputs[-1].dim()
        ctx.save_for_backward(*outputs)
        return outputs[-1].to(x.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        outputs = ctx.saved_tensors
        gradient = ctx.stack.backward(outputs, gradient.to(outputs[-1].dtype, copy=True))
        if not ctx.needs_input_grad[0]:
            return None, None, None
        gradient = ctx.stack.input_gradient(gradient)
        return gradient.sum(dim=0) if ctx.is_shared else gradient, None, None


class FusedCritic(_Fused):
    """An ensemble of critics; see `CriticEnsemble`.

    Args:
        source: The ensemble.
        dtype: Type of the products between hidden layers.
    """

    def __init__(self, source: CriticEnsemble, dtype: torch.dtype) -> None:
        super().__init__(source)
        self.stack = _Stack(_layers(source.trunk), dtype)
        self.value = source.value
        self.value_activation = ACTIVATIONS[type(source.value.activation)]

    def forward(self, features: Tensor, action: Tensor) -> Tensor:
        """Returns values [n_critics, B] of features [B, n_inputs] and actions [B, n_actions] in [-1, 1]."""
        if self.is_watched():
            return self.source(features, action)  # type: ignore[no-any-return]
        anchor = self.anchor(features, action)
        if anchor is None:
            return self.compute(features, action)[1]
        return _CriticNode.apply(features, action, anchor, self)  # type: ignore[no-any-return, no-untyped-call]

    def compute(self, features: Tensor, action: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns what each layer gives, and the values."""
        outputs = self.stack.forward(torch.cat([features, action], dim=-1))
        # A sum of products: a matrix of one column is what matrix products are slow at.
        values = (outputs[-1] * self.value.weight.mT).sum(dim=-1).add_(self.value.bias)
        return outputs, self.value_activation.apply_(values)


class _CriticNode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, action: Tensor, anchor: Tensor, net: FusedCritic) -> Tensor:
        ctx.net, ctx.n_features = net, features.shape[-1]
        outputs, values = net.compute(features, action)
        ctx.save_for_backward(values, *outputs)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        net = ctx.net
        values, *outputs = ctx.saved_tensors
        gradient = net.value_activation.backward(gradient.clone(), values)  # [n_critics, B]
        weight, bias = net.value.weight, net.value.bias
        column = gradient.unsqueeze(-1)  # [n_critics, B, 1]
        if weight.requires_grad:
            _add(weight, (outputs[-1] * column).sum(dim=1, dtype=weight.dtype).unsqueeze(-1))
        if bias.requires_grad:
            _add(bias, gradient.sum(dim=1, keepdim=True))
        dtype = outputs[-1].dtype
        hidden = net.stack.backward(outputs, column.to(dtype) * weight.mT.to(dtype))
        columns = slice(ctx.n_features), slice(ctx.n_features, None)
        wanted = zip(ctx.needs_input_grad[:2], columns, strict=True)
        inputs = [net.stack.input_gradient(hidden, part).sum(dim=0) if wants else None for wants, part in wanted]
        return *inputs, None, None


class Sample(NamedTuple):
    """Actions that a policy has drawn."""

    action: Tensor  # [B, n_actions] in [-1, 1]
    log_prob: Tensor  # [B]


class FusedActor(_Fused):
    """A squashed Gaussian; see `SquashedGaussianActor`.

    Args:
        source: The actor.
        dtype: Type of the products between hidden layers.
    """

    def __init__(self, source: SquashedGaussianActor, dtype: torch.dtype) -> None:
        super().__init__(source)
        self.stack = _Stack(_layers(source.trunk), dtype)
        self.heads = source.mean, source.log_std

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples actions [B, n_actions] and returns them with their log-probabilities [B]."""
        if self.is_watched():
            return self.source(features, noise)  # type: ignore[no-any-return]
        anchor = self.anchor(features)
        if anchor is None:
            _, mean, log_std = self.compute(features)
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
        anchor = None if self.is_watched() else self.anchor(features)
        if anchor is None:
            with torch.no_grad():
                next_sample = Sample(*self(next_features, noise[0]))
            return Sample(*self(features, noise[1])), next_sample
        both = _ActorNode.apply(rows, noise.flatten(0, 1), anchor, self, len(next_features))  # type: ignore[no-untyped-call]
        return Sample(*both[:2]), Sample(*both[2:])

    def compute(self, features: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Returns what each layer gives, the mean, and the logarithm of the standard deviation before it is clamped."""
        outputs = self.stack.forward(features)
        hidden = outputs[-1].float()
        bias = torch.cat([head.bias for head in self.heads])
        both = torch.addmm(bias, hidden, self.head_weights())
        mean, log_std = both.chunk(2, dim=-1)
        return outputs, mean, log_std

    def head_weights(self) -> Tensor:
        """Returns both heads' weights side by side, [hidden, 2 n_actions]."""
        return torch.cat([head.weight for head in self.heads], dim=-1)


class _ActorNode(torch.autograd.Function):
    """Samples at some rows without gradient, the first `n_free`, and at the others."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, noise: Tensor, anchor: Tensor, net: FusedActor, n_free: int
    ) -> tuple[Tensor, ...]:
        ctx.net, ctx.n_free = net, n_free
        outputs, mean, raw = net.compute(features)
        log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
        action, log_prob = squashed_sample(mean, log_std, noise)
        # How the sample moves with the logarithm of its standard deviation, and where that doesn't move.
        scale, is_clamped = log_std.exp() * noise, raw != log_std
        bound = slice(n_free, None)
        ctx.save_for_backward(*(tensor[bound] for tensor in (action, scale, is_clamped, *outputs)))
        free = action[:n_free], log_prob[:n_free]
        ctx.mark_non_differentiable(*free)
        return action[bound], log_prob[bound], *free

    @staticmethod
    def backward(ctx: Any, action_gradient: Tensor, log_prob_gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        net = ctx.net
        action, scale, is_clamped, *outputs = ctx.saved_tensors
        column = log_prob_gradient.unsqueeze(-1)
        # Of u, the sample before it is squashed: d tanh(u) = 1 - tanh(u)², d log π = 2 tanh(u).
        mean = torch.ops.aten.tanh_backward(action_gradient, action).addcmul_(column, action, value=2.0)
        log_std = (mean * scale - column).masked_fill_(is_clamped, 0.0)
        both = torch.cat([mean, log_std], dim=-1)
        products = torch.mm(outputs[-1].float().mT, both)
        for head, product, sum_ in zip(net.heads, products.chunk(2, dim=-1), both.sum(dim=0).chunk(2), strict=True):
            if head.weight.requires_grad:
                _add(head.weight, product)
            if head.bias.requires_grad:
                _add(head.bias, sum_)
        gradient = torch.mm(both, net.head_weights().mT).to(outputs[-1].dtype)
        gradient = net.stack.backward(outputs, gradient)
        if not ctx.needs_input_grad[0]:
            return None, None, None, None, None
        inputs = net.stack.input_gradient(gradient)
        return torch.cat([inputs.new_zeros(ctx.n_free, inputs.shape[-1]), inputs]), None, None, None, None


def fuse(module: ModuleT, dtype: torch.dtype = torch.float32) -> ModuleT | _Fused:
    """Returns what computes the same as a module, with those of its networks fused that are known.

    Args:
        module: An actor or critics.
        dtype: Type of the matrix products between hidden layers of what is fused: float32 or bfloat16.

    Returns:
        The module itself where nothing in it is known; else something that shares its parameters and buffers.
    """
    fused = _find_fused(module)
    if fused is not None:
        return fused(module, dtype)
    if type(module) not in _CONTAINERS:
        return module  # a user's own module may look into its parts, so they stay what they are
    parts = {name: child if child is None else fuse(child, dtype) for name, child in module._modules.items()}
    if all(parts[name] is child for name, child in module._modules.items()):
        return module
    alias = copy.copy(module)
    alias._modules = parts
    return alias


_CONTAINERS = (StateDependentNoiseActor, Encoded, EncodedActor)


def _find_fused(module: nn.Module) -> Callable[[Any, torch.dtype], _Fused] | None:
    """Returns what fuses a module, if it is known to the last part."""
    if any(parameter.dtype is not torch.float32 for parameter in module.parameters()):
        return None
    if type(module) is nn.Sequential:
        return FusedTrunk if len(module) > 0 and all(map(_is_known, module)) else None
    if type(module) is CriticEnsemble:
        return FusedCritic if _find_fused(module.trunk) and _is_known(module.value) else None
    if type(module) is SquashedGaussianActor:
        heads = module.mean, module.log_std
        linear = all(_is_known(head) and type(head.activation) is nn.Identity for head in heads)
        return FusedActor if linear and _find_fused(module.trunk) else None
    return None


def _is_known(layer: nn.Module) -> bool:
    return type(layer) in (Dense, EnsembleDense) and type(layer.activation) in ACTIVATIONS


def _layers(trunk: nn.Module) -> list[LayerT]:
    return list(trunk.children())  # type: ignore[arg-type]
