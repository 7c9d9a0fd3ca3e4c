"""What a policy is made of, to see later whether it still is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from operator import attrgetter
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

__all__ = ["Parts"]

_LEARNING = attrgetter("requires_grad", "_backward_hooks", "_post_accumulate_grad_hooks")


class Parts:
    """A policy's parts as they are when this is made.

    Args:
        policy: The policy.
        tops: Those of its parts that count, with all that they hold; None: all. What is no module is left out.
        is_learned: Whether it also counts which parameters want gradients, and what is to be called with these.

    Attributes:
        modules: The parts that count.
        tensors: The parameters and buffers of these.
    """

    def __init__(self, policy: nn.Module, tops: Iterable[object] | None = None, *, is_learned: bool = False) -> None:
        held_by = policy.children() if tops is None else tops
        self.modules = [module for top in held_by if isinstance(top, nn.Module) for module in top.modules()]
        self.tensors = [tensor for module in self.modules for tensor in _own_tensors(module)]
        self._parameters = [*policy.parameters()] if is_learned else []
        everything = [policy, *self.modules]
        self.hooks: list[dict[int, Any]] = [
            *(torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks),
            *(hooks for module in self.modules for hooks in (module._forward_hooks, module._forward_pre_hooks)),
        ]
        if is_learned:
            self.hooks += [torch_modules._global_backward_hooks, torch_modules._global_backward_pre_hooks]
            self.hooks += [hooks for m in everything for hooks in (m._backward_hooks, m._backward_pre_hooks)]
        # A hook, or a method replaced on an instance, lengthens a dict.
        self._dicts: list[dict[Any, Any]] = [*map(vars, everything), *self.hooks]
        named = [held for module in everything for held in (module._modules, module._parameters, module._buffers)]
        self._values = [held.values() for held in named if held]  # views, which show what is held now
        # Kept alive, so that nothing new can have the identity of what is held here, or its address.
        self._kept = [*chain.from_iterable(self._values), *(tensor.detach() for tensor in self.tensors)]
        self._marks = self._marks_now()

    @property
    def are_watched(self) -> bool:
        """Whether a user has registered hooks."""
        return any(self.hooks) or any(
            parameter._backward_hooks or parameter._post_accumulate_grad_hooks for parameter in self._parameters
        )

    def are_current(self) -> bool:
        """Whether the policy has the same parts in the same memory, whatever their values, and the same hooks."""
        return self._marks == self._marks_now()

    def _marks_now(self) -> list[Any]:
        held = chain.from_iterable(self._values)
        learning = [
            (wants, hooks and len(hooks), after and len(after))
            for wants, hooks, after in map(_LEARNING, self._parameters)
        ]
        return [*map(len, self._dicts), *map(id, held), *map(Tensor.data_ptr, self.tensors), *learning]


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters(recurse=False)
    yield from module.buffers(recurse=False)
