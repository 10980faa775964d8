"""Format numbers, metrics and parameters for people; a missing value is shown as a dash."""

from __future__ import annotations

import math
import numbers
import re
from typing import Any, TypeGuard

from continuous_training.evaluation.metrics import Interval

NOTHING = "–"
PERCENT_METRICS = frozenset(
    {"accuracy", "balanced_accuracy", "precision", "recall", "f1", "macro_f1", "top_5_accuracy"}
)
"""Metrics between 0 and 1 that are shown in percent."""
LOWER_IS_BETTER = frozenset({"rmse", "mae", "mse", "mape", "log_loss", "error", "loss", "brier"})
_LABELS = {
    "r2": "R²", "rmse": "RMSE", "mae": "MAE", "mse": "MSE", "mape": "MAPE",
    "f1": "F1", "macro_f1": "macro F1", "auc": "AUC", "roc_auc": "ROC AUC",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(:\d{2})?Z?")


def clean(value: object) -> str:
    """Return a value as text on one line, without the characters that HTML does not allow. Not escaped."""
    return " ".join(_CONTROL.sub("\ufffd", str(value)).split())


def short(value: object, length: int = 18) -> str:
    """Return a value as text of at most `length` characters. Not escaped."""
    text = clean(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def finite(value: object) -> TypeGuard[float]:
    """Return whether the value is a finite number."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def number(value: object) -> str:
    """Return a number with three or four significant digits; a dash for None, NaN and infinity."""
    if not finite(value):
        return NOTHING
    size = abs(value)
    if isinstance(value, numbers.Integral) or not size:
        text = f"{int(value):,}"
    elif size < 0.001 or size >= 1e7:
        text = f"{value:.2e}"
    else:
        text = f"{value:,.{_decimals(size)}f}"
    return text.replace("-", "−")


def real(value: object) -> str:
    """Return a number with decimals, even if it is an integer; a dash if it is not finite."""
    return number(float(value)) if finite(value) else NOTHING


def _decimals(size: float) -> int:
    return 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0


def label(metric: str) -> str:
    """Return the usual name of a metric. Not escaped."""
    return _LABELS.get(metric, clean(metric).replace("_", " "))


def metric_value(metric: str, value: object) -> str:
    """Return the value of a metric, in percent for `PERCENT_METRICS`."""
    if not finite(value):
        return NOTHING
    return f"{100 * value:.1f} %".replace("-", "−") if metric in PERCENT_METRICS else number(float(value))


def interval_text(metric: str, interval: Interval | None) -> str:
    """Return the ends of an interval, as "95.2 to 98.6 %"; a dash if an end is missing."""
    if interval is None or not (finite(interval.low) and finite(interval.high)):
        return NOTHING
    low, high = metric_value(metric, interval.low), metric_value(metric, interval.high)
    return f"{low.removesuffix(' %')} to {high}"


def change_text(metric: str, value: object) -> str:
    """Return an improvement with its sign, in percentage points for `PERCENT_METRICS`."""
    if not finite(value):
        return NOTHING
    text = f"{100 * value:.1f} points" if metric in PERCENT_METRICS else number(float(value))
    return ("+" if value > 0 else "") + text.replace("-", "−")


def improvement(metric: str, challenger: Interval | None, champion: Interval | None) -> float | None:
    """Return the challenger's improvement over the champion; None if a value is missing."""
    if challenger is None or champion is None or not (finite(challenger.value) and finite(champion.value)):
        return None
    return (challenger.value - champion.value) * (-1 if metric in LOWER_IS_BETTER else 1)


def share(value: object, total: float) -> str:
    """Return a part of a total in percent; a dash without a total."""
    return f"{100 * value / total:.1f} %" if finite(value) and total else NOTHING


def parameter_text(value: Any, digits: int = 10) -> str:
    """Return the value of a parameter or a note, with nested values on the same line. Not escaped.

    Numbers have no thousands separators, so that a reader can copy them into a command.
    """
    if isinstance(value, dict):
        entries = (f"{clean(name)} = {parameter_text(inner, digits)}" for name, inner in value.items())
        return ", ".join(entries) or NOTHING
    if isinstance(value, list | tuple):
        return ", ".join(parameter_text(inner, digits) for inner in value) or NOTHING
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if value is None or isinstance(value, numbers.Real):
        return f"{value:.{digits}g}" if finite(value) else NOTHING
    return clean(value) or NOTHING


def time_text(value: object) -> str:
    """Return an ISO 8601 time in UTC as "2026-03-01 06:00 UTC"; any other text unchanged. Not escaped."""
    match = _TIME.fullmatch(str(value or ""))
    return f"{match[1]} {match[2]} UTC" if match else clean(value or "") or NOTHING
