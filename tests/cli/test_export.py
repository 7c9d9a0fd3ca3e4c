"""`slc-agents export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slc_agents import SAC

Command = Callable[..., Any]
OBSERVATION = np.array([[0.1, -0.9, 2.0], [1.0, 0.0, -8.0]], np.float32)
PORTS = """\
  input  observation: float32 [batch, 3], [-1.0, -1.0, -8.0] to [1.0, 1.0, 8.0]
  output action: float32 [batch, 1], -2.0 to 2.0
"""


@pytest.fixture
def archive(command: Command) -> Path:
    """The archive of an untrained agent."""
    SAC("MlpPolicy", "Pendulum-v1", seed=1, policy_kwargs={"hidden_sizes": [8]}).save("model_1.5.zip")
    return Path("model_1.5.zip")


def said(path: Path, format: str) -> str:
    return f"{path}: {format}, {path.stat().st_size / 1e3:.1f} kB\n{PORTS}"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_run_folder(command: Command, small_run: Path) -> None:
    code, out, err = command("export", small_run)
    assert (code, out, err) == (0, said(small_run / "policy.pt", "torchscript"), "")
    expected, _ = SAC.load(small_run / "agent.zip").predict(OBSERVATION, deterministic=True)
    action = torch.jit.load(small_run / "policy.pt")(torch.from_numpy(OBSERVATION))
    np.testing.assert_allclose(action.numpy(), expected, atol=4e-5)
    assert json.loads((small_run / "policy.pt.json").read_text())["env_id"] == "Pendulum-v1"


def test_an_archive_stands_by_its_name(command: Command, archive: Path) -> None:
    assert command("export", archive, "--format", "torch_export").out == said(Path("model_1.5.pt2"), "torch_export")
    assert sorted(path.name for path in Path().iterdir()) == ["model_1.5.pt2", "model_1.5.pt2.json", archive.name]


@pytest.mark.parametrize("agent", [["sac", "slc/Oscillator-v1"], ["zoo:sac/slc/Oscillator-v1"]])
def test_an_agent_of_the_zoo_gives_a_file_of_its_name_here(command: Command, agent: list[str]) -> None:
    assert command("export", *agent, "--format", "torch_export").code == 0
    assert {path.name for path in Path().iterdir()} == {
        "sac__slc__Oscillator-v1.pt2",
        "sac__slc__Oscillator-v1.pt2.json",
    }


def test_out_and_device(command: Command, archive: Path) -> None:
    out = Path("new/p.pt2")
    assert command("export", archive, "--out", out, "--device", "cpu").out == said(out, "torch_export")
    assert command("export", archive, "--out", "p", "--format", "torchscript").out == said(Path("p.pt"), "torchscript")


def test_mistakes(command: Command, archive: Path) -> None:
    for arguments, words in (
        (["--format", "tensorrt"], ["tensorrt", "torchscript (.pt), onnx (.onnx), torch_export (.pt2)"]),
        (["--out", "p.onnx", "--format", "torchscript"], ["p.onnx", "onnx (.onnx)"]),
        (["--out", "p.xyz"], ["p.xyz", "torch_export (.pt2)"]),
        (["--device", "gpu:77"], ["gpu:77"]),
    ):
        code, out, err = command("export", archive, *arguments)
        assert (code, out) == (1, "")
        assert err.startswith("error: ")
        for word in words:
            assert word in err
    code, _, err = command("export", "gone.zip")
    assert (code, "gone.zip" in err) == (1, True)
    assert [path.name for path in Path().iterdir()] == [archive.name]


def test_code_needs_trust(command: Command) -> None:
    SAC("MlpPolicy", "Pendulum-v1", seed=1, lr_a=lambda p: 1e-3, policy_kwargs={"hidden_sizes": [8]}).save("a.zip")
    code, out, err = command("export", "a.zip")
    assert (code, out) == (1, "")
    assert "--trust" in err
    assert command("export", "a.zip", "--trust").code == 0
