"""One library under measurement, in a process of its own: told on standard input what to do, it answers with figures.

Run by `benchmarks.harness` with the interpreter of the environment in which the library is installed. It imports that
library only. A request is a line of JSON, `{"time": MEASURE, "n": N}` or `{"ask": WHAT}`; so is an answer.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import resource
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

import numpy as np

from benchmarks.libraries import LIBRARIES, Library, Setting, random_observations

BLOCK = 50  # gradient steps a call, in the measure of blocks
MANY = 16  # observations, in the measure of batches


@dataclass(frozen=True)
class Program:
    """What a worker can be asked.

    Attributes:
        timed: Each does something at least so many times, and returns how many times it was.
        asked: Each returns a figure, or several, fit for JSON.
    """

    timed: Mapping[str, Callable[[int], int]] = field(default_factory=dict)
    asked: Mapping[str, Callable[[], Any]] = field(default_factory=dict)


def repeat(
    call: Callable[[], object], each: int = 1, wait: Callable[[], object] = lambda: None
) -> Callable[[int], int]:
    """Returns what makes a call until `n` are done, of which a call does `each`, and waits until they are computed."""

    def measure(n: int) -> int:
        calls = -(-n // each)
        for _ in range(calls):
            call()
        wait()
        return calls * each

    return measure


# -- programs ----------------------------------------------------------------------------------------------------------


def throughput(library: Library) -> Program:
    """All that training consists of, with a replay buffer that is full."""
    setting = library.setting
    library.make_agent()
    buffer = library.model.replay_buffer
    library.fill(buffer)
    updates = {
        "gradient step, 1 a call": repeat(lambda: library.update(1), wait=library.wait),
        f"gradient step, {BLOCK} a call": repeat(lambda: library.update(BLOCK), BLOCK, library.wait),
    }
    if library.only_updates:
        return Program(updates, {"measures": lambda: [*updates]})
    library.learn(1)  # makes what a library only makes when training starts
    generator = np.random.default_rng(0)
    observation_space, _ = library.spaces()
    one, many = (random_observations(observation_space, shape, generator) for shape in ((), (MANY,)))
    steps = itertools.cycle(list(library.episode(seed=0)))
    timed = updates | {
        "learn(), per step": library.learn,
        "predict 1, deterministic": repeat(lambda: library.predict(one, True)),
        "predict 1, sampled": repeat(lambda: library.predict(one, False)),
        f"predict {MANY}, deterministic": repeat(lambda: library.predict(many, True)),
        "buffer add, per transition": repeat(lambda: library.add(buffer, next(steps)), setting.n_envs),
        "buffer sample, a minibatch": repeat(library.sample),
    }
    return Program(timed, {"measures": lambda: [*timed]})


def memory(library: Library) -> Program:
    """What a replay buffer takes."""

    def reserved() -> float:
        return library.buffer_bytes(library.make_buffer()) / library.setting.replay_size

    def resident() -> int:
        # What making, filling and importing need is there before.
        small = type(library)(dataclasses.replace(library.setting, replay_size=library.setting.n_envs), library.extras)
        small.fill(small.make_buffer())
        before = resident_bytes()
        buffer = library.make_buffer()
        library.fill(buffer)
        return resident_bytes() - before

    return Program(asked={"reserved": reserved, "resident": resident})


def latency(library: Library) -> Program:
    """One action: by `predict`, and of ours by what it is exported to."""
    library.make_agent()
    observation_space, _ = library.spaces()
    observation = random_observations(observation_space, (1,), np.random.default_rng(0)).astype(np.float32)
    timed = {"predict": repeat(lambda: library.predict(observation, True))}
    if library.model.__module__.startswith("slc_agents."):
        timed |= exports(library.model, observation)
    return Program(timed)


def exports(model: Any, observation: Any) -> dict[str, Callable[[int], int]]:
    """Returns what runs each exported file, with numpy arrays in and out."""
    import onnxruntime
    import torch

    warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as name:
        files = {suffix: Path(name, f"policy.{suffix}") for suffix in ("pt", "onnx", "pt2")}
        for file in files.values():
            model.export(file)
        script: Any = torch.jit.load(str(files["pt"]))
        session = onnxruntime.InferenceSession(files["onnx"], options, providers=["CPUExecutionProvider"])
        exported = torch.export.load(files["pt2"]).module()
    inference = torch.inference_mode()
    return {
        "TorchScript": inference(repeat(lambda: script(torch.from_numpy(observation)).numpy())),
        "ONNX Runtime": repeat(lambda: session.run(None, {"observation": observation})[0]),
        "torch.export": inference(repeat(lambda: exported(torch.from_numpy(observation)).numpy())),
    }


def checkpoints(library: Library) -> Program:
    """Writing and reading an agent whose replay buffer is full."""
    library.make_agent()
    library.fill(library.model.replay_buffer)
    folder = tempfile.TemporaryDirectory()  # deleted with the program

    def measured(action: Callable[[Path], None]) -> dict[str, float]:
        with Peak() as peak:
            began = time.perf_counter()
            action(Path(folder.name))
            seconds = time.perf_counter() - began
        return {"seconds": seconds, "peak": peak.bytes}

    return Program(
        asked={
            "save": lambda: measured(library.save),
            "load": lambda: measured(library.load),
            "size": lambda: sum(path.stat().st_size for path in Path(folder.name).iterdir()),
        }
    )


PROGRAMS: dict[str, Callable[[Library], Program]] = {
    "throughput": throughput,
    "memory": memory,
    "latency": latency,
    "checkpoints": checkpoints,
}


# -- memory ------------------------------------------------------------------------------------------------------------


def resident_bytes() -> int:
    """Returns what the process has in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Peak:
    """The most memory that the process takes while it is entered, beyond what it has at the beginning, in bytes."""

    def __enter__(self) -> Self:
        self.before = self.most = resident_bytes()
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
            self.most = max(self.most, resident_bytes())


# -- the process -------------------------------------------------------------------------------------------------------


def serve(
    program: Program, requests: Iterable[str], answers: TextIO, clock: Callable[[], float] = time.perf_counter
) -> None:
    """Answers requests, the first of all with "ready"."""
    answer = functools.partial(print, file=answers, flush=True)
    answer(json.dumps("ready"))
    for line in requests:
        request = json.loads(line)
        if "ask" in request:
            answer(json.dumps(program.asked[request["ask"]]()))
            continue
        measure, n = program.timed[request["time"]], request["n"]
        if n >= 10:
            measure(n // 10)  # untimed: another process had the caches, and its threads may still be spinning
        began = clock()
        done = measure(n)
        answer(json.dumps((clock() - began) / done))


def main() -> None:
    """Makes the library ready by the arguments, then serves."""
    name, program, told = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever the library prints must not look like an answer
    arguments = json.loads(told)
    setting = Setting(**arguments["setting"])
    # Before the library is imported, which counts the processors: JAX has no other setting for its threads.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: setting.threads])
    serve(PROGRAMS[program](LIBRARIES[name](setting, arguments["extras"])), sys.stdin, answers)


if __name__ == "__main__":
    main()
