"""Devices by name: one that is not there is an error, never a silent CPU."""

from __future__ import annotations

import pytest
import torch

from slc_agents import SAC
from slc_agents.pytorch.device import resolve_device


def test_cpu() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "CPU", "tpu", "cuda:", "cuda:x", "gpu:-1", "cuda:0 ", "gpu0", "xpu", "cuda:0:1"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ValueError, match=r"cpu, gpu, gpu:N, cuda, cuda:N, mps and auto") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["cuda", "gpu", "cuda:0", "gpu:0", "gpu:7"])
def test_no_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)  # a driver may be there and not work
    with pytest.raises(ValueError, match="0 CUDA") as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value)


def test_no_such_gpu_among_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("gpu") == resolve_device("cuda") == torch.device("cuda", 0)
    assert resolve_device("gpu:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match=r"gpu:2.*sees 2 CUDA"):
        resolve_device("gpu:2")


def test_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='mps'"):
        resolve_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("mps") == torch.device("mps")


@pytest.mark.parametrize(("cuda", "mps", "best"), [(True, True, "cuda:0"), (False, True, "mps"), (False, False, "cpu")])
def test_auto_takes_the_best(cuda: bool, mps: bool, best: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == torch.device(best)


def test_an_agent_says_so_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="device='gpu:3'"):
        SAC("MlpPolicy", "Pendulum-v1", device="gpu:3")
    assert str(SAC("MlpPolicy", "Pendulum-v1", device="auto", policy_kwargs={"hidden_sizes": [8]}).device) == "cpu"
