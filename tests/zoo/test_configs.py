"""The zoo's settings: files that are read, and files that are refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from slc_agents import SACConfig, zoo
from slc_agents.agents.loading import agent_class
from slc_agents.errors import ConfigError
from slc_agents.schedulers import LinearScheduler
from slc_agents.zoo import configs, load_config_file


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", zoo.list_configs())
def test_every_file_of_the_zoo_is_valid(name: str) -> None:
    algo, env_id = name.split("/", 1)
    config = zoo.load_config(algo, env_id)
    assert isinstance(config, agent_class(algo).config_class)


def test_pendulum_is_as_it_stands_in_its_file() -> None:
    config = zoo.load_config("sac", "Pendulum-v1")
    assert "sac/Pendulum-v1" in zoo.list_configs()
    assert type(config) is SACConfig
    written = zoo.read_config_file(zoo.config_path("sac", "Pendulum-v1")).values
    assert written
    assert {key: getattr(config, key) for key in written} == {
        key: pytest.approx(value) if isinstance(value, float) else value for key, value in written.items()
    }
    assert zoo.load_config("SAC", "Pendulum-v1", gamma=0.9).gamma == 0.9


def test_numbers_schedules_and_nothing(tmp_path: Path) -> None:
    text = """
lr_a: {type: linear, initial: 1.0e-3, final: 1e-5}
lr_c: 1e-3
gamma: .9
target_entropy:
steps_per_epoch: 1_000
policy_kwargs:
  hidden_sizes: {actor: [8, 8]}
"""
    config = load_config_file(write(tmp_path, text), SACConfig)
    assert config.lr_a == LinearScheduler(1e-3, 1e-5)
    assert (config.lr_c, config.gamma, config.target_entropy, config.steps_per_epoch) == (1e-3, 0.9, None, 1000)
    assert config.policy_kwargs == {"hidden_sizes": {"actor": [8, 8]}}
    assert load_config_file(write(tmp_path, "# nothing\n"), SACConfig) == SACConfig()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("gamma: 0.9\ngama: 0.5\n", 2, ["'gama'", "0.5", "did you mean 'gamma'"]),
        ("epochs: 1\n\nlearning_rate: 1e-3\n", 3, ["'learning_rate'", "1e-3", "lr_a"]),
        ("epochs: 1\ngamma: 2\n", 2, ["gamma=2", "less than or equal to 1"]),
        ("epochs: many\n", 1, ["epochs='many'", "integer"]),
        ("# c\nlr_a: [1]\n", 2, ["lr_a=[1]"]),
        ("lr_a:\n", 1, ["lr_a=None"]),
        ("export: 1\n", 1, ["export=1", "boolean"]),
        ("gamma: true\n", 1, ["gamma=True"]),
        ("epochs: 3\nlogger_kwargs: {folder: x}\n", 2, ["'folder'", "output_dir"]),
        ("epochs: 3\npolicy_kwargs: 7\n", 2, ["policy_kwargs=7"]),
        ("lr_a: {type: cubic, initial: 1, final: 0}\n", 1, ["cubic", "linear"]),
        ("gamma: 0.9\nlr_a: 1\ngamma: 0.5\n", 3, ["'gamma'", "line 1"]),
        ("policy_kwargs:\n  n_critics: 1\n  n_critics: 2\n", 3, ["'n_critics'", "line 2"]),
        ("1: 2\n", 1, ["key", "'1'"]),
        ("epochs: 1\n<<: {gamma: 0.5}\n", 2, ["key", "'<<'"]),
        ("? [a, b]\n: 1\n", 1, ["key"]),
        ("a: &x [1]\nb: *x\n", 1, ["anchors", "aliases"]),
        ("a: 1\nb: *x\n", 2, ["aliases"]),
        ("epochs: !!python/object/apply:os.system [exit]\n", 1, ["tags", "python/object"]),
        ("gamma: 1\nepochs: !!int '3'\n", 2, ["tags"]),
        ("epochs: 1\ngamma: [1\n", 3, ["not valid YAML"]),
        ("epochs: 1\n---\ngamma: 1\n", 2, ["not valid YAML"]),
        ("epochs: 1\n\tgamma: 1\n", 2, ["not valid YAML"]),
        ("- epochs\n", 1, ["key: value"]),
        ("just words\n", 1, ["key: value"]),
        ("epochs: " + "[" * 100 + "\n", 1, ["nested"]),
    ],
)
def test_an_error_says_the_file_the_line_and_the_value(tmp_path: Path, text: str, line: int, words: list[str]) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config_file(path, SACConfig)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert all(word in message for word in words), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"epochs: 1\n#" + b" " * 64 * 1024, "64 KiB"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"epochs: \x00\n", "YAML"),
        (b"epochs: 2020-99-99\n", "can't be read"),
        (b"epochs: " + b"9" * 5000 + b"\n", "can't be read"),
    ],
)
def test_what_is_no_settings_file_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        load_config_file(write(tmp_path, content), SACConfig)


def test_an_alias_bomb_and_deep_brackets_cost_no_time(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    start = time.monotonic()
    for text in (bomb, "a: " + "[" * 60_000, "a: " + "{a: " * 15_000, "".join(" " * i + "a:\n" for i in range(300))):
        with pytest.raises(ConfigError, match=r"anchors|nested"):
            load_config_file(write(tmp_path, text), SACConfig)
    assert time.monotonic() - start < 5


def test_a_tag_runs_nothing(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(ConfigError):
        load_config_file(write(tmp_path, f"epochs: !!python/object/apply:pathlib.Path.touch [{witness}]"), SACConfig)
    assert not witness.exists()


def test_overrides_are_validated_with_the_file_and_not_blamed_on_it(tmp_path: Path) -> None:
    path = write(tmp_path, "alpha: 0\ngamma: 0.5\n")
    assert load_config_file(path, SACConfig, adaptive_temperature=False).alpha == 0
    with pytest.raises(ConfigError, match=r"^gamma=3"):
        load_config_file(path, SACConfig, gamma=3)
    with pytest.raises(TypeError, match="did you mean 'gamma'"):
        load_config_file(path, SACConfig, gama=1)
    with pytest.raises(ConfigError, match=r"settings.yaml:1: alpha=0"):
        load_config_file(path, SACConfig)


@pytest.mark.parametrize(
    ("algo", "env_id"),
    [("sac", "Pendulm-v1"), ("..", "sac/Pendulum-v1"), ("sac", "../sac/Pendulum-v1"), ("sac", "/etc/passwd"), ("", "")],
)
def test_a_name_that_is_not_there_lists_those_that_are(algo: str, env_id: str) -> None:
    with pytest.raises(FileNotFoundError, match="sac/Pendulum-v1") as caught:
        zoo.load_config(algo, env_id)
    assert repr(f"{algo}/{env_id}") in str(caught.value)


def test_a_name_with_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zoo" / "sac").mkdir(parents=True)
    (tmp_path / "zoo" / "sac" / "slc__Oscillator-v1.yaml").write_text("gamma: 0.5\n")
    (tmp_path / "outside.yaml").write_text("gamma: 0.1\n")
    monkeypatch.setattr(configs, "zoo_configs_folder", lambda: tmp_path / "zoo")
    assert zoo.list_configs() == ["sac/slc/Oscillator-v1"]
    assert zoo.load_config("sac", "slc/Oscillator-v1").gamma == 0.5
    with pytest.raises(FileNotFoundError, match="did you mean 'sac/slc/Oscillator-v1'"):
        zoo.load_config("sac", "slc/Oscilator-v1")
    with pytest.raises(FileNotFoundError):
        zoo.load_config("sac/..", "../outside")
