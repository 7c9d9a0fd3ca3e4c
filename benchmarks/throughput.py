r"""How fast is training, against Stable-Baselines3 and SBX in the same minutes on the same machine?

    make peers       # once: installs both into an environment of their own
    python -m benchmarks.throughput
    python -m benchmarks.throughput --env-ids HalfCheetah-v5 Humanoid-v5 --threads 2 1 --batch-sizes 256 1024
    python -m benchmarks.throughput --sweep --json figures.json
    python -m benchmarks.throughput --tf2 --only gradient
    python -m benchmarks.throughput --device cuda    # against CUDA graphs in plain torch, instead of SBX

Each library runs in a process of its own, with the same nets, batch, environment and processors, and a replay buffer
that is full. They are timed in turn, round after round; what counts are the ratios within a round, as median and range.
Compilation and warm-up are not timed. Of settings with several values the first ones are the base, around which one
setting at a time is changed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.libraries import Setting
from benchmarks.workers import BLOCK, MANY

MEASURES = (
    "gradient step, 1 a call",
    f"gradient step, {BLOCK} a call",
    "learn(), per step",
    "predict 1, deterministic",
    "predict 1, sampled",
    f"predict {MANY}, deterministic",
    "buffer add, per transition",
    "buffer sample, a minibatch",
)
# Of each setting, the values of `--sweep`, by its name on the command line.
SWEEP: dict[str, tuple[str, list[Any]]] = {
    "env_id": ("--env-ids", ["HalfCheetah-v5", "Pendulum-v1", "Humanoid-v5"]),
    "threads": ("--threads", [2, 1]),
    "batch_size": ("--batch-sizes", [256, 1024, 4096]),
    "n_envs": ("--n-envs", [1, 4, 16]),
    "hidden": ("--hidden", [(256, 256), (64, 64), (1024, 1024)]),
    "n_critics": ("--n-critics", [2, 5, 10]),
    "replay_size": ("--replay-size", [100_000, 10_000, 1_000_000]),
}

Times = Mapping[str, Mapping[str, Sequence[float]]]  # of each measure, each label's seconds, round by round


def main() -> None:
    """Times all libraries in turn and prints the tables of ratios."""
    options = parse()
    axes = {name: chosen(options, name) for name in SWEEP}
    measures = [name for name in MEASURES if any(part in name for part in options.only)]
    if not measures:
        raise SystemExit(f"--only {' '.join(options.only)}: no such measure. They are: {'; '.join(MEASURES)}")
    machine = harness.machine()
    print(machine)
    peers = (harness.peers if options.device == "cpu" else harness.gpu_peers)(options.peers)
    on_tensorflow = [harness.ours_on_tensorflow()] if options.tf2 else []
    libraries = harness.installed([*map(harness.ours, options.precisions), *on_tensorflow, *peers])
    versions = {library.label: harness.probe(library) for library in libraries}
    print(f"{options.rounds} rounds; median times; ratios as median (range)")
    results: list[tuple[Setting, Times]] = []
    for values in harness.sweep(axes, options.all):
        setting = Setting(**values, device=options.device)
        print(f"\n{describe(setting)}", flush=True)
        found = {}
        with harness.workers(libraries, "throughput", setting) as workers:
            known = {label: worker.ask("measures") for label, worker in workers.items()}
            for name in measures:
                print(f"  {name} ...", file=sys.stderr, flush=True)  # it takes a while
                able = {label: worker for label, worker in workers.items() if name in known[label]}
                found[name] = harness.compare(able, name, options.rounds, options.seconds)
        print(harness.comparison(found), flush=True)
        results.append((setting, found))
        if options.json is not None:
            options.json.write_text(as_json(machine, versions, results))
    for name, values_of_axis in axes.items():
        if len(values_of_axis) > 1:
            print(f"\nby {name}: median time, and how many times that of the first\n{growth(results, name)}")


def parse() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, (flag, values) in SWEEP.items():
        kind, metavar = (str, "ID") if name == "env_id" else (int, "N")
        more: dict[str, Any] = {"action": "append"} if name == "hidden" else {}
        widths = "; widths of the hidden layers, once for each pair of nets" if name == "hidden" else ""
        text = f"default {values[0]}, with --sweep {values}{widths}".replace("%", "%%")
        parser.add_argument(flag, dest=name, nargs="+", type=kind, metavar=metavar, help=text, **more)
    parser.add_argument("--sweep", action="store_true", help="several values of every setting that is not given")
    parser.add_argument("--all", action="store_true", help="every value with every other, not one setting at a time")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="measures whose name has one of these")
    parser.add_argument("--seconds", type=float, default=0.5, help="of one timing, about (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write all times into this file")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="(default: %(default)s)")
    parser.add_argument("--precisions", nargs="+", default=["float32"], help="of ours: float32 (default), bfloat16")
    parser.add_argument("--tf2", action="store_true", help="measure the TensorFlow agents too (extra tf2)")
    harness.add_arguments(parser, rounds=7)
    return parser.parse_args()


def chosen(options: argparse.Namespace, name: str) -> list[Any]:
    """Returns the values of a setting."""
    given, standard = getattr(options, name), SWEEP[name][1]
    if given is None:
        return standard if options.sweep else standard[:1]
    return [tuple(widths) for widths in given] if name == "hidden" else given


def describe(setting: Setting) -> str:
    """Says in one line what is measured."""
    return (
        f"{setting.env_id}, {setting.device}, {setting.threads} thread(s), batch {setting.batch_size}, "
        f"{setting.n_envs} environment(s), hidden layers {'-'.join(map(str, setting.hidden))}, "
        f"{setting.n_critics} critics, {setting.replay_size:,} transitions"
    )


def growth(results: Sequence[tuple[Setting, Times]], axis: str) -> str:
    """Returns a table of how each library's times grow along one setting, the others being those of the first result.

    Args:
        results: What was found for each setting.
        axis: The setting's name in `Setting`.
    """
    base = results[0][0]
    line = [(setting, found) for setting, found in results if same_but(base, setting, axis)]
    rows = [["", *(str(getattr(setting, axis)) for setting, _ in line)]]
    for measure, of_labels in results[0][1].items():
        for label in of_labels:
            medians = [float(np.median(found[measure][label])) for _, found in line]
            cells = [f"{harness.duration(median)} ({median / medians[0]:.2f})" for median in medians]
            rows.append([f"{measure}, {label}", *cells])
    return harness.table(rows)


def same_but(base: Setting, setting: Setting, axis: str) -> bool:
    """Says whether two settings differ by one value at most, that of an axis."""
    return dataclasses.replace(setting, **{axis: getattr(base, axis)}) == base


def as_json(machine: str, versions: Mapping[str, Any], results: Sequence[tuple[Setting, Times]]) -> str:
    """Returns all times, with what they were taken on."""
    found = [{"setting": dataclasses.asdict(setting), "seconds": times} for setting, times in results]
    return json.dumps({"machine": machine, "versions": versions, "results": found}, indent=1)


if __name__ == "__main__":
    main()
