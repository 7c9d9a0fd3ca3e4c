"""Files that mean harm, or were harmed, given to `load`: an error of the package's own, or the same agent."""

from __future__ import annotations

import io
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slc_agents import SAC, load
from slc_agents.errors import SlcAgentsError
from tests.support.fingerprint import fingerprint

SMALL: dict[str, Any] = {"policy_kwargs": {"hidden_sizes": [4]}, "replay_size": 60, "num_test_episodes": 0, "seed": 0}
SMALL |= {"update_after": 20, "update_every": 10, "steps_per_update": 1, "batch_size": 4}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An interrupted run with its buffer, episodes and all."""
    path = tmp_path_factory.mktemp("whole") / "agent.zip"
    SAC("MlpPolicy", "Pendulum-v1", **SMALL).learn(100, lambda m: m.num_timesteps < 50).save(path, replay_buffer=True)
    return path.read_bytes()


def check(path: Path, content: bytes, expected: dict[str, str]) -> bool:
    """Loads and resumes; returns whether the file was taken."""
    path.write_bytes(content)
    try:
        model = SAC.load(path, "Pendulum-v1")
        model.replay_buffer  # noqa: B018 - it is read when it is first asked for
    except (SlcAgentsError, FileNotFoundError):
        return False
    assert fingerprint(model) == expected
    return True


@pytest.fixture(scope="module")
def expected(whole: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("expected") / "agent.zip"
    path.write_bytes(whole)
    return fingerprint(SAC.load(path))


def test_truncation_at_every_member(whole: bytes, expected: dict[str, str], tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        offsets = [info.header_offset for info in archive.infolist()]
    assert len(offsets) > 15
    for offset in offsets:
        for end in (offset, offset + 20, offset + 200):
            assert not check(tmp_path / "cut.zip", whole[: min(end, len(whole) - 1)], expected)


def rewritten(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The archive with another manifest, as somebody would write it who knows the format."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as archive:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "manifest.json":
                manifest = json.loads(data)
                change(manifest)
                data = json.dumps(manifest).encode()
            archive.writestr(info.filename, data)
    return target.getvalue()


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth):
        value = {"a": value}
    return value


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.mark),))


def test_pickled_environments_are_left_alone(whole: bytes, tmp_path: Path) -> None:
    """A file that has its environments pickled, in a member that says what it is, unpickles nothing untrusted."""
    import hashlib

    mark = tmp_path / "executed"
    code = pickle.dumps({"training.episodes.pickled.0": Bomb(mark)})
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(target, "w") as archive:
        for info in source.infolist():
            data = source.read(info)
            if info.filename == "manifest.json":
                manifest = json.loads(data)
                episodes = manifest["training"]["episodes"]
                del episodes["envs"]
                episodes |= {"problem": "none", "pickled": [{"$code": "training.episodes.pickled.0"}]}
                manifest["members"]["code.pkl"] = {"size": len(code), "sha256": hashlib.sha256(code).hexdigest()}
                data = json.dumps(manifest).encode()
            archive.writestr(info.filename, data)
        archive.writestr("code.pkl", code)
    (tmp_path / "evil.zip").write_bytes(target.getvalue())
    model = SAC.load(tmp_path / "evil.zip", "Pendulum-v1")
    with pytest.warns(UserWarning, match="trust=True"):
        model.resume()
    assert not mark.exists()
    with pytest.warns(UserWarning, match="new episodes"):  # with trust it does run: that is what trust means
        SAC.load(tmp_path / "evil.zip", "Pendulum-v1", trust=True).resume()
    assert mark.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(step=1.0),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(observation_space=1.0),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(new=1.0),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(max_speed="fast"),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(_np_random={"$generator": 3}),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0].pop(),
        lambda m: m["training"]["episodes"]["envs"].update(envs=[]),
        lambda m: m["training"]["episodes"]["envs"]["envs"][0][-1]["attributes"].update(
            g={"$moments": {"mean": 0, "var": 0, "count": 0}}
        ),
        lambda m: m["training"]["episodes"].update(envs=3),
        lambda m: m["training"]["episodes"].update(returns="x"),
        lambda m: m["training"]["episodes"].update(observation=None),
    ],
)
def test_episodes_that_make_no_sense_are_not_entered(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    (tmp_path / "odd.zip").write_bytes(rewritten(whole, change))
    model = SAC.load(tmp_path / "odd.zip", "Pendulum-v1")
    with pytest.warns(UserWarning, match="starts new episodes, since"):
        model.resume()
    assert model.num_timesteps == 100


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("training") and m.update(training=3),
        lambda m: m["training"].pop("episodes"),
        lambda m: m["training"].pop("metrics"),
        lambda m: m["training"]["metrics"].update(sums=[1.0]),
        lambda m: m["training"]["metrics"].update(steps="x"),
        lambda m: m["training"].update(exploration={"weights": 1.0, "age": 1}),
        lambda m: m["training"].update(exploration=[1]),
        lambda m: m["training"]["streams"].update(action={"bit_generator": "MT19937"}),
        lambda m: m["training"]["streams"].update(unknown={}),
        lambda m: m["training"]["state"].update(run=[]),
        lambda m: m["training"]["state"].update(num_timesteps="many"),
        lambda m: m["training"]["logger"].update(rows_written=-1),
        lambda m: m["training"]["state"]["run"].update(total="x"),
        lambda m: m["training"]["state"]["run"].update(steps_per_epoch=0),
        lambda m: m["training"]["state"]["run"].update(exact="no"),
        lambda m: m["training"]["metrics"].update(steps={"$float": "inf"}),
        lambda m: m["training"]["streams"]["action"]["state"].update(state=-1),
        lambda m: m["training"]["callbacks"].update(a={"$array": "buffer/observation"}),
        lambda m: m["training"]["callbacks"].update(a={"$array": m["training"]["episodes"]["returns"]["$array"]}),
        lambda m: m["training"]["callbacks"].update(a={"$array": []}),
        lambda m: m.update(policy=5),
        lambda m: m.update(**{"class": []}),
        lambda m: m["config"].update(policy_kwargs=nested(600)),
        lambda m: m["counters"].update(num_timesteps=-5),
        lambda m: m["counters"].update(num_timesteps="x"),
        lambda m: m["config"].update(gamma=7),
        lambda m: m["config"].update(unheard_of=1),
        lambda m: m["training"]["episodes"]["observation"].update({"$array": "state/99"}),
    ],
)
def test_manifests_that_make_no_sense_are_refused(
    whole: bytes, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    (tmp_path / "odd.zip").write_bytes(rewritten(whole, change))
    with pytest.raises(SlcAgentsError, match=r"odd\.zip"):
        load(tmp_path / "odd.zip", "Pendulum-v1")


@pytest.mark.slow
def test_whatever_happens_to_a_file(whole: bytes, expected: dict[str, str], tmp_path: Path) -> None:
    """Some minutes of random damage: overwritten, cut out, doubled, exchanged stretches."""
    taken = tried = 0
    size = len(whole)
    places = st.integers(0, size - 1)
    lengths = st.integers(0, 64) | st.integers(0, 5_000)

    @settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.lists(st.tuples(st.sampled_from("xdci"), places, lengths, st.binary(max_size=16)), min_size=1, max_size=4)
    )
    def damage(changes: list[tuple[str, int, int, bytes]]) -> None:
        nonlocal taken, tried
        content = bytearray(whole)
        for kind, place, length, data in changes:
            if kind == "x":
                content[place : place + len(data)] = data
            elif kind == "d":
                del content[place : place + length]
            elif kind == "c":
                content[place : place + length] = content[size - length : size]
            else:
                content[place:place] = data
        tried += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            taken += check(tmp_path / "damaged.zip", bytes(content), expected)

    damage()
    assert tried >= 20_000
    assert taken < tried / 2
