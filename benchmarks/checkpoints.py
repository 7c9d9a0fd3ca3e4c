"""What does a checkpoint of a full replay buffer cost, against Stable-Baselines3 in the same run?

    make peers    # once
    python -m benchmarks.checkpoints

Each library fills a buffer with transitions of HalfCheetah's dimensions (17 observations in float64, 6 actions), then
writes agent and buffer and reads them back: ours `save(replay_buffer=True)` and `load` with the buffer read,
Stable-Baselines3's `save` + `save_replay_buffer` and `load` + `load_replay_buffer`. Each in a process of its own, in
turn, round after round. Peak memory is what the process took at most beyond what it had before.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

N_OBSERVATIONS, N_ACTIONS, EPISODE = 17, 6, 1_000


def make_env() -> Any:
    """An environment of HalfCheetah's dimensions that is never stepped."""
    import gymnasium

    class Still(gymnasium.Env[Any, Any]):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (N_OBSERVATIONS,), np.float64)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (N_ACTIONS,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            return np.zeros(N_OBSERVATIONS), {}

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return np.zeros(N_OBSERVATIONS), 0.0, False, False, {}

    return Still()


def fill(add: Callable[..., None], n: int) -> None:
    """Adds transitions of random numbers, in episodes."""
    generator = np.random.default_rng(0)
    observation = generator.standard_normal(N_OBSERVATIONS)
    for step in range(n):
        following = generator.standard_normal(N_OBSERVATIONS)
        action = generator.uniform(-1, 1, N_ACTIONS).astype(np.float32)
        ended = step % EPISODE == EPISODE - 1
        add(observation, following, action, 1.0, ended)
        observation = generator.standard_normal(N_OBSERVATIONS) if ended else following


def slc_agents(n: int, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours."""
    from slc_agents import SAC

    model = SAC("MlpPolicy", make_env(), replay_size=n, num_test_episodes=0, seed=0)

    def add(observation: Any, following: Any, action: Any, reward: float, ended: bool) -> None:
        flags = np.array([False]), np.array([ended])
        model.replay_buffer.add(observation[None], action[None], np.array([reward]), following[None], *flags)

    fill(add, n)
    return (
        lambda: model.save(folder / "agent.zip", replay_buffer=True),
        lambda: len(SAC.load(folder / "agent.zip").replay_buffer),
    )


def stable_baselines3(n: int, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Stable-Baselines3."""
    from stable_baselines3 import SAC

    model = SAC("MlpPolicy", make_env(), buffer_size=n, seed=0)

    def add(observation: Any, following: Any, action: Any, reward: float, ended: bool) -> None:
        infos = [{"TimeLimit.truncated": ended}]
        model.replay_buffer.add(
            observation[None], following[None], action[None], np.array([reward]), np.array([ended]), infos
        )

    fill(add, n)

    def save() -> None:
        model.save(folder / "agent.zip")
        model.save_replay_buffer(folder / "buffer.pkl")

    def load() -> None:
        SAC.load(folder / "agent.zip").load_replay_buffer(folder / "buffer.pkl")

    return save, load


LIBRARIES = {"slc_agents": slc_agents, "stable_baselines3": stable_baselines3}


class Peak:
    """The most memory that the process takes while it is entered, beyond what it has at the beginning, in bytes."""

    def __enter__(self) -> Peak:
        self.before = self.most = self._now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.bytes = self.most - self.before

    def _watch(self) -> None:
        while not self._over.wait(0.002):
            self.most = max(self.most, self._now())

    def _now(self) -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work(library: str, n: int) -> None:
    """Measures one library, and prints what it found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save, load = LIBRARIES[library](n, folder)
        found: dict[str, float] = {}
        for what, action in (("save", save), ("load", load)):
            with Peak() as peak:
                began = time.perf_counter()
                action()
                found[f"{what} [s]"] = time.perf_counter() - began
            found[f"{what}, peak memory [MB]"] = peak.bytes / 1e6
        found["size [MB]"] = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        print(json.dumps(found))


def main() -> None:
    """Runs both libraries in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"), help="interpreter of the peers")
    parser.add_argument("--work", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.transitions)
        return
    rounds: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    for _ in range(options.rounds):
        for library, python in (("slc_agents", Path(sys.executable)), ("stable_baselines3", options.peers)):
            command = [str(python), __file__, "--work", library, "--transitions", str(options.transitions)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            rounds[library].append(json.loads(output.splitlines()[-1]))
    print(f"{options.transitions:,} transitions, {options.rounds} rounds; ours / Stable-Baselines3, median (range)")
    for what in rounds["slc_agents"][0]:
        ours, theirs = (np.array([found[what] for found in rounds[library]]) for library in LIBRARIES)
        ratios = ours / theirs
        print(
            f"{what:24} {np.median(ours):10.2f} {np.median(theirs):10.2f}   "
            f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
        )


if __name__ == "__main__":
    main()
