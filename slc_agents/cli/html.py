"""HTML in which every text is escaped, unless it is HTML already by its type."""

from __future__ import annotations

import html

__all__ = ["Markup", "join", "tag"]

_VOID = frozenset({"br", "hr", "img", "meta"})  # elements that have no end


class Markup(str):
    """A text that is HTML, and goes into a page as it stands."""


def tag(name: str, /, *children: str | None, **attributes: str | bool | None) -> Markup:
    """Returns an element.

    Args:
        name: Its name.
        children: What is in it: texts, which are escaped, and elements; None is left out.
        attributes: Its attributes, `class_` for `class` and `aria_label` for `aria-label`. True: it has no value; False
            and None: it isn't there.
    """
    shown = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(*children)}</{name}>")


def join(*parts: str | None) -> Markup:
    """Returns texts, which are escaped, and elements in a row; None is left out."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(part) for part in parts if part is not None)
    )
