from __future__ import annotations

import pytest
from fake_model import FakeModel

from slc_agents.callbacks import StopTrainingOnMaxEpisodes


def test_max_episodes():
    callback, model = StopTrainingOnMaxEpisodes(3), FakeModel()
    callback.bind(model)
    answers = []
    for model.num_episodes in (0, 2, 3, 5):
        answers.append(callback.on_step())
    assert answers == [True, True, False, False]


def test_max_episodes_is_at_least_one():
    with pytest.raises(ValueError, match="max_episodes=0"):
        StopTrainingOnMaxEpisodes(0)
