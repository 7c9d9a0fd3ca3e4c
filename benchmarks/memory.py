"""How much memory does a replay buffer take, against Stable-Baselines3 and SBX?

    make peers    # once
    python -m benchmarks.memory
    python -m benchmarks.memory --images

Two figures: what a buffer reserves for each transition, for several environments; and what a buffer really takes that
is full, as the growth of its process' resident memory from before it was made until after a million `add`s. Each
library has a process of its own. Ratios are ours / theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from benchmarks import harness
from benchmarks.libraries import IMAGES, Setting

FULL, FULL_OF_IMAGES = 1_000_000, 20_000  # transitions
ENVS = ("Pendulum-v1", "HalfCheetah-v5", "Humanoid-v5")


def main() -> None:
    """Prints the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env-ids", nargs="+", default=ENVS, metavar="ID", help=f"(default: {' '.join(ENVS)})")
    parser.add_argument("--full", default="HalfCheetah-v5", metavar="ID", help="what to fill (default: %(default)s)")
    parser.add_argument("--transitions", type=int, default=FULL, help="in the full buffer (default: %(default)s)")
    parser.add_argument("--images", action="store_true", help=f"also {FULL_OF_IMAGES:,} images of 84x84 bytes")
    harness.add_arguments(parser, rounds=1)
    options = parser.parse_args()
    print(harness.machine())
    libraries = harness.installed([harness.ours(), *harness.peers(options.peers)])
    env_ids = [*options.env_ids, *([IMAGES] if options.images else [])]

    reserved = {name: ask(libraries, "reserved", Setting(name, replay_size=FULL_OF_IMAGES), 1) for name in env_ids}
    print(
        f"\nbytes reserved for a transition\n{harness.comparison(reserved, '{:.1f}'.format, inverse=True)}", flush=True
    )

    resident = {}
    for name, n in [(options.full, options.transitions), *([(IMAGES, FULL_OF_IMAGES)] if options.images else [])]:
        resident[f"{name}, {n:,}"] = ask(libraries, "resident", Setting(name, replay_size=n), options.rounds)
    print(f"\nresident memory of a full buffer\n{harness.comparison(resident, megabytes, inverse=True)}")


def ask(libraries: list[harness.Library], what: str, setting: Setting, rounds: int) -> Mapping[str, list[float]]:
    """Returns each library's answers, each from a process that has done nothing else."""
    answers: dict[str, list[float]] = {library.label: [] for library in libraries}
    for _ in range(rounds):
        for library in libraries:
            with harness.workers([library], "memory", setting) as workers:
                answers[library.label].append(workers[library.label].ask(what))
    return answers


def megabytes(n: float) -> str:
    """Writes a number of bytes."""
    return f"{n / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
