"""Sections on the data: where the rows are from, what the columns look like, and how far they have moved."""

from __future__ import annotations

from typing import Any

from . import figures
from .drift import Drift, drift
from .facts import Facts
from .outcome import captioned
from .svg import CHALLENGER
from .text import NOTHING, escape, finite, number, pairs, show, table

MOST = 60
"""Columns in a table; a page of hundreds is read by nobody."""
_OTHERS = {"text": "length in characters", "bytes": "length in bytes"}


def rows(facts: Facts) -> str:
    """Return where the rows come from, and how many each split has."""
    dataset, splits = facts.dataset, facts.dataset.get("splits") or {}
    told = {
        "Source": _code(dataset.get("source")),
        "Split rule": _code(dataset.get("split_rule")),
        "Fingerprint": _code(dataset.get("fingerprint")),
    }
    total = sum(split.get("rows") or 0 for split in splits.values())
    lines = (
        [
            escape(name),
            number(split.get("rows")),
            _share(split.get("rows"), total),
            _code(split.get("fingerprint")),
        ]
        for name, split in sorted(splits.items(), reverse=True)
    )
    split_table = table(["split", "rows", "share", "fingerprint"], lines, (1, 2), "dense") if splits else ""
    return f"<section><h2>Data</h2>{pairs(told)}{split_table}</section>"


def columns(facts: Facts) -> str:
    """Return the statistics of each column, of the rows learnt from and of those held out."""
    splits = facts.dataset.get("splits") or {}
    train, holdout = ((splits.get(name) or {}).get("statistics") or {} for name in ("train", "holdout"))
    if not train:
        return ""
    schema = {column.get("name"): column for column in facts.dataset.get("schema") or []}
    names = [name for name in schema if name in train] + sorted(name for name in train if name not in schema)
    head = ["column", "meaning", "distribution", "mean", "deviation", "least", "most", "mean held out"]
    lines = (
        _column(name, schema.get(name) or {}, train[name], holdout.get(name) or {}) for name in names[:MOST]
    )
    more = f'<p class="note">And {len(names) - MOST} columns more.</p>' if len(names) > MOST else ""
    return f"<section><h3>Columns, rows learnt from</h3>{table(head, lines, range(3, 8), 'dense')}{more}</section>"


def drifted(facts: Facts) -> str:
    """Return how far the data has moved since the champion's, or a sentence why that cannot be told."""
    new = ((facts.dataset.get("splits") or {}).get("train") or {}).get("statistics") or {}
    if facts.champion is None:
        return _without("There is no champion yet, so there is no earlier data to compare with.")
    if not facts.champion_statistics:
        return _without("The statistics of the rows that the champion learnt from are not known.")
    found = drift(new, facts.champion_statistics)
    if not found:
        return _without("No column was counted alike in this data and in the champion's.")
    left = sorted(new.keys() - {one.column for one in found})
    besides = (
        f" Not compared, for want of counts on both sides: {', '.join(map(escape, left))}." if left else ""
    )
    words = [one.word for one in found]
    caption = (
        f"{words.count('large')} of {len(words)} columns have moved far, {words.count('moderate')} moderately. "
        "Rows learnt from in this run, against those that the champion learnt from." + besides
    )
    head = ["column", "index", "by chance", "", "mean then", "mean now"]
    body = table(head, map(_drift, found[:MOST]), (1, 2, 4, 5), "dense")
    return f"<section><h2>Drift since the champion</h2>{captioned(figures.drift(found), caption)}{body}</section>"


def _without(sentence: str) -> str:
    return f"<section><h2>Drift since the champion</h2><p>{sentence}</p></section>"


def _drift(one: Drift) -> list[str]:
    word = f'<span class="word {one.word}"></span>{one.word}'
    return [
        escape(one.column),
        f"{one.psi:.3f}",
        f"{one.chance:.3f}",
        word,
        number(one.old_mean),
        number(one.new_mean),
    ]


def _column(name: Any, schema: dict[str, Any], train: dict[str, Any], holdout: dict[str, Any]) -> list[str]:
    kind = str(train.get("kind") or schema.get("kind") or "")
    meaning = "; ".join(filter(None, [str(schema.get("help") or ""), _OTHERS.get(kind, "")]))
    moments = [_float(train.get(key)) for key in ("mean", "std", "minimum", "maximum")]
    return [escape(name), escape(meaning), spark(train), *moments, _float(holdout.get("mean"))]


def spark(statistics: dict[str, Any]) -> str:
    """Draw a column's counts as bars of a word's height, from its least to its most; a dash without counts."""
    counts = [
        float(x)
        for x in statistics.get("histogram") or (statistics.get("counts") or {}).values()
        if finite(x)
    ]
    used = [place for place, times in enumerate(counts) if times > 0]
    if not used:
        return NOTHING
    if "histogram" in statistics:
        counts = counts[used[0] : used[-1] + 1]
    wide, most = 110 / len(counts), max(counts)
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{25 - 24 * times / most:.1f}" '
        f'width="{max(min(wide - 1, 24), 0.8):.1f}" height="{24 * times / most + 1:.1f}"/>'
        for place, times in enumerate(counts[:100])
    )
    told = f"counts from left to right: {show([int(times) for times in counts[:100]])}"
    return f'<svg class="spark" viewBox="0 0 110 26" role="img" aria-label="{told}" fill="{CHALLENGER}">{bars}</svg>'


def _float(value: Any) -> str:
    return number(float(value)) if finite(value) else NOTHING


def _share(value: Any, total: int) -> str:
    return f"{100 * value / total:.1f} %" if finite(value) and total else NOTHING


def _code(value: Any) -> str:
    return f"<code>{escape(value)}</code>" if value not in (None, "") else NOTHING
