"""The model card for every outcome of a run."""

from __future__ import annotations

import re
from dataclasses import replace

from continuous_training.artifacts.golden_requests import GoldenRequest
from continuous_training.artifacts.measurements import SliceMetric
from continuous_training.report.model_card import render_card
from continuous_training.report.report_data import ReportData

from .sample_data import HOSTILE, changed, classification, dataset, empty_dataset, first, numbers, regression

EXAMPLE = GoldenRequest({"x": 1}, {"label": 2})


def card(data: ReportData, intended: str = "For tests.", limits: str = "No more.") -> str:
    return render_card(data, intended, limits, EXAMPLE)


def section(text: str, title: str) -> str:
    return text.partition(f"\n## {title}\n\n")[2].partition("\n\n## ")[0].strip()


def test_a_card_has_the_numbers_of_the_run() -> None:
    text = card(classification())
    title, introduction = text.split("\n\n")[:2]
    assert title == "# Model card: toy"
    run = "Run `toy-20260301`, 2026-03-01 06:00 UTC: **promoted**."
    assert introduction == f"Tells four things apart. {run}"
    quality = section(text, "Quality")
    assert "| metric | value | 95 % interval | champion v3 | 95 % interval |\n| --- |" in quality
    assert "| accuracy | 97.3 % | 95.2 to 98.6 % | 90.3 % | 87.0 to 93.0 % |" in quality
    assert "+7.0 points accuracy (+4.3 points to +9.8 points)" in quality
    assert quality.endswith("\n\n- accuracy is better by 7 points")
    assert "| class 0 | 70 | 96.0 % | 91.4 to 100.0 % | 91.0 % |" in section(text, "Slices")
    assert "| class 1 | 80 | 99.0 % | – | – |" in section(text, "Slices")
    assert "1,200 train, 300 holdout" in section(text, "Data")
    assert "| size | metres | 5.00 | 1.50 | 0 | 10.0 |" in section(text, "Data")
    assert "| size | 0.116 | moderate | KS 0.083 |" in section(text, "Drift since the champion's data")
    assert "- components: `32`" in section(text, "Training")
    assert section(text, "A request and its response") == '```json\n{"x": 1}\n{"label": 2}\n```'
    assert (section(text, "Intended use"), section(text, "Limits")) == ("For tests.", "No more.")


def test_the_card_of_a_first_model_has_no_champion_and_no_drift() -> None:
    text = card(first(classification()))
    assert "champion" not in section(text, "Quality")
    assert "Drift" not in text
    assert "| class 0 | 70 | 96.0 % | 91.4 to 100.0 % |" in text


def test_the_metrics_of_a_regression_are_not_in_percent() -> None:
    assert "| R² | 0.470 | 0.280 to 0.610 |" in card(regression())


def test_a_sample_is_marked() -> None:
    data = classification()
    assert "Sample data" not in card(data)
    assert "> **Sample data.**" in card(changed(data, dataset=replace(data.dataset, sample=True)))


def test_missing_values_are_left_out() -> None:
    empty = classification(
        dataset=empty_dataset(), slices={}, notes={}, parameters={}, champion_statistics={}
    )
    text = card(empty, "", "")
    assert "## Data" in text
    assert "- Source: `–`" in text
    for title in ("Intended use", "Limits", "Slices", "Training", "Drift"):
        assert f"## {title}" not in text


def test_hostile_text_is_escaped() -> None:
    hostile = classification(
        summary=HOSTILE, reasons=(HOSTILE, "a | b\n# c"), slices={HOSTILE: SliceMetric(1, 1.0)},
        dataset=replace(dataset(size=numbers(10, [5, 5])), source=HOSTILE + "`<b>`"),
    )  # fmt: skip
    text = card(hostile, HOSTILE, HOSTILE)
    assert "a \\| b \\# c" in text
    outside_code = re.sub(r"`[^`]*`", "", text)
    assert "<" not in outside_code
    assert all(line.count("|") >= 2 for line in text.splitlines() if line.startswith("|"))


def test_the_same_data_gives_the_same_text() -> None:
    assert card(classification()) == card(classification())
