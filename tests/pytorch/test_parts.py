"""Whether a policy is still made of the same parts; what that is for is tested with acting and learning."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from slc_agents.pytorch.parts import Parts


@pytest.mark.parametrize(
    "register",
    [
        lambda net: net[0].register_forward_hook(lambda *_: None),
        lambda net: net[0].register_forward_pre_hook(lambda *_: None),
        lambda net: net[1].register_full_backward_hook(lambda *_: None),
        lambda net: net[1].register_full_backward_pre_hook(lambda *_: None),
        lambda net: net[0].weight.register_hook(lambda _: None),
        lambda net: net[0].bias.register_post_accumulate_grad_hook(lambda _: None),
        lambda net: nn.modules.module.register_module_forward_hook(lambda *_: None),
    ],
)
def test_finds_hooks_of_every_kind(register: Any) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    parts = Parts(net, is_learned=True)
    assert not parts.are_watched
    handle = register(net)
    assert parts.are_watched
    handle.remove()
    assert not parts.are_watched
