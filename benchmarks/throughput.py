"""How fast is training, against Stable-Baselines3 in the same minutes on the same machine?

    make peers       # once: installs Stable-Baselines3 into an environment of its own
    python -m benchmarks.throughput

Each library runs in a process of its own; they are timed in turn, one after the other, round after round, so that a
machine whose speed drifts drifts for both. What counts are the ratios: those of each round, as median and range.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Self

import numpy as np

AMOUNTS = {"learn": 500, "gradient step": 300, "predict": 2000}


class Worker:
    """A library in a process of its own."""

    def __init__(self, library: str, python: Path, setting: dict[str, object]) -> None:
        self.name = library
        self.python = python
        self.process = subprocess.Popen(
            [str(python), str(Path(__file__).with_name("workers.py")), library, json.dumps(setting)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("no pipes")
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def __enter__(self) -> Self:
        if self._read() != "ready":
            raise SystemExit(f"{self.name} did not start; is it installed for {self.python}?")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def time(self, measure: str, n: int) -> float:
        """Returns the seconds that one of `n` took."""
        print(json.dumps([measure, n]), file=self.requests, flush=True)
        return float(self._read())

    def _read(self) -> str:
        return self.answers.readline().strip()


def main() -> None:
    """Times both libraries in turn and prints the table of ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env-id", default="HalfCheetah-v5")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2, help="torch's threads in each library (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"), help="interpreter of the peers")
    options = parser.parse_args()
    setting = {"env_id": options.env_id, "batch_size": options.batch_size, "threads": options.threads}
    with (
        Worker("slc_agents", Path(sys.executable), setting) as ours,
        Worker("stable_baselines3", options.peers, setting) as peer,
    ):
        print(f"{options.env_id}, batch {options.batch_size}, {options.threads} thread(s), {options.rounds} rounds")
        print(f"{'':14} {'ours':>10} {'SB3':>10}   SB3's time / ours: median (range)")
        for measure, n in AMOUNTS.items():
            for worker in (ours, peer):
                worker.time(measure, n // 5)  # warm up
            times = np.array([[worker.time(measure, n) for worker in (ours, peer)] for _ in range(options.rounds)])
            ratios = times[:, 1] / times[:, 0]
            mine, theirs = np.median(times, axis=0) * 1e3
            print(
                f"{measure:14} {mine:7.3f} ms {theirs:7.3f} ms   "
                f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
