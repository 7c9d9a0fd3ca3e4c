"""How long does one action take, for one observation on one thread, by `predict` and by each exported format?

    python -m benchmarks.latency

The ways are timed in turn, round after round, so that a machine whose speed drifts drifts for all. What counts are the
ratios to `predict`: those of each round, as median and range. All have numpy arrays in and out.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from slc_agents import SAC

Act = Callable[[np.ndarray], Any]


def by_torch_script(path: Path) -> Act:
    """Runs a `.pt` file."""
    policy: Any = torch.jit.load(str(path))
    return lambda observation: policy(torch.from_numpy(observation)).numpy()


def by_onnx_runtime(path: Path) -> Act:
    """Runs an `.onnx` file."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda observation: session.run(None, {"observation": observation})[0]


def by_torch_export(path: Path) -> Act:
    """Runs a `.pt2` file."""
    policy = torch.export.load(path).module()
    return lambda observation: policy(torch.from_numpy(observation)).numpy()


EXPORTS = {
    "TorchScript": ("policy.pt", by_torch_script),
    "ONNX Runtime": ("policy.onnx", by_onnx_runtime),
    "torch.export": ("policy.pt2", by_torch_export),
}


def seconds(act: Act, observation: np.ndarray, n: int) -> float:
    """Returns what one of `n` actions takes."""
    start = time.perf_counter()
    for _ in range(n):
        act(observation)
    return (time.perf_counter() - start) / n


def measure(env_id: str, rounds: int, n: int) -> None:
    """Times all ways for one environment and prints their table."""
    model = SAC("MlpPolicy", env_id, seed=0)
    ways: dict[str, Act] = {"predict": lambda observation: model.predict(observation, deterministic=True)}
    with tempfile.TemporaryDirectory() as folder:
        for name, (file, load) in EXPORTS.items():
            model.export(Path(folder, file))
            ways[name] = load(Path(folder, file))
    n_inputs, n_actions = model.observation_space.shape[0], model.action_space.shape[0]
    observation = np.random.default_rng(0).standard_normal((1, n_inputs)).astype(np.float32)
    for act in ways.values():
        seconds(act, observation, max(n // 5, 20))  # warm up; TorchScript optimises itself in its first calls
    times = np.array([[seconds(act, observation, n) for act in ways.values()] for _ in range(rounds)])
    ratios = times / times[:, :1]
    print(f"\n{env_id}: {n_inputs} numbers to {n_actions}, hidden layers {model.policy.hidden_sizes['actor']}")
    print(f"{'':14} {'µs, median (range)':>28}   of predict's, median (range)")
    for name, time_, ratio in zip(ways, 1e6 * times.T, ratios.T, strict=True):
        spread = f"{np.median(time_):.1f} ({time_.min():.1f} to {time_.max():.1f})"
        print(f"{name:14} {spread:>28}   {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})", flush=True)


def main() -> None:
    """Prints a table for each environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--env-ids", nargs="+", default=["Pendulum-v1", "HalfCheetah-v5"], metavar="ID", help="with vectors"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--actions", type=int, default=1000, help="actions a round (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
    with torch.inference_mode():
        for env_id in options.env_ids:
            measure(env_id, options.rounds, options.actions)


if __name__ == "__main__":
    main()
