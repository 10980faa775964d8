"""Sections on the data: where the rows are from, what the columns look like, and how far they have moved."""

from __future__ import annotations

from typing import Any

from continuous_training.evaluation.drift import Drift, drift
from continuous_training.report import plots
from continuous_training.report.formatting import NOTHING, escape, finite, number, pairs, show, table
from continuous_training.report.report_data import Facts
from continuous_training.report.result_sections import captioned, section
from continuous_training.report.svg import CHALLENGER

MOST = 60
"""Columns in a table; a page of hundreds is read by nobody."""
BARS = 24
"""In a drawing as wide as a word."""
_DRIFT = "Drift since the champion"
_OTHERS = {
    "text": "length in characters",
    "bytes": "length in bytes",
    "characters": "kinds of characters, each text counted as one: ",
}


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
    return section("Data", pairs(told) + split_table)


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
    return section("Columns, rows learnt from", table(head, lines, range(3, 8), "dense") + more, 3)


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
    far, some = (words.count(word) or "none" for word in ("large", "moderate"))
    caption = (
        f"Of {len(words)} columns {far} moved far, and {some} moderately. "
        "Rows learnt from in this run, against those that the champion learnt from. Stable is also what "
        "chance explains: p of 0.05 or more in Kolmogorov and Smirnov's test (KS) for numbers, in "
        "chi-squared (χ²) for values." + besides
    )
    head = ["column", "index", "by chance", "test", "p", "", "mean then", "mean now"]
    body = table(head, map(_drift, found[:MOST]), (1, 2, 3, 4, 6, 7), "dense")
    return section(_DRIFT, captioned(plots.drift(found), caption) + body)


def _without(sentence: str) -> str:
    return section(_DRIFT, f"<p>{sentence}</p>")


def _drift(one: Drift) -> list[str]:
    word = f'<span class="word {one.word}"></span>{one.word}'
    return [
        escape(one.column),
        f"{one.psi:.3f}",
        f"{one.chance:.3f}",
        f"{one.test} {number(float(one.statistic))}",
        "&lt; 0.001" if one.p < 0.001 else f"{one.p:.3f}",
        word,
        number(one.old_mean),
        number(one.new_mean),
    ]


def _column(name: Any, schema: dict[str, Any], train: dict[str, Any], holdout: dict[str, Any]) -> list[str]:
    kind = str(train.get("kind") or schema.get("kind") or "")
    told = _OTHERS.get(kind, "") + (_shares(train.get("counts") or {}) if kind == "characters" else "")
    meaning = "; ".join(filter(None, [str(schema.get("help") or ""), told]))
    moments = [_float(train.get(key)) for key in ("mean", "std", "minimum", "maximum")]
    return [escape(name), escape(meaning), spark(train), *moments, _float(holdout.get("mean"))]


def spark(statistics: dict[str, Any]) -> str:
    """Draw a column's counts as bars of a word's height, from least to most; a dash without counts."""
    found = statistics.get("histogram") or list((statistics.get("counts") or {}).values())
    used = [place for place, times in enumerate(found) if finite(times) and times > 0]
    if not used:
        return NOTHING
    # The ends of a histogram are what is allowed; the reader looks for what is there.
    counts = _bars(found[used[0] : used[-1] + 1]) if "histogram" in statistics else found[:MOST]
    wide, most = min(110 / len(counts), 25), max(*counts, 1)
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{25 - 24 * times / most:.1f}" '
        f'width="{max(wide - 1, 0.8):.1f}" height="{24 * times / most + 1:.1f}"/>'
        for place, times in enumerate(counts)
    )
    told = f"counts from left to right: {show(counts)}"
    start = f'<svg class="spark" viewBox="0 0 110 26" role="img" aria-label="{told}" fill="{CHALLENGER}">'
    return f"{start}{bars}</svg>"


def _bars(counts: list[int]) -> list[int]:
    """Return neighbours taken together, so that no more than BARS are left."""
    each = -(-len(counts) // BARS)
    return [sum(counts[place : place + each]) for place in range(0, len(counts), each)]


def _shares(counts: dict[str, float]) -> str:
    """Return the largest shares in words: 'hangul 71 %, spaces 17 %'."""
    total = sum(counts.values()) or 1.0
    largest = sorted(counts.items(), key=lambda one: -one[1])[:5]
    return ", ".join(f"{name} {100 * times / total:.1f} %" for name, times in largest)


def _float(value: Any) -> str:
    return number(float(value)) if finite(value) else NOTHING


def _share(value: Any, total: int) -> str:
    return f"{100 * value / total:.1f} %" if finite(value) and total else NOTHING


def _code(value: Any) -> str:
    return f"<code>{escape(value)}</code>" if value not in (None, "") else NOTHING
