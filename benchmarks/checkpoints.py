"""What does a checkpoint of a full replay buffer cost, against Stable-Baselines3 and SBX in the same run?

    make peers    # once
    python -m benchmarks.checkpoints

Each library fills a buffer with transitions of HalfCheetah's dimensions (17 observations in float64, 6 actions), then
writes agent and buffer and reads them back: ours `save(replay_buffer=True)` and `load` with the buffer read, the
others' `save` + `save_replay_buffer` and `load` + `load_replay_buffer`. Each in a process of its own, in turn, round
after round. Peak memory is what the process took at most beyond what it had before. Ratios are ours / theirs.
"""

from __future__ import annotations

import argparse

from benchmarks import harness
from benchmarks.libraries import Setting


def main() -> None:
    """Runs the libraries in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="(default: %(default)s)")
    harness.add_arguments(parser, rounds=3)
    options = parser.parse_args()
    print(harness.machine())
    libraries = harness.installed([harness.ours(), *harness.peers(options.peers)])
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(options.rounds):
        for library in libraries:
            for what, value in costs(library, options.transitions).items():
                found.setdefault(what, {}).setdefault(library.label, []).append(value)
    print(f"{options.transitions:,} transitions, {options.rounds} rounds; medians; ratios as median (range)")
    print(harness.comparison(found, "{:.2f}".format, inverse=True))


def costs(library: harness.Library, n: int) -> dict[str, float]:
    """Returns what one library's checkpoint of `n` transitions costs, in a process of its own."""
    figures: dict[str, float] = {}
    with harness.workers([library], "checkpoints", Setting(replay_size=n)) as workers:
        worker = workers[library.label]
        for what in ("save", "load"):
            answer = worker.ask(what)
            figures[f"{what} [s]"] = answer["seconds"]
            figures[f"{what}, peak memory [MB]"] = answer["peak"] / 1e6
        figures["size [MB]"] = worker.ask("size") / 1e6
    return figures


if __name__ == "__main__":
    main()
