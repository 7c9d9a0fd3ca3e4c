"""What one can have on a GPU without a library: SAC's gradient step in plain torch, replayed as a CUDA graph.

The replay buffer lies on the device, indices and noise are drawn there, Adam is torch's fused one, the critics are one
ensemble. With `compiled`, torch's compiler fuses the step's operations before they are recorded. It can do gradient
steps and nothing else.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.libraries import Library, Step

GAMMA, POLYAK, RATE = 0.99, 0.995, 3e-4


class GraphedTorch(Library):
    """SAC's gradient step, recorded once. On the CPU, where there are no such graphs, it runs as it is written."""

    only_updates = True

    def make_agent(self) -> None:  # noqa: D102
        torch.manual_seed(0)
        torch.set_num_threads(self.setting.threads)
        self.device = torch.device(self.setting.device)
        self.model = self
        self.replay_buffer = self.make_buffer()
        observation_space, action_space = self.spaces()
        n_inputs, self.n_actions = math.prod(observation_space.shape), math.prod(action_space.shape)
        sizes = [n_inputs, *self.setting.hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.actor = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * self.n_actions)).to(self.device)
        sizes[0] += self.n_actions
        self.critic = [tensor for pair in zip([*sizes], [*sizes[1:], 1], strict=True) for tensor in self._layer(*pair)]
        self.target = [tensor.detach().clone() for tensor in self.critic]
        self.log_alpha = torch.zeros((), device=self.device, requires_grad=True)
        groups: list[list[Tensor]] = [self.critic, [*self.actor.parameters()], [self.log_alpha]]
        on_gpu = self.device.type == "cuda"
        self.optimizers = [torch.optim.Adam(group, lr=RATE, fused=True, capturable=on_gpu) for group in groups]
        self._replay: Callable[[], object] | None = None

    def _layer(self, before: int, after: int) -> tuple[Tensor, Tensor]:
        bound, n = before**-0.5, self.setting.n_critics
        shapes = (n, before, after), (n, 1, after)
        weight, bias = (torch.empty(shape, device=self.device).uniform_(-bound, bound) for shape in shapes)
        return weight.requires_grad_(), bias.requires_grad_()

    def make_buffer(self) -> Any:  # noqa: D102
        observation_space, action_space = self.spaces()
        n_inputs, n_actions = math.prod(observation_space.shape), math.prod(action_space.shape)
        shapes = [(n_inputs,), (n_actions,), (), (n_inputs,), ()]
        return [torch.zeros(self.setting.replay_size, *shape, device=self.setting.device) for shape in shapes]

    def fill(self, buffer: Any) -> None:
        """Fills it with transitions of random numbers at once, since it can't be added to quickly one by one."""
        for tensor in buffer[:4]:
            tensor.normal_()

    def add(self, buffer: Any, step: Step) -> None:  # noqa: D102
        raise NotImplementedError("it is filled at once")

    def buffer_bytes(self, buffer: Any) -> int:  # noqa: D102
        return sum(tensor.nbytes for tensor in buffer)

    def update(self, n: int) -> None:  # noqa: D102
        if self._replay is None:
            self._replay = self._record()
        for _ in range(n):
            self._replay()

    def _record(self) -> Callable[[], object]:
        step: Callable[[], object] = self.step
        if self.extras.get("compiled"):
            step = torch.compile(step)
        if self.device.type != "cuda":
            return step
        stream: Any = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(5):
                step()
        torch.cuda.synchronize(self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        return graph.replay

    def step(self) -> None:
        """Does one gradient step on a minibatch drawn from the buffer."""
        index = torch.randint(self.setting.replay_size, (self.setting.batch_size,), device=self.device)
        observation, action, reward, next_observation, terminated = (column[index] for column in self.replay_buffer)
        alpha = self.log_alpha.detach().exp()
        with torch.no_grad():
            next_action, next_log_prob = self._sample(next_observation)
            next_q = self._values(self.target, next_observation, next_action).amin(dim=0)
            target = reward + GAMMA * (1.0 - terminated) * (next_q - alpha * next_log_prob)
        values = self._values(self.critic, observation, action)
        self._descend(0, 0.5 * (values - target).square().mean(dim=1).sum())
        new_action, log_prob = self._sample(observation)
        q = self._values([tensor.detach() for tensor in self.critic], observation, new_action).amin(dim=0)
        self._descend(1, (alpha * log_prob - q).mean())
        self._descend(2, -self.log_alpha.exp() * (log_prob.detach().mean() - self.n_actions))
        with torch.no_grad():
            torch._foreach_lerp_(self.target, [tensor.detach() for tensor in self.critic], 1.0 - POLYAK)

    def _descend(self, group: int, loss: Tensor) -> None:
        optimizer = self.optimizers[group]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def _sample(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(observation).chunk(2, dim=-1)
        log_std = log_std.clamp(-20.0, 2.0)
        noise = torch.randn_like(mean)
        action = torch.tanh(mean + log_std.exp() * noise)
        density = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi) - (1.0 - action.square() + 1e-6).log()
        return action, density.sum(dim=-1)

    def _values(self, tensors: Sequence[Tensor], observation: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([observation, action], dim=-1).expand(self.setting.n_critics, -1, -1)
        for i in range(0, len(tensors), 2):
            x = torch.baddbmm(tensors[i + 1], x, tensors[i])
            if i + 2 < len(tensors):
                x = x.relu()
        return x.squeeze(-1)  # [n_critics, B]

    def save(self, folder: Path) -> None:  # noqa: D102
        raise NotImplementedError("it has no files")

    def load(self, folder: Path) -> None:  # noqa: D102
        raise NotImplementedError("it has no files")
