"""The results of the data checks in plain language."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from continuous_training.artifacts.bad_rows import BadRowCounts
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.dataset_manifest import Overlap
from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.population import PopulationChange
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.report.formatting import clean, label, metric_value, number, share

MAX_CLASSES = 4
"""Classes that a line of text lists. With more classes, it names the rarest."""


def check_lines(checks: DataChecks) -> Iterator[tuple[str, str]]:
    """Yield the subject and the result of each check, without the classes."""
    yield "keys", f"each of the {number(sum(checks.rows.values()))} rows has a key of its own"
    yield "equal rows", _overlap(checks.overlap, checks.rows.get("holdout", 0))
    if checks.bad_rows is not None:
        yield "rows set aside", _bad_rows(checks.bad_rows, sum(checks.rows.values()))
    if checks.gap_rows:
        total = sum(checks.rows.values()) + checks.gap_rows
        part = f"{number(checks.gap_rows)} of {number(total)} ({share(checks.gap_rows, total)})"
        yield "rows in the gap", f"{part}, between training and holdout rows; not used"
    if checks.duplicates:
        yield "duplicates", f"{number(checks.duplicates)} rows are equal to earlier ones; not read again"
    if checks.source_files:
        yield from _source_files(checks.source_files)


def population_lines(change: PopulationChange) -> Iterator[tuple[str, str]]:
    """Yield the comparison with the data that the champion was promoted on: its score, and the rows."""
    if score := change.score:
        yield "champion's score", score_text(score.metric, score.promoted, score.today)
    if change.champion_rows is not None:
        yield "rows", f"{number(change.rows)}; {number(change.champion_rows)} when it was promoted"


def score_text(metric: str, promoted: Interval, today: Interval | None) -> str:
    """Return the champion's metric when it was promoted and today."""
    text = f"{label(metric)} {metric_value(metric, promoted.value)} when it was promoted"
    if today is None:
        return f"{text}; no later run has compared a model with it"
    return f"{text}, {metric_value(metric, today.value)} on today's holdout rows"


def class_text(checks: DataChecks) -> str:
    """Return the numbers of rows of each class, or of the rarest of many classes."""
    if len(checks.classes) <= MAX_CLASSES:
        return "; ".join(_class(checks.label, *item) for item in checks.classes.items())
    rarest = _class(checks.label, *min(checks.classes.items(), key=lambda item: min(item[1].values())))
    return f"{len(checks.classes)} values of {clean(checks.label)}; the rarest is {rarest}"


def _class(name: str, value: str, rows: Mapping[str, int]) -> str:
    train, holdout = (number(rows.get(split, 0)) for split in ("train", "holdout"))
    return f"{clean(name)} {clean(value)}: {train} training and {holdout} holdout rows"


def _bad_rows(counts: BadRowCounts, valid: int) -> str:
    limit = counts.limit
    allowed = (
        f"up to {share(limit, 1) if limit < 1 else number(int(limit))} allowed" if limit else "none allowed"
    )
    if not counts.rows:
        return f"none ({allowed})"
    total = counts.rows + valid
    part = f"{number(counts.rows)} of {number(total)} ({share(counts.rows, total)}; {allowed})"
    return f"{part}: {clean(counts)}"


def _source_files(files: SourceFiles) -> Iterator[tuple[str, str]]:
    if files.omitted:
        yield "files not read", clean(files.omitted_text)
    if files.incomplete:
        addresses = ", ".join(map(clean, files.incomplete))
        yield "completeness", f"not known, because the server sent no length: {addresses}"


def _overlap(overlap: Overlap | None, holdout: int) -> str:
    if overlap is None:
        return "not counted in the data of this version"
    if not overlap.near:
        return "no holdout row has the content of a training row"
    part = f"{number(overlap.exact)} of {number(holdout)} holdout rows ({share(overlap.exact, holdout)})"
    text = f"{part} have the content of a training row"
    if (near := overlap.near - overlap.exact) > 0:
        text += f"; {number(near)} more differ only in case and spaces"
    return text
