"""The Jinja environments of the HTML report and of the Markdown card.

Both escape every expression automatically. A value that is safe as it is has the type `Markup`. A missing
value (None or empty text) becomes a dash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from continuous_training.report import formatting
from continuous_training.report.formatting import NOTHING, clean

Variables = dict[str, Any]
"""The variables of a template, by name."""

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_|\[\]#])")


@cache
def html_environment() -> Environment:
    """Return the environment of the HTML report."""
    environment = _environment(lambda value: value if isinstance(value, Markup) else _text(value))
    environment.filters |= {
        name: getattr(formatting, name)
        for name in ("number", "real", "label", "share", "parameter_text", "time_text")
    }
    return environment


@cache
def markdown_environment() -> Environment:
    """Return the environment of the model card."""
    environment = _environment(lambda value: value if isinstance(value, Markup) else markdown(value))
    environment.filters |= {
        "code": markdown_code,
        "number": formatting.number,
        "time_text": formatting.time_text,
    }
    environment.globals["table"] = markdown_table
    return environment


def _environment(finalize: object) -> Environment:
    return Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,  # type: ignore[arg-type]
    )


def _text(value: object) -> str:
    return clean("" if value is None else value) or NOTHING


def markdown(value: object) -> Markup:
    """Return a value as text on one line, without a meaning in Markdown or HTML."""
    text = _MARKDOWN_SPECIAL.sub(r"\\\1", _text(value))
    return Markup(text.replace("<", "&lt;").replace(">", "&gt;"))


def markdown_code(value: object) -> Markup:
    """Return a value as a code span of Markdown."""
    return Markup(f"`{_text(value).replace('`', chr(39))}`")


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return Markup("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines))


def _cell(value: object) -> Markup:
    return value if isinstance(value, Markup) else markdown(value) if value != "" else Markup("")
