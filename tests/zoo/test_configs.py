"""The zoo's settings: files that are read, and files that are refused."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from slc_agents import SACConfig, zoo
from slc_agents.agents.loading import agent_class
from slc_agents.errors import ConfigError
from slc_agents.schedulers import ConstantScheduler, LinearScheduler
from slc_agents.zoo import configs, load_config_file

SHARED = {  # settings for more than one task
    "lac/default",
    "sac/control_task",
    "sac/default",
    "sac/mujoco_locomotion",
    "sac/mujoco_locomotion_learned_temperature",
}


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize("name", [*zoo.list_configs(), *sorted(SHARED)])
def test_every_file_of_the_zoo_is_valid(name: str) -> None:
    algo, env_id = name.split("/", 1)
    config = zoo.load_config(algo, env_id)
    assert isinstance(config, agent_class(algo).config_class)
    assert config != agent_class(algo).config_class()


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
        ("epochs: 1\n\nlearning_rate: 1e-3\n", 3, ["'learning_rate'", "0.001", "lr_a"]),
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
        ("epochs: 3\nlogger_kwargs:\n  sinks: [csv]\n  folder: x\n", 4, ["'folder'", "output_dir"]),
        ("compute_kwargs:\n  fused: true\n  num_threads: 0\n", 3, ["num_threads=0", "at least 1"]),
        ("lr_a:\n  type: linear\n  initial: x\n  final: 1\n", 3, ["initial='x'"]),
        ("net_arch: [64]\n", 1, ["'net_arch'", "hidden_sizes"]),
        ("lr_a: lin_1e-3\n", 1, ["'lin_1e-3'", "Nothing in a settings file is run", "{type: linear"]),
        ("lr_a: 2*3\n", 1, ["'2*3'", "Nothing in a settings file is run", "{type: linear"]),
        ("epochs: 1\nlr_c: 'lambda x: x'\n", 2, ["'lambda x: x'", "Nothing in a settings file is run"]),
        ("batch_size: 2 ** 8\n", 1, ["'2 ** 8'", "an integer", "write the value itself"]),
        ("gamma: 1/2\n", 1, ["'1/2'", "a number", "write the value itself"]),
        ("policy_kwargs: dict(net_arch=[8])\n", 1, ["'dict(net_arch=[8])'", "dictionary", "write the value itself"]),
        ("lr_decay_type: cosine\n", 1, ["'cosine'", "'linear', 'exponential' or 'constant'"]),
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


def test_a_text_that_only_is_no_number_gets_no_lecture(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config_file(write(tmp_path, "target_entropy: auto\n"), SACConfig)
    assert str(caught.value).endswith("settings.yaml:1: target_entropy='auto': must be a number")


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.e-3", "1_0e-4", ".1e-2", "+1.0e-3", "0.001", "'1e-3'"])
def test_numbers_in_every_spelling(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, f"lr_a: {text}\ngamma: {text}\nlr_c: {{type: constant, value: {text}}}\n")
    config = load_config_file(path, SACConfig)
    assert (config.lr_a, config.gamma, config.lr_c) == (1e-3, 1e-3, ConstantScheduler(1e-3))


def test_numbers_inside_keywords_are_numbers_too() -> None:
    assert zoo.parse_yaml("policy_kwargs: {a: 1e-3, b: [-2.5e+3, 1e3], c: e1, d: 1e, e: 0x1e3}", "x") == {
        "policy_kwargs": {"a": 1e-3, "b": [-2500.0, 1000.0], "c": "e1", "d": "1e", "e": 0x1E3}
    }


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


HOSTILE = [
    "epochs: !!python/object/apply:pathlib.Path.touch [WITNESS]",
    "epochs: !!python/object/apply:os.system ['touch WITNESS']",
    "epochs: !!python/object/new:pathlib.Path [WITNESS]",
    "epochs: !!python/name:os.system",
    "epochs: !<tag:yaml.org,2002:python/object/apply:os.system> ['touch WITNESS']",
    "%TAG ! tag:yaml.org,2002:python/object/apply:\n---\nepochs: !os.system ['touch WITNESS']",
    "!!python/object/apply:os.system ['touch WITNESS']",
    "lr_a: __import__('pathlib').Path('WITNESS').touch()",
    "lr_a: \"lambda p: open('WITNESS', 'w')\"",
    "lr_a: {type: \"open('WITNESS', 'w')\", initial: 1, final: 1}",
    "gamma: open('WITNESS', 'w')",
    "epochs: \"[open('WITNESS', 'w')][0]\"",
    "export: os.system('touch WITNESS')",
    "policy_kwargs: dict(net_arch=open('WITNESS', 'w'))",
    "start_policy_parts: [\"open('WITNESS', 'w')\"]",
    "opt_type: \"{open('WITNESS', 'w')}\"",
    "inherits: !!python/object/apply:os.system ['touch WITNESS']",
    "inherits: \"open('WITNESS', 'w')\"",
    "inherits: $(touch WITNESS)",
    "\"open('WITNESS', 'w')\": 1",
    "? !!python/object/apply:os.system ['touch WITNESS']\n: 1",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_file_is_run(tmp_path: Path, text: str) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(ConfigError, match=r"settings\.yaml:\d+: "):
        load_config_file(write(tmp_path, text.replace("WITNESS", str(witness)) + "\n"), SACConfig)
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
    assert str(caught.value).endswith("sac/default is for any environment") == (algo == "sac")
    assert ("lac/default" in str(caught.value)) == (not algo)  # those of others only where none is near


@pytest.mark.parametrize(
    ("algo", "env_id", "listed"),
    [("sax", "Hopper-v5", {"sac"}), ("lacc", "slc/Oscillator-v1", {"lac"}), ("q", "x", {"sac", "lac"})],
)
def test_for_an_unknown_algorithm_the_nearest_ones_settings_are_listed(
    algo: str, env_id: str, listed: set[str]
) -> None:
    with pytest.raises(FileNotFoundError, match="the zoo has no settings") as error:
        zoo.load_config(algo, env_id)
    there = str(error.value).partition("There are: ")[2]
    assert {name.partition("/")[0] for name in there.split(", ")} == listed


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


# -- inheritance -------------------------------------------------------------------------------------------------------


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """A folder with a chain of three files."""
    texts = {
        "default": """\
gamma: 0.9
lr_a: 1e-3
lr_a_final: 1e-5
lr_c: {type: linear, initial: 1e-3, final: 1e-5}
policy_kwargs:
  hidden_sizes: {actor: [8], critic: [16]}
  n_critics: 3
""",
        "Task-v0": """\
# the key may stand anywhere
epochs: 7
inherits: default
lr_a: {type: constant, value: 1e-2}
lr_c: {type: constant, value: 2e-2}
policy_kwargs: {hidden_sizes: {actor: [4, 4]}}
""",
        "slc__Task-v1": """\
inherits: Task-v0
epochs: 9
policy_kwargs:
  n_critics: 1
  hidden_sizes: [2]
""",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def test_own_values_replace_inherited_ones_and_keywords_one_by_one(family: Path) -> None:
    config = load_config_file(family / "Task-v0.yaml", SACConfig)
    assert (config.gamma, config.epochs) == (0.9, 7)
    assert config.policy_kwargs == {"hidden_sizes": {"actor": [4, 4], "critic": [16]}, "n_critics": 3}
    # A schedule is one value, and brings its own end.
    assert (config.lr_a, config.lr_c) == (ConstantScheduler(1e-2), ConstantScheduler(2e-2))
    config = load_config_file(family / "slc__Task-v1.yaml", SACConfig)
    assert (config.gamma, config.epochs, config.lr_a) == (0.9, 9, ConstantScheduler(1e-2))
    assert config.policy_kwargs == {"hidden_sizes": [2], "n_critics": 1}
    assert load_config_file(family / "default.yaml", SACConfig).lr_a_final == 1e-5
    # Nothing of it has changed the file that is inherited.
    assert load_config_file(family / "Task-v0.yaml", SACConfig, epochs=7).policy_kwargs["n_critics"] == 3  # type: ignore[index]


def test_every_value_says_where_it_stands(family: Path) -> None:
    file = zoo.read_config_file(family / "slc__Task-v1.yaml")
    assert {".".join(key): f"{place.path.stem}:{place.line}" for key, place in file.places.items()} == {
        "gamma": "default:1",
        "lr_a": "Task-v0:4",
        "lr_a.type": "Task-v0:4",
        "lr_a.value": "Task-v0:4",
        "lr_c": "Task-v0:5",
        "lr_c.type": "Task-v0:5",
        "lr_c.value": "Task-v0:5",
        "policy_kwargs": "slc__Task-v1:3",
        "policy_kwargs.hidden_sizes": "slc__Task-v1:5",
        "policy_kwargs.n_critics": "slc__Task-v1:4",
        "epochs": "slc__Task-v1:2",
    }
    assert file.path == family / "slc__Task-v1.yaml"


@pytest.mark.parametrize(
    ("base", "own", "where"),
    [
        ("gamma: 7\n", "inherits: base\n", "base.yaml:1: gamma=7"),
        ("gamma: 0.5\n", "inherits: base\ngamma: 7\n", "own.yaml:2: gamma=7"),
        ("epochs: 1\ngama: 7\n", "inherits: base\n", "base.yaml:2: SACConfig has no keyword 'gama'"),
        ("compute_kwargs: {num_threads: 0}\n", "inherits: base\ncompute_kwargs: {fused: true}\n", "base.yaml:1: "),
        ("compute_kwargs: {num_threads: 1}\n", "inherits: base\ncompute_kwargs: {fused: 1}\n", "own.yaml:2: "),
        ("gamma: [\n", "inherits: base\n", "base.yaml:2: is not valid YAML"),
        ("a: &x 1\n", "inherits: base\n", "base.yaml:1: anchors"),
    ],
)
def test_an_error_says_the_line_of_the_file_in_which_the_key_stands(
    tmp_path: Path, base: str, own: str, where: str
) -> None:
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "own.yaml").write_text(own)
    with pytest.raises(ConfigError) as caught:
        load_config_file(tmp_path / "own.yaml", SACConfig)
    assert str(caught.value).startswith(str(tmp_path / where))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("inherits: defualt", ["own.yaml:1", "'defualt'", "did you mean 'default'"]),
        ("inherits: ../default", ["'../default'", "zoo:NAME"]),
        ("inherits: /etc/passwd", ["'/etc/passwd'"]),
        ("inherits: default.yaml", ["'default.yaml'", "did you mean 'default'"]),
        ("inherits: [default]", ["['default']", "name of settings"]),
        ("inherits:", ["None", "name of settings"]),
        ("inherits: 1", ["received 1", "name of settings"]),
        ("inherits: zoo:sac/nothing", ["'zoo:sac/nothing'", "the zoo's settings", "sac/Pendulum-v1"]),
        ("inherits: zoo:sac/Pendulm-v1", ["'zoo:sac/Pendulm-v1'", "did you mean 'zoo:sac/Pendulum-v1'"]),
        ("inherits: zoo:../../default", ["'zoo:../../default'", "the zoo's settings"]),
        ("inherits: own", ["own.yaml:1", "'own'", "from this file"]),
        ("# c\ninherits: other", ["other.yaml:1", "'own'", "from this file"]),
        ("inherits: third", ["other.yaml:1", "'own'", "from this file"]),
    ],
)
def test_what_cannot_be_inherited(family: Path, own: str, words: list[str]) -> None:
    (family / "own.yaml").write_text(f"{own}\n")
    (family / "other.yaml").write_text("inherits: own\n")
    (family / "third.yaml").write_text("inherits: other\n")
    with pytest.raises(ConfigError) as caught:
        load_config_file(family / "own.yaml", SACConfig)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value)


def test_a_file_anywhere_inherits_the_zoos(tmp_path: Path) -> None:
    path = write(tmp_path, "inherits: zoo:sac/Pendulum-v1\nepochs: 3\n")
    assert load_config_file(path, SACConfig) == zoo.load_config("sac", "Pendulum-v1", epochs=3)
    assert load_config_file("zoo:sac/Pendulum-v1", SACConfig) == zoo.load_config("sac", "Pendulum-v1")
    with pytest.raises(FileNotFoundError, match="did you mean 'sac/Pendulum-v1'"):
        zoo.read_config_file("zoo:sac/Pendulm-v1")


def test_inherits_is_no_hyperparameter() -> None:
    with pytest.raises(TypeError, match="no keyword 'inherits'"):
        zoo.load_config("sac", "Pendulum-v1", inherits="default")


def test_a_file_may_name_the_policy(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("policy: GSDEPolicy\npolicy_kwargs: {noise_steps: 4}\n")
    (tmp_path / "own.yaml").write_text("inherits: default\nbatch_size: 8\n")
    file = zoo.read_config_file(tmp_path / "own.yaml")
    assert file.policy == "GSDEPolicy"
    assert file.make(SACConfig) == SACConfig(policy_kwargs={"noise_steps": 4}, batch_size=8)
    assert zoo.read_config_file(zoo.config_path("sac", "Pendulum-v1")).policy == "MlpPolicy"
    (tmp_path / "own.yaml").write_text("batch_size: 8\npolicy: [MlpPolicy]\n")
    with pytest.raises(ConfigError, match=r"own.yaml:2: policy: received \['MlpPolicy'\]; a name is needed"):
        assert zoo.read_config_file(tmp_path / "own.yaml").policy


def test_the_zoo_makes_the_policy_of_the_file_unless_another_is_asked_for() -> None:
    def make(**kwargs: Any) -> Any:
        model = zoo.make("sac", "MountainCarContinuous-v0", num_test_episodes=0, replay_size=10, **kwargs)
        return type(model.policy).__name__

    assert make() == "GSDEPolicy"
    assert make(policy="MlpPolicy", policy_kwargs={}) == "MlpPolicy"


def test_a_policy_that_is_not_there_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sac").mkdir()
    (tmp_path / "sac" / "Pendulum-v1.yaml").write_text("batch_size: 8\npolicy: MlpPolcy\n")
    monkeypatch.setattr(configs, "zoo_configs_folder", lambda: tmp_path)
    with pytest.raises(ConfigError, match=r"Pendulum-v1.yaml:2: policy='MlpPolcy'.*MlpPolicy"):
        zoo.make("sac", "Pendulum-v1")


def test_settings_for_more_than_one_task_are_no_task() -> None:
    assert set(configs._configs()) - set(zoo.list_configs()) == SHARED
    for name in zoo.list_configs():
        assert name.partition("/")[2] in gymnasium.registry


def test_the_locomotion_tasks_have_one_files_settings() -> None:
    shared = zoo.load_config("sac", "mujoco_locomotion")
    for task in ("Ant", "HalfCheetah", "Hopper", "Humanoid", "Walker2d"):
        assert zoo.load_config("sac", f"{task}-v5") == shared
    assert (shared.alpha, shared.adaptive_temperature, shared.epochs * shared.steps_per_epoch) == (0.2, False, 10**6)


def test_locomotion_with_a_learned_temperature_differs_in_nothing_else() -> None:
    shared = zoo.load_config("sac", "mujoco_locomotion")
    learned = zoo.load_config("sac", "mujoco_locomotion_learned_temperature")
    assert learned == replace(shared, alpha=1.0, adaptive_temperature=True, lr_a=3e-4, lr_c=3e-4, lr_alpha=3e-4)


def test_default_holds_the_rates() -> None:
    config = zoo.load_config("sac", "default")
    assert config.lr_a == config.make_schedule("lr_a")(0.0) == config.make_schedule("lr_a")(1.0) == 3e-4


def test_a_schedule_given_as_an_override_takes_the_files_final_rate_away(family: Path) -> None:
    schedule = LinearScheduler(1e-3, 1e-6)
    assert load_config_file(family / "default.yaml", SACConfig, lr_a=schedule).lr_a == schedule
    with pytest.raises(ConfigError, match=r"^lr_a_final=1e-05: lr_a is a schedule"):
        load_config_file(family / "default.yaml", SACConfig, lr_a=schedule, lr_a_final=1e-5)
