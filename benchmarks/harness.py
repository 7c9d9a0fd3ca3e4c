"""What all comparisons share: each library in a process of its own, timed in turn, and the table of what was found.

A machine's speed drifts, and one library's process leaves caches and clocks to the next. So libraries are timed one
after the other, round after round, and every other round in reverse order; what counts are the ratios within a round,
as median and range. Each process is kept on as many processors as the setting says, the same ones for all.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from benchmarks.libraries import Setting

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = (
    *("slc-agents", "stable-baselines3", "sbx-rl", "torch", "tensorflow", "tensorflow-cpu", "jax"),
    *("numpy", "gymnasium", "mujoco"),
)
PROBE = """
import importlib.metadata, importlib.util, json, sys
module, *names = sys.argv[1:]
versions = {}
for name in names:
    try:
        versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({"found": importlib.util.find_spec(module) is not None, "versions": versions}))
"""


# -- libraries ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Library:
    """A library under measurement. The same one may stand in a table twice, with different settings.

    Attributes:
        label: Its name in the tables.
        name: The module that is imported; `benchmarks.libraries` says how it is used.
        python: Interpreter of the environment in which it is installed.
        extras: More keyword arguments of its agent.
    """

    label: str
    name: str
    python: Path
    extras: Mapping[str, Any] = field(default_factory=dict)


def ours(precision: str = "float32") -> Library:
    """Returns this library, under a label that names its precision where it isn't the usual one."""
    if precision == "float32":
        return Library("ours", "slc_agents", Path(sys.executable))
    extras = {"compute_kwargs": {"precision": precision}}
    return Library(f"ours {precision}", "slc_agents", Path(sys.executable), extras)


def ours_on_tensorflow() -> Library:
    """Returns this library, where TensorFlow computes."""
    return Library("ours tf2", "tensorflow", Path(sys.executable))


def peers(python: Path) -> list[Library]:
    """Returns the libraries that ours is measured against, as `make peers` installs them."""
    return [Library("SB3", "stable_baselines3", python), Library("SBX", "sbx", python)]


def gpu_peers(python: Path) -> list[Library]:
    """Returns what ours is measured against on a GPU; see `benchmarks.graphed_torch` for the last two."""
    here = Path(sys.executable)
    return [
        Library("SB3", "stable_baselines3", python),
        Library("torch graphs", "torch", here),
        Library("torch compiled graphs", "torch", here, {"compiled": True}),
    ]


def installed(libraries: Iterable[Library]) -> list[Library]:
    """Returns those libraries that are there; says of them what versions they are, and of the others what is missing.

    Raises:
        SystemExit: If none is there.
    """
    found = []
    for library in libraries:
        versions = probe(library)
        if versions is None:
            print(f"{library.label} is left out: {library.python} has no {library.name}. `make peers` installs it")
        else:
            print(f"{library.label}: {', '.join(f'{name} {version}' for name, version in versions.items())}")
            found.append(library)
    if not found:
        raise SystemExit("there is no library to measure; `make dev` and `make peers` install them")
    return found


def probe(library: Library) -> dict[str, str] | None:
    """Returns the versions of a library and of what it stands on, None where it isn't installed."""
    command = [str(library.python.absolute()), "-c", PROBE, library.name, *DISTRIBUTIONS]
    try:
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    answer = json.loads(output)
    return answer["versions"] if answer["found"] else None


# -- workers -----------------------------------------------------------------------------------------------------------


class Timer(Protocol):
    """What can be told to do something a number of times."""

    def time(self, measure: str, n: int) -> float:
        """Returns the seconds that one of `n` took."""


class Worker:
    """A process that is told on standard input what to do, a line of JSON each, and answers with one.

    Args:
        label: What to call it in messages.
        command: What to run.
        environment: More environment variables.

    Raises:
        RuntimeError: From `ready`, `time` and `ask`, if the process failed; with the end of what it wrote to stderr.
    """

    def __init__(self, label: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self.label = label
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the worker is left
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # of a request that it didn't live to read
                    pipe.close()
        self.process.wait()
        self.errors.close()

    def ready(self) -> None:
        """Waits until it can be asked."""
        self._read()

    def time(self, measure: str, n: int) -> float:
        """Returns the seconds that one of `n` took."""
        return float(self._request({"time": measure, "n": n}))

    def ask(self, what: str) -> Any:
        """Returns an answer that isn't a time."""
        return self._request({"ask": what})

    def _request(self, request: Mapping[str, Any]) -> Any:
        if self.process.stdin is None:
            raise RuntimeError("the worker has no pipes")
        with suppress(BrokenPipeError):  # what it said before it ended stands in the error
            print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        answer = self.process.stdout.readline() if self.process.stdout is not None else ""
        if not answer:
            self.process.wait()
            self.errors.seek(0)
            last = self.errors.read().decode(errors="replace").strip()[-2000:]
            raise RuntimeError(f"{self.label} failed:\n{last}")
        return json.loads(answer)


@contextmanager
def workers(libraries: Sequence[Library], program: str, setting: Setting) -> Iterator[dict[str, Worker]]:
    """Starts each library in a process of its own, by label; all are ready when it is entered.

    Args:
        libraries: Which.
        program: Name in `benchmarks.workers.PROGRAMS` of what they can be asked then.
        setting: By what settings.
    """
    processors = len(os.sched_getaffinity(0))
    if setting.threads > processors:
        raise SystemExit(f"{setting.threads} threads: this process may use {processors} processors; ask for fewer")
    threads = str(setting.threads)
    environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "JAX_PLATFORMS": "cpu"}
    with ExitStack() as stack:
        started = {}
        for library in libraries:
            told = json.dumps({"setting": dataclasses.asdict(setting), "extras": dict(library.extras)})
            command = [str(library.python.absolute()), "-m", "benchmarks.workers", library.name, program, told]
            started[library.label] = stack.enter_context(Worker(library.label, command, environment))
        for worker in started.values():
            worker.ready()
        yield started


# -- timing ------------------------------------------------------------------------------------------------------------


def calibrate(timer: Timer, measure: str, seconds: float) -> int:
    """Warms a measure up, compilers included, and returns how many of it take about so many seconds."""
    for _ in range(2):  # compilers may look at the first calls before they settle
        timer.time(measure, 1)
    n = 1
    while (took := timer.time(measure, n) * n) < seconds / 5:
        n *= 4
    return max(1, round(n * seconds / took))


def in_turn(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Takes each way's time once a round, every other round in reverse order.

    Returns:
        Each way's times, in the order of the rounds.
    """
    times: dict[str, list[float]] = {label: [] for label in ways}
    for index in range(rounds):
        for label in list(ways)[:: 1 if index % 2 == 0 else -1]:
            times[label].append(ways[label]())
    return times


def compare(timers: Mapping[str, Timer], measure: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Times one measure of several libraries in turn, warmed up; returns each one's seconds, round by round."""
    amounts = {label: calibrate(timer, measure, seconds) for label, timer in timers.items()}

    def way(label: str) -> Callable[[], float]:
        return lambda: timers[label].time(measure, amounts[label])

    return in_turn({label: way(label) for label in timers}, rounds)


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Returns the ratio within each round."""
    return [numerator / denominator for numerator, denominator in zip(numerators, denominators, strict=True)]


# -- tables ------------------------------------------------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Writes a time in the unit that fits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds / 1e-6:.1f} µs"


def spread(values: Sequence[float], write: Callable[[float], str] = "{:.2f}".format) -> str:
    """Writes median and range, where there is one."""
    median, low, high = write(float(np.median(values))), write(min(values)), write(max(values))
    return median if low == high else f"{median} ({low} to {high})"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Aligns rows of cells, of which the first is the header: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(f"{cell:{'<' if i == 0 else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip() for row in rows
    )


def comparison(
    found: Mapping[str, Mapping[str, Sequence[float]]], write: Callable[[float], str] = duration, inverse: bool = False
) -> str:
    """Returns a table of what was found of each library, and of the ratios between ours and the others.

    Args:
        found: Of each row, each label's values, round by round; the first row has all labels.
        write: Writes a value.
        inverse: Whether the ratios are ours / theirs, not theirs / ours.
    """
    labels = list(next(iter(found.values())))
    ours_too = [label for label in labels if label.split()[0] == "ours"]
    # Each of ours against the others, and against those of ours before it.
    pairs = [(label, mine) for i, mine in enumerate(ours_too) for label in labels if label not in ours_too[i:]]
    if inverse:
        pairs = [(mine, label) for label, mine in pairs]
    rows = [["", *labels, *(f"{top} / {bottom}" for top, bottom in pairs)]]
    for name, values in found.items():
        medians = [write(float(np.median(values[label]))) if label in values else "" for label in labels]
        compared = [
            spread(ratios(values[top], values[bottom])) if top in values and bottom in values else ""
            for top, bottom in pairs
        ]
        rows.append([name, *medians, *compared])
    return table(rows)


# -- sweeps and the machine --------------------------------------------------------------------------------------------


def sweep(axes: Mapping[str, Sequence[Any]], whole: bool = False) -> list[dict[str, Any]]:
    """Returns the settings to measure.

    Args:
        axes: The values of each setting; the first ones are the base.
        whole: Whether to take the whole matrix, not one axis at a time around the base.
    """
    if whole:
        return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    base = {name: values[0] for name, values in axes.items()}
    return [base, *({**base, name: value} for name, values in axes.items() for value in values[1:])]


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Says what processor this is, so that one generation can be told from the next, and what else it is doing."""
    lines = cpuinfo.read_text().split("\n\n")[0].splitlines()
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    features = [
        name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in about.get("flags", "").split()
    ]
    family = ", ".join(f"{key} {about[key]}" for key in ("cpu family", "model", "stepping") if key in about)
    return (
        f"{about.get('model name', 'unknown processor')} ({family}; {' '.join(features)}), "
        f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    )


def add_arguments(parser: argparse.ArgumentParser, rounds: int) -> None:
    """Adds what every comparison can be told."""
    parser.add_argument("--rounds", type=int, default=rounds, help="(default: %(default)s)")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python", help="interpreter of the peers")
