"""HTML is escaped wherever it isn't HTML by its type."""

from __future__ import annotations

from slc_agents.cli.html import Markup, join, tag


def test_texts_are_escaped_and_elements_are_not() -> None:
    assert tag("p", "<b>&", tag("b", "'\"")) == "<p>&lt;b&gt;&amp;<b>&#x27;&quot;</b></p>"
    assert tag("p", None, Markup("<i>")) == "<p><i></p>"
    assert join("a<", tag("br"), None) == "a&lt;<br>"


def test_attributes_are_escaped() -> None:
    element = tag("img", src='"><script>', alt=None, class_="x", aria_label="&", open=True, hidden=False)
    assert element == '<img src="&quot;&gt;&lt;script&gt;" class="x" aria-label="&amp;" open>'
    assert tag("p", name="n") == '<p name="n"></p>'
