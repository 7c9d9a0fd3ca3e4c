from __future__ import annotations

import pytest
from fake_trials import FakeTraining

from slc_agents.tuning import study


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    """Replaces training in this process."""
    fake = FakeTraining()
    monkeypatch.setattr(study, "run_trial", fake)
    return fake
