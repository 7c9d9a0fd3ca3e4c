"""How long does one action take, for one observation on one thread: by each library's `predict`, and by our exports?

    make peers    # once
    python -m benchmarks.latency

The ways are timed in turn, round after round, so that a machine whose speed drifts drifts for all. What counts are the
ratios to our `predict`: those of each round, as median and range. All have numpy arrays in and out.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from benchmarks import harness
from benchmarks.libraries import Setting

EXPORTS = ("TorchScript", "ONNX Runtime", "torch.export")


def main() -> None:
    """Prints a table for each environment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--env-ids", nargs="+", default=["Pendulum-v1", "HalfCheetah-v5"], metavar="ID", help="with vectors"
    )
    parser.add_argument("--seconds", type=float, default=0.2, help="of one timing, about (default: %(default)s)")
    harness.add_arguments(parser, rounds=9)
    options = parser.parse_args()
    print(harness.machine())
    libraries = harness.installed([harness.ours(), *harness.peers(options.peers)])
    for env_id in options.env_ids:
        print(f"\n{env_id}\n{measure(libraries, Setting(env_id), options.rounds, options.seconds)}", flush=True)


def measure(libraries: Sequence[harness.Library], setting: Setting, rounds: int, seconds: float) -> str:
    """Times all ways for one environment and returns their table."""
    with harness.workers(libraries, "latency", setting) as workers:
        ways = {f"predict, {label}": timing(worker, "predict", seconds) for label, worker in workers.items()}
        ways |= {f"{name}, ours": timing(workers["ours"], name, seconds) for name in EXPORTS}
        times = harness.in_turn(ways, rounds)
    rows = [["", "time, median (range)", "of our predict's, median (range)"]]
    for name, values in times.items():
        rows.append(
            [
                name,
                harness.spread(values, harness.duration),
                harness.spread(harness.ratios(values, times["predict, ours"])),
            ]
        )
    return harness.table(rows)


def timing(timer: harness.Timer, measure: str, seconds: float) -> Callable[[], float]:
    """Warms a measure up, and returns what takes its time."""
    n = harness.calibrate(timer, measure, seconds)
    return lambda: timer.time(measure, n)


if __name__ == "__main__":
    main()
