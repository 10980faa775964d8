"""The model card of a run, in Markdown: what the model is for, how good it is, and what that rests on.

After Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019). Every number in it is the run's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from continuous_training.evaluation.drift import drift
from continuous_training.report.data_sections import MOST
from continuous_training.report.formatting import NOTHING, change, clean, label, measure, number, span
from continuous_training.report.page import moment
from continuous_training.report.report_data import Facts, Interval


def render_card(facts: Facts, intended: str, limits: str, example: dict[str, Any]) -> str:
    """Return the card; `intended` and `limits` are the workload's words, `example` a request and its answer.

    The same facts give the same text.
    """
    parts = [
        f"# Model card: {_text(facts.workload)}",
        f"{_text(facts.summary[:1].upper() + facts.summary[1:])}. Run `{clean(facts.run)}`, "
        f"{moment(facts.dataset.get('as_of'))}: **{_text(facts.verdict)}**.",
        _sample(facts),
        _section("Intended use", _text(intended)),
        _section("Limits", _text(limits)),
        _section("How good it is", _measured(facts)),
        _section("Groups of rows", _slices(facts)),
        _section("The data", _data(facts)),
        _section("Drift since the champion's data", _drift(facts)),
        _section("How it was made", _made(facts)),
        _section("A request and its answer", _example(example)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _sample(facts: Facts) -> str:
    if not facts.dataset.get("sample"):
        return ""
    return "> **Sample data.** The rows are a sample that comes with the code: this is a trial."


def _measured(facts: Facts) -> str:
    head = ["metric", "value", "95 % interval"]
    if facts.champion:
        head += [f"champion v{facts.champion.get('version')}", "95 % interval"]
    rows = []
    for name, found in facts.metrics.items():
        row = [label(name), measure(name, found.value), span(name, found)]
        if facts.champion:
            theirs = facts.champion_metrics.get(name)
            row += [measure(name, theirs and theirs.value), span(name, theirs)]
        rows.append(row)
    held = (facts.dataset.get("splits") or {}).get("holdout") or {}
    told = f"On {number(held.get('rows'))} rows that training did not see; intervals by the bootstrap."
    if facts.difference is not None:
        name, found = facts.primary, facts.difference
        told += (
            f" Against the champion on the same rows: {change(name, found.value)} {label(name)} "
            f"({change(name, found.low)} to {change(name, found.high)})."
        )
    reasons = "\n".join(f"- {_text(reason)}" for reason in facts.reasons)
    return f"{told}\n\n{_table(head, rows)}\n\nThe verdict's reasons:\n\n{reasons}"


def _slices(facts: Facts) -> str:
    if not facts.slices:
        return ""
    champion = ["champion"] if facts.champion else []
    rows = (
        [name, number(one.get("rows")), measure(facts.primary, one.get("value")), _ends(facts.primary, one)]
        + [measure(facts.primary, one.get("champion")) for _ in champion]
        for name, one in facts.slices.items()
    )
    return _table(["rows that are", "rows", label(facts.primary), "95 % interval", *champion], rows)


def _ends(metric: str, one: dict[str, Any]) -> str:
    if one.get("low") is None or one.get("high") is None:
        return NOTHING
    return span(metric, Interval(one["value"], one["low"], one["high"]))


def _data(facts: Facts) -> str:
    dataset, splits = facts.dataset, facts.dataset.get("splits") or {}
    counts = ", ".join(f"{number(splits[s].get('rows'))} {s}" for s in ("train", "holdout") if s in splits)
    told = [
        f"- Source: `{clean(dataset.get('source') or NOTHING)}`",
        f"- Rows: {counts}; split by `{clean(dataset.get('split_rule') or NOTHING)}`",
        f"- Fingerprint: `{clean(dataset.get('fingerprint') or NOTHING)}`",
    ]
    statistics = (splits.get("train") or {}).get("statistics") or {}
    schema = {column.get("name"): column for column in dataset.get("schema") or []}
    rows = []
    for name in [one for one in schema if one in statistics][:MOST]:
        one = statistics[name]
        moments = [number(one.get(key)) for key in ("mean", "std", "minimum", "maximum")]
        rows.append([name, schema[name].get("help") or "", *moments])
    table = _table(["column", "meaning", "mean", "deviation", "least", "most"], rows) if rows else ""
    return "\n".join(told) + (f"\n\n{table}" if table else "")


def _drift(facts: Facts) -> str:
    if not facts.champion or not facts.champion_statistics:
        return ""
    new = ((facts.dataset.get("splits") or {}).get("train") or {}).get("statistics") or {}
    found = drift(new, facts.champion_statistics)
    rows = (
        [one.column, f"{one.psi:.3f}", one.word, f"{one.test} {number(one.statistic)}", f"{one.p:.3g}"]
        for one in found[:MOST]
    )
    return _table(["column", "stability index", "", "test", "p"], rows) if found else ""


def _made(facts: Facts) -> str:
    pairs = [*facts.parameters.items(), *((f"{name} (learnt)", value) for name, value in facts.notes.items())]
    shown = ((name, f"`{json.dumps(value, ensure_ascii=False)}`") for name, value in pairs if value != "")
    return "\n".join(f"- {_text(name)}: {value}" for name, value in shown)


def _example(example: dict[str, Any]) -> str:
    asked, answered = (
        _short(json.dumps(example.get(key), ensure_ascii=False)) for key in ("request", "answer")
    )
    return f"```json\n{asked}\n{answered}\n```"


def _short(text: str) -> str:
    return text if len(text) <= 600 else f"{text[:600]} …"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_text(cell) for cell in line) + " |" for line in lines)


def _text(value: Any) -> str:
    """Return a value's text on one line, with nothing in it that Markdown or HTML would act on."""
    text = re.sub(r"([\\`*_|\[\]#])", r"\\\1", clean(value))
    return text.replace("<", "&lt;").replace(">", "&gt;")
