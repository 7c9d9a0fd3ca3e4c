"""Random streams: owned, named, never global.

One seed gives each consumer of randomness a stream of its own, so that drawing more from one (say, a user calling
`predict`) never shifts another (training), and every stream can be saved and restored by its name.
"""

from __future__ import annotations

import zlib
from typing import Any, Literal, TypeAlias

import numpy as np

__all__ = ["Stream", "draw_seed", "generator_state", "make_generator", "make_seed", "set_generator_state"]

Stream: TypeAlias = Literal[
    "network", "action", "predict", "learner", "buffer", "env", "test", "eval", "histogram", "sampler", "trial"
]


def draw_seed() -> int:
    """Draws a seed from the operating system's entropy."""
    return int(np.random.SeedSequence().generate_state(1)[0])


def _sequence(seed: int, stream: Stream, *indices: int) -> np.random.SeedSequence:
    # A checksum of the name, not its place in a list: a stream added later leaves the others as they are.
    return np.random.SeedSequence([seed, zlib.crc32(stream.encode()), *indices])


def make_generator(seed: int, stream: Stream) -> np.random.Generator:
    """Makes the generator of one stream."""
    return np.random.Generator(np.random.PCG64(_sequence(seed, stream)))


def make_seed(seed: int, stream: Stream, *indices: int) -> int:
    """Derives an integer seed in [0, 2**31), for libraries that take one, such as an environment's `reset`."""
    return int(_sequence(seed, stream, *indices).generate_state(1)[0] >> 1)


def generator_state(generator: np.random.Generator) -> dict[str, Any]:
    """Returns a generator's state as a JSON-able dict."""
    return dict(generator.bit_generator.state)


def set_generator_state(generator: np.random.Generator, state: dict[str, Any]) -> None:
    """Puts back what `generator_state` gave."""
    generator.bit_generator.state = state
