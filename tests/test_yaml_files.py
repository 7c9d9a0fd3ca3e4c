"""Reading YAML before anything is made of it; what the zoo's and other libraries' readers refuse is in their tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from slc_agents.errors import ConfigError
from slc_agents.yaml_files import compose, explained, read_text, refuse


def test_nodes_of_a_text() -> None:
    assert compose("", "x") is None
    node = compose("a: &b !!float 1e3\nc: *b\n", "x", anchors=True)
    assert isinstance(node, yaml.MappingNode)
    (_, first), (_, second) = node.value
    assert (first, first.tag, first.value) == (second, "tag:yaml.org,2002:float", "1e3")


@pytest.mark.parametrize("text", ["a: &b 1", "a: *b", "a: !!float 1"])
def test_anchors_aliases_and_tags_are_let_through_only_where_that_is_asked_for(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^x:1: .* are not allowed"):
        compose(text, "x")


@pytest.mark.parametrize("anchors", [False, True])
def test_depth_is_bounded(anchors: bool) -> None:
    assert compose("[" * 16 + "]" * 16, "x", anchors=anchors) is not None
    with pytest.raises(ConfigError, match=r"^x:1: is nested more than 16"):
        compose("[" * 17 + "]" * 17, "x", anchors=anchors)


def test_errors_say_where() -> None:
    with pytest.raises(ConfigError, match=r"^x: 5$"):
        refuse("x", None, "5")
    with pytest.raises(ConfigError, match=r"^x: has a value that can't be read: no number$"), explained("x"):
        raise ValueError("no number")


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("ä: 1\n", encoding="utf-8")
    assert read_text(tmp_path / "a.yaml") == "ä: 1\n"
    with pytest.raises(TypeError, match="path=5"):
        read_text(5)  # type: ignore[arg-type]
