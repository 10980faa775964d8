"""The model card says what the run found, in every direction that a run can go."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from continuous_training.report.model_card import render_card

from .test_report import HOSTILE, classification, dataset, numbers, regression

EXAMPLE: dict[str, Any] = {"request": {"x": 1}, "answer": {"label": 2}}


def card(facts: Any, intended: str = "For tests.", limits: str = "No more.") -> str:
    return render_card(facts, intended, limits, EXAMPLE)


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n\n")[2].partition("\n\n## ")[0].strip()


def test_a_card_holds_the_runs_own_numbers() -> None:
    text = card(classification())
    assert text.startswith(
        "# Model card: toy\n\nTells four things apart. Run `toy-20260301`, 2026-03-01 06:00 UTC"
    )
    assert "| accuracy | 97.3 % | 95.2 to 98.6 % | 90.3 % | 87.0 to 93.0 % |" in section(
        text, "How good it is"
    )
    assert "+7.0 points accuracy (+4.3 points to +9.8 points)" in section(text, "How good it is")
    assert "- accuracy is better by 7 points" in section(text, "How good it is")
    assert "| class 0 | 70 | 96.0 % | 91.4 to 100.0 % | 91.0 % |" in section(text, "Groups of rows")
    assert "| class 1 | 80 | 99.0 % | – | – |" in section(text, "Groups of rows")
    assert "1,200 train, 300 holdout" in section(text, "The data")
    assert "| size | metres | 5.00 | 1.50 | 0 | 10.0 |" in section(text, "The data")
    assert "| size | 0.116 | moderate | KS 0.083 |" in section(text, "Drift since the champion's data")
    assert "- components: `32`" in section(text, "How it was made")
    assert section(text, "A request and its answer") == '```json\n{"x": 1}\n{"label": 2}\n```'
    assert (section(text, "Intended use"), section(text, "Limits")) == ("For tests.", "No more.")


def test_a_first_model_has_no_champion_and_no_drift() -> None:
    text = card(classification(champion=None, difference=None, champion_statistics=None))
    assert "champion" not in section(text, "How good it is")
    assert "Drift" not in text
    assert "| class 0 | 70 | 96.0 % | 91.4 to 100.0 % |" in text


def test_a_regression_keeps_its_units() -> None:
    assert "| R² | 0.470 | 0.280 to 0.610 |" in card(regression())


def test_a_sample_is_marked() -> None:
    facts = classification()
    assert "Sample data" not in card(facts)
    assert "> **Sample data.**" in card(replace(facts, dataset=facts.dataset | {"sample": True}))


def test_what_is_missing_is_left_out_and_what_is_hostile_is_text() -> None:
    empty = classification(dataset={}, slices={}, notes={}, parameters={}, champion_statistics={})
    assert "## The data" in card(empty, "", "")
    assert "## Limits" not in card(empty, "", "")
    hostile = classification(
        summary=HOSTILE, reasons=[HOSTILE, "a | b\n# c"], slices={HOSTILE: {"rows": 1, "value": 1.0}},
        dataset=dataset(size=numbers(10, [5, 5])) | {"source": HOSTILE},
    )  # fmt: skip
    text = card(hostile, HOSTILE, HOSTILE)
    assert "a \\| b \\# c" in text
    outside = re.sub(r"`[^`]*`", "", text)
    assert "<" not in outside
    assert all(line.count("|") >= 2 for line in text.splitlines() if line.startswith("|"))


def test_the_same_facts_give_the_same_text() -> None:
    assert card(classification()) == card(classification())
