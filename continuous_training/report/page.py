"""The page: the verdict first, then what it rests on."""

from __future__ import annotations

import re
from importlib.resources import files
from string import Template

from continuous_training.report import data_sections, error_section, result_sections, rule_section, svg
from continuous_training.report.formatting import asked, change, escape, label, measure, number, pairs, span
from continuous_training.report.plots import champion_name
from continuous_training.report.report_data import Facts

_BADGES = {"promoted": ("✓", "Promoted"), "rejected": ("✕", "Rejected")}
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2})(:\d{2})?Z?")


def render(facts: Facts) -> str:
    """Return the report as one HTML file that loads nothing and runs nothing.

    The same facts give the same text. Every value is escaped, and what is missing is shown as a dash.
    """
    template = Template((files(__package__) / "page.html").read_text(encoding="utf-8"))
    with svg.style():
        sections = [
            _header(facts),
            result_sections.metrics(facts),
            result_sections.difference(facts),
            result_sections.predicted(facts),
            error_section.mistakes(facts),
            result_sections.learning(facts),
            data_sections.rows(facts),
            data_sections.columns(facts),
            data_sections.drifted(facts),
            rule_section.rule(facts),
            rule_section.parameters(facts),
            f"<footer>Run {escape(facts.run)} of {escape(facts.workload)}</footer>",
        ]
    title = f"{escape(facts.workload)}: {escape(facts.verdict)} · run {escape(facts.run)}"
    return template.substitute(title=title, body="\n".join(filter(None, sections)))


def _header(facts: Facts) -> str:
    sign, word = _BADGES.get(facts.verdict, ("", escape(facts.verdict)))
    known = facts.verdict if facts.verdict in _BADGES else ""
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in facts.reasons) or "<li>–</li>"
    champion = facts.champion or {}
    met = "none: this is a first model"
    if facts.champion is not None:
        met = f"{escape(champion_name(facts))} <code>{escape(str(champion.get('digest') or '')[:19])}</code>"
    told = {
        "Run": f"<code>{escape(facts.run)}</code>",
        "Logical time": moment(facts.dataset.get("as_of")),
        "Task": escape(facts.task),
        "Champion": met,
    }
    if facts.registry_run:
        told["MLflow run"] = f"<code>{escape(facts.registry_run)}</code>"
    return (
        f'<header><div class="top"><div><h1>{escape(facts.workload)}</h1>'
        f'<p class="lead">{escape(facts.summary)}</p>{_sample(facts)}</div>'
        f'<div class="badge {known}">{sign} {word}</div></div>'
        f'<ul class="reasons {known}">{reasons}</ul>{_tiles(facts)}'
        f'<div class="facts">{pairs(told)}</div></header>'
    )


def _sample(facts: Facts) -> str:
    if not facts.dataset.get("sample"):
        return ""
    rows = sum(split.get("rows") or 0 for split in (facts.dataset.get("splits") or {}).values())
    return f'<p class="sample"><b>Sample data.</b> {number(rows)} rows that come with the code: a trial.</p>'


def _tiles(facts: Facts) -> str:
    metric, better = facts.primary, facts.difference
    found, splits = facts.metrics.get(metric), facts.dataset.get("splits") or {}
    against = (change(metric, better and better.value), "against the champion")
    if facts.champion is None:
        against = (asked(metric, facts.rule.get("floor")), "floor to reach; no champion yet")
    tiles = [
        (measure(metric, found and found.value), f"{escape(label(metric))}, {span(metric, found)}"),
        against,
        (number((splits.get("train") or {}).get("rows")), "rows learnt from"),
        (number((splits.get("holdout") or {}).get("rows")), "rows held out to judge"),
    ]
    shown = "".join(f"<div><b>{value}</b><span>{words}</span></div>" for value, words in tiles)
    return f'<div class="tiles">{shown}</div>'


def moment(value: object) -> str:
    """Return a time in UTC as a reader writes it, escaped; what is no such time as it stands."""
    found = _TIME.fullmatch(str(value or ""))
    return f"{found[1]} {found[2]} UTC" if found else escape(value or "")
