"""Settings of the documentation site; `make docs` builds it into docs/_build/html. It needs no network."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the checkout's own package, installed or not

project = "slc_agents"
author = "slc_agents contributors"
project_copyright = author
settings = configparser.ConfigParser()
settings.read(ROOT / "setup.cfg", encoding="utf-8")
version = release = settings["metadata"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

# -- pages -------------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links such as sac.md#the-networks, with the anchors that the usual hosts give

# A prompt is not part of a command.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

# -- the reference, from the code --------------------------------------------------------------------------------------

default_role = "literal"  # the docstrings write `code`
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_type_aliases = {
    name: name for name in ("Backend", "CallbackLike", "DecayType", "EnvLike", "Observation", "Schedule", "Scheduler")
}
maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False  # the annotation has it
napoleon_custom_sections = [("Hyperparameters", "params_style"), "Glossary"]

# What another project documents has no page here, and an alias of a type is written as it is in the code.
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|gymnasium|inspect|numpy|optuna|os|pathlib|rich|torch|types|typing)\..*"),
    ("py:.*", r"(np|gym|nn)\..*"),
    (
        "py:.*",
        r"NDArray|Agent|Backend|CallbackLike|Console|DecayType|EnvLike|ForeignCallbackLike|Path|Schedule|Scheduler|Statistics|AgentConfig|TypeAliasForwardRef",
    ),
    ("py:.*", r"AgentLike|CopiedEnv|Disturb|Figure"),
    (
        "py:.*",
        r"(Config|Predictor)T|(.*\.)?(Array|Observation|TensorObservation)|.*\.(Agent|AgentConfig|Parameter|ForeignCallbackLike)",
    ),
]

# -- the site ----------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "slc_agents"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
html_math_renderer = "mathml"


def _inline_math(self: Any, node: nodes.Element) -> None:
    """Writes a formula as MathML, which browsers show by themselves: no script from elsewhere."""
    self.body.append(convert(node.astext().strip(), display="inline"))
    raise nodes.SkipNode


def _block_math(self: Any, node: nodes.Element) -> None:
    formula = convert(node.astext().strip(), display="block")
    self.body.append(f'<div class="math-block">{formula}</div>')
    raise nodes.SkipNode


ATTRIBUTES = ("attribute", "data", "property")
_as_written: dict[str, list[str]] = {}


def _before_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # A shape is no emphasis.
    lines[:] = [re.sub(r"(?<=, )\*(?=\w+\])", r"\\*", line) for line in lines]
    if what in ATTRIBUTES:
        _as_written[name] = list(lines)


def _after_napoleon(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    # It takes the first words of an attribute's text for its type, where a colon follows; the types are annotations.
    if what in ATTRIBUTES:
        lines[:] = _as_written.pop(name)


def _name_types(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Writes an alias of a type as its name, also in a union, and an agent's config as the class that it is."""

    def named(text: str | None) -> str | None:
        text = text and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", text)
        return text and text.replace("config: ConfigT |", f"config: {name.rpartition('.')[2]}Config |")

    return named(signature), named(returns)


def setup(app: Any) -> dict[str, bool]:
    """Adds what the settings alone can't say."""
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("autodoc-process-signature", _name_types)
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
