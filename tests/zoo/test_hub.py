"""The Hugging Face hub, of which a folder takes the place; our calls of its client are held against the real ones."""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import yaml
from huggingface_hub.errors import EntryNotFoundError

from slc_agents import SAC, SACConfig, zoo
from slc_agents.errors import ArchiveError, ConfigError, HubError, MissingDependencyError, UntrustedCodeError
from slc_agents.zoo import hub, load_config_file

SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [8]}, "batch_size": 8, "replay_size": 300, "epochs": 7}
OBSERVATIONS = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -3.0]], np.float32)


class FolderHub:
    """Does what the hub's client does, in a folder. Takes only what the real functions take."""

    ModelCardData, EvalResult = huggingface_hub.ModelCardData, huggingface_hub.EvalResult

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: dict[str, dict[str, Any]] = {}

    def received(self, name: str, real: Callable[..., Any], *args: Any, **kwargs: Any) -> SimpleNamespace:
        """Notes a call, with its arguments by the names that the real function has for them."""
        self.calls[name] = inspect.signature(real).bind(*args, **kwargs).arguments
        return SimpleNamespace(**self.calls[name])

    def HfApi(self, *args: Any, **kwargs: Any) -> FolderHub:  # noqa: N802 - its real name
        self.received("HfApi", huggingface_hub.HfApi, *args, **kwargs)
        return self

    def create_repo(self, *args: Any, **kwargs: Any) -> Any:
        call = self.received("create_repo", huggingface_hub.create_repo, *args, **kwargs)
        full = call.repo_id if "/" in call.repo_id else f"somebody/{call.repo_id}"
        (self.folder / full).mkdir(parents=True, exist_ok=call.exist_ok)
        return huggingface_hub.RepoUrl(f"https://huggingface.co/{full}")

    def upload_folder(self, *args: Any, **kwargs: Any) -> None:
        call = self.received("upload_folder", huggingface_hub.upload_folder, *args, **kwargs)
        shutil.copytree(call.folder_path, self.folder / call.repo_id, dirs_exist_ok=True)

    def hf_hub_download(self, *args: Any, **kwargs: Any) -> str:
        call = self.received("hf_hub_download", huggingface_hub.hf_hub_download, *args, **kwargs)
        path = self.folder / call.repo_id / call.filename
        if not path.is_file():
            raise EntryNotFoundError(f"404 Client Error.\n\nEntry Not Found for {call.repo_id}/{call.filename}")
        return str(path)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderHub:
    made = FolderHub(tmp_path / "hub")
    monkeypatch.setattr(hub, "_library", lambda: made)
    return made


@pytest.fixture(scope="module")
def model() -> SAC:
    agent = zoo.make("sac", "Pendulum-v1", seed=5, **SMALL)
    assert isinstance(agent, SAC)
    return agent


def acts(model: Any) -> Any:
    return model.predict(OBSERVATIONS, deterministic=True)[0]


def metadata(card: str) -> dict[str, Any]:
    """What stands between the card's first two lines of ---, as the hub reads it."""
    data = huggingface_hub.ModelCard(card).data
    return dict(data.to_dict())


def test_there_and_back(stand_in: FolderHub, model: SAC) -> None:
    address = zoo.push_to_hub(model, "user/pendulum", episodes=2)
    assert address == "https://huggingface.co/user/pendulum"
    files = stand_in.folder / "user" / "pendulum"
    assert sorted(path.name for path in files.iterdir()) == ["README.md", "agent.zip", "config.yaml"]
    loaded = zoo.load_from_hub("user/pendulum")
    np.testing.assert_array_equal(acts(loaded), acts(model))
    assert (loaded.env, loaded.seed) == (None, 5)
    other = zoo.load_from_hub("user/pendulum", "agent.zip", env="Pendulum-v1", gamma=0.5)
    assert other.config.gamma == 0.5
    assert other.env is not None


def test_the_hub_is_called_as_it_wants_to_be(stand_in: FolderHub, model: SAC) -> None:
    address = zoo.push_to_hub(
        model, "pendulum", episodes=1, private=True, revision="v2", token="hf_x", commit_message="A first agent"
    )
    assert address.endswith("somebody/pendulum")
    zoo.load_from_hub("somebody/pendulum", revision="v2", token="hf_x", cache_dir="cache")
    calls = stand_in.calls
    assert calls["HfApi"]["token"] == "hf_x"
    assert calls["HfApi"]["library_name"] == "slc-agents"
    assert {key: calls["create_repo"][key] for key in ("repo_id", "private", "exist_ok")} == {
        "repo_id": "pendulum",
        "private": True,
        "exist_ok": True,
    }
    upload = calls["upload_folder"]
    assert (upload["repo_id"], upload["revision"], upload["commit_message"]) == (
        "somebody/pendulum",
        "v2",
        "A first agent",
    )
    assert not Path(upload["folder_path"]).exists()  # which was a temporary one
    download = calls["hf_hub_download"]
    assert (download["repo_id"], download["filename"]) == ("somebody/pendulum", "agent.zip")
    assert (download["revision"], download["token"], download["cache_dir"]) == ("v2", "hf_x", "cache")
    assert download["library_name"] == "slc-agents"


def test_the_card(stand_in: FolderHub, model: SAC) -> None:
    zoo.push_to_hub(model, "user/pendulum", episodes=2, seed=11)
    folder = stand_in.folder / "user" / "pendulum"
    card = (folder / "README.md").read_text(encoding="utf-8")
    mean, std = zoo.load_from_hub("user/pendulum").evaluate(2, "Pendulum-v1", seed=11)
    data = metadata(card)
    assert data["library_name"] == "slc-agents"
    assert data["pipeline_tag"] == "reinforcement-learning"
    assert data["tags"] == ["Pendulum-v1", "deep-reinforcement-learning", "reinforcement-learning", "SAC"]
    (index,) = data["model-index"]
    (result,) = index["results"]
    assert index["name"] == "SAC on Pendulum-v1"
    assert result["task"]["type"] == "reinforcement-learning"
    assert result["dataset"] == {"name": "Pendulum-v1", "type": "Pendulum-v1"}
    (metric,) = result["metrics"]
    assert metric["type"] == "mean_reward"
    assert metric["value"] == f"{mean:.1f} +/- {std:.1f}"
    assert f"| {mean:.1f} ± {std:.1f} | 2 | 200.0 | 11 |" in card
    assert 'zoo.load_from_hub("user/pendulum")' in card
    assert "trust" not in card
    assert "with seed 5" in card
    changed = "They are the zoo's for sac/Pendulum-v1, but for `policy_kwargs`, `epochs`, `batch_size`, `replay_size`."
    assert changed in card
    (settings,) = [block for block in card.split("```") if block.startswith("yaml")]
    assert yaml.safe_load(settings.removeprefix("yaml")) == yaml.safe_load((folder / "config.yaml").read_text())
    # With which a run can be begun.
    config = load_config_file(folder / "config.yaml", SACConfig)
    assert (config.epochs, config.policy_kwargs, config.seed) == (7, {"hidden_sizes": [8]}, 5)


def test_the_card_of_costs_without_an_id(stand_in: FolderHub) -> None:
    import gymnasium
    from gymnasium.envs.classic_control import PendulumEnv

    def make() -> gymnasium.Env[Any, Any]:
        return gymnasium.wrappers.TimeLimit(PendulumEnv(), 10)

    model = SAC("MlpPolicy", make, seed=5, opt_type="minimize", **SMALL)
    zoo.push_to_hub(model, "user/x", env=make, episodes=1)
    card = (stand_in.folder / "user" / "x" / "README.md").read_text(encoding="utf-8")
    data = metadata(card)
    assert data["tags"][0] == "deep-reinforcement-learning"
    assert data["model-index"][0]["results"][0]["metrics"][0]["type"] == "mean_cost"
    assert "# SAC on an environment without an id" in card
    assert "| mean cost ± standard deviation |" in card
    assert "the zoo's for" not in card
    zoo.push_to_hub(model, "user/x", env="Pendulum-v1", episodes=1)
    card = (stand_in.folder / "user" / "x" / "README.md").read_text(encoding="utf-8")
    assert "# SAC on Pendulum-v1" in card


def test_code_is_not_run_and_not_hidden(stand_in: FolderHub, tmp_path: Path) -> None:
    model = SAC("MlpPolicy", "Pendulum-v1", seed=5, lr_a=lambda p: 1e-3, **SMALL)
    model.save(tmp_path / "code.zip")
    with pytest.raises(UntrustedCodeError):
        zoo.push_to_hub(tmp_path / "code.zip", "user/code", episodes=1)
    zoo.push_to_hub(tmp_path / "code.zip", "user/code", episodes=1, trust=True)
    folder = stand_in.folder / "user" / "code"
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'zoo.load_from_hub("user/code", trust=True)' in card
    assert "only if you trust them" in card
    assert "lr_a" not in yaml.safe_load((folder / "config.yaml").read_text())
    with pytest.raises(UntrustedCodeError, match="lr_a"):
        zoo.load_from_hub("user/code")
    assert zoo.load_from_hub("user/code", trust=True).config.lr_a(0.5) == 1e-3


def test_what_is_not_there_and_what_is_no_agent(stand_in: FolderHub) -> None:
    with pytest.raises(HubError) as caught:
        zoo.load_from_hub("user/nothing", revision="v3")
    message = str(caught.value)
    for word in ("'user/nothing'", "'agent.zip'", "'v3'", "Entry Not Found", "hf auth login"):
        assert word in message
    assert "\n" not in message
    (stand_in.folder / "user" / "bad").mkdir(parents=True)
    (stand_in.folder / "user" / "bad" / "agent.zip").write_bytes(b"import os")
    with pytest.raises(ArchiveError, match="not a zip file"):
        zoo.load_from_hub("user/bad")


def test_nothing_is_sent_of_what_cannot_be_packed(stand_in: FolderHub, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        zoo.push_to_hub(tmp_path / "nothing.zip", "user/x")
    model = SAC("MlpPolicy", lambda: __import__("gymnasium").make("Pendulum-v1").unwrapped, max_ep_len=5, **SMALL)
    model._env_id = None
    with pytest.raises(ConfigError, match="give one"):
        zoo.push_to_hub(model, "user/x")
    assert stand_in.calls == {}


def test_the_real_client_refuses_a_name_without_a_network(model: SAC, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only test with the real one: it sees by itself that this is no repository's name."""
    with pytest.raises(HubError, match=r"repo_id='a/b/c'.*HFValidationError"):
        zoo.load_from_hub("a/b/c")


def test_without_the_extra(model: SAC, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: zoo.push_to_hub(model, "user/x"), lambda: zoo.load_from_hub("user/x")):
        with pytest.raises(MissingDependencyError, match=r"pip install 'slc-agents\[hub\]'"):
            call()
