"""The learners of each backend: one suite, run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.backends import BACKENDS, BackendUnderTest


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> BackendUnderTest:
    return BackendUnderTest(request.param)


@pytest.fixture
def make_learner(backend: BackendUnderTest) -> Callable[..., Any]:
    return backend.make_learner


@pytest.fixture
def make_lac_learner(backend: BackendUnderTest) -> Callable[..., Any]:
    return backend.make_lac_learner


@pytest.fixture
def make_batch(backend: BackendUnderTest) -> Callable[..., Any]:
    return backend.make_batch
