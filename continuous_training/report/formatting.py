"""Values as a reader sees them: escaped, rounded to what matters, and a dash for what is missing."""

from __future__ import annotations

import html
import math
import numbers
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeGuard

from continuous_training.report.report_data import Interval

NOTHING = "–"
SHARES = frozenset(
    {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1", "top_5_accuracy"}
)
"""Metrics between 0 and 1 that read better in percent."""
LOWER_IS_BETTER = frozenset({"rmse", "mae", "mse", "mape", "log_loss", "error", "loss", "brier"})
_LABELS = {
    "r2": "R²", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "mape": "MAPE",
    "f1": "F1", "macro_f1": "macro F1", "auc": "AUC", "roc_auc": "ROC AUC",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(value: Any) -> str:
    """Return the text of a value on one line, without characters that no HTML may hold."""
    return " ".join(_CONTROL.sub("\ufffd", str(value)).split())


def escape(value: Any) -> str:
    """Return the text of a value so that HTML shows it and never acts on it; a dash when it is empty."""
    return html.escape(clean(value)) or NOTHING


def short(value: Any, length: int = 18) -> str:
    """Return the value's text, cut to `length` characters; not escaped, for figures."""
    text = clean(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def finite(value: Any) -> TypeGuard[float]:
    """Tell whether the value is a number that can be shown and drawn."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any) -> str:
    """Return a number with some three or four digits that matter; a dash for None, NaN and infinity."""
    if not finite(value):
        return NOTHING
    size = abs(value)
    if isinstance(value, numbers.Integral) or not size:
        text = f"{int(value):,}"
    elif size and (size < 0.001 or size >= 1e7):
        text = f"{value:.2e}"
    else:
        text = f"{value:,.{_decimals(size)}f}"
    return text.replace("-", "−")


def _decimals(size: float) -> int:
    return 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0


def label(metric: str) -> str:
    """Return a metric's name as the field writes it; not escaped."""
    return _LABELS.get(metric, clean(metric).replace("_", " "))


def measure(metric: str, value: Any) -> str:
    """Return a metric's value: shares in percent, others as numbers."""
    if not finite(value):
        return NOTHING
    return f"{100 * value:.1f} %".replace("-", "−") if metric in SHARES else number(float(value))


def asked(metric: str, value: Any) -> str:
    """Return a limit of the rule as it was written, without decimals that nobody asked for."""
    if not finite(value):
        return NOTHING
    return f"{100 * value:.6g} %" if metric in SHARES else f"{value:.6g}"


def span(metric: str, interval: Interval | None) -> str:
    """Return the interval's ends in words, or a dash when one is missing."""
    if interval is None or not (finite(interval.low) and finite(interval.high)):
        return NOTHING
    low, high = measure(metric, interval.low), measure(metric, interval.high)
    return f"{low.removesuffix(' %')} to {high}"


def change(metric: str, value: Any) -> str:
    """Return an improvement with its sign: percentage points for shares."""
    if not finite(value):
        return NOTHING
    text = f"{100 * value:.1f} points" if metric in SHARES else number(float(value))
    return ("+" if value > 0 else "") + text.replace("-", "−")


def improvement(metric: str, challenger: Interval | None, champion: Interval | None) -> float | None:
    """Return how much better the challenger's value is, or None when one of them is missing."""
    if challenger is None or champion is None or not (finite(challenger.value) and finite(champion.value)):
        return None
    return (challenger.value - champion.value) * (-1 if metric in LOWER_IS_BETTER else 1)


def show(value: Any, digits: int = 10) -> str:
    """Return any value of a parameter or a note, escaped: what is nested is written out in a line.

    Numbers are not grouped, so that a parameter can be typed again as it is read.
    """
    if isinstance(value, dict):
        return (
            ", ".join(f"{escape(name)} = {show(inner, digits)}" for name, inner in value.items()) or NOTHING
        )
    if isinstance(value, list | tuple):
        return ", ".join(show(inner, digits) for inner in value) or NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if value is None or isinstance(value, numbers.Real):
        return f"{value:.{digits}g}" if finite(value) else NOTHING
    return escape(value)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = (), kind: str = ""
) -> str:
    """Return a table of cells that are HTML already; the columns in `numeric` stand to the right."""
    right = set(numeric)

    def row(cells: Sequence[str], tag: str) -> str:
        marked = (f'<{tag} class="n">' if place in right else f"<{tag}>" for place in range(len(cells)))
        return "<tr>" + "".join(f"{m}{cell}</{tag}>" for m, cell in zip(marked, cells, strict=True)) + "</tr>"

    body = "".join(row(cells, "td") for cells in rows)
    css = f' class="{kind}"' if kind else ""
    return f"<table{css}><thead>{row(head, 'th')}</thead><tbody>{body}</tbody></table>"


def pairs(entries: dict[str, str]) -> str:
    """Return names with their values, side by side; the values are HTML already."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in entries.items())
    return f"<dl>{rows}</dl>"
