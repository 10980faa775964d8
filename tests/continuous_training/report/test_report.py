"""The HTML report for every outcome of a run."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from PIL import Image

from continuous_training.artifacts.bad_rows import BadRow, BadRowCounts
from continuous_training.artifacts.dataset_manifest import ColumnDescription, Overlap
from continuous_training.artifacts.evaluation import EvaluatedChampion, TrackingRun
from continuous_training.artifacts.measurements import SliceMetric
from continuous_training.artifacts.population import PopulationChange, ScoreChange
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.evaluation.check import Check
from continuous_training.evaluation.metrics import Interval
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.evaluation.worst_errors import Misclassification
from continuous_training.report.page import render_report
from continuous_training.report.report_data import ReportData

from .sample_data import (
    HOSTILE,
    changed,
    classification,
    dataset,
    empty_dataset,
    first,
    labels,
    numbers,
    regression,
)

VOID = {"meta", "br", "hr", "img", "input", "link"}
LOADING = {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form", "audio", "video"}


class Page(HTMLParser):
    """A parsed page; fails on tags that are not nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open_tags

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags, f"no open tag for </{tag}>"
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] not in ("style", "title"):
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def figures(self) -> list[str]:
        """The text alternatives of the plots."""
        return [a["aria-label"] or "" for tag, a in self.tags if tag == "svg" and a.get("class") == "figure"]


BOTH = pytest.mark.parametrize("make", [classification, regression])


def render(data: ReportData) -> Page:
    return Page(render_report(data))


@BOTH
def test_the_page_loads_and_runs_nothing(make: Callable[[], ReportData]) -> None:
    text = render_report(make())
    page = Page(text)
    assert not LOADING & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("href", "xlink:href", "src"):
                assert (value or "").startswith("#"), f"{tag} {name}={value}"
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    for reference in text.split("url(")[1:]:
        assert reference.startswith("#")


def misclassification(
    key: str = "row 7", predicted: str = "9", champion: str | None = "4", certainty: float | None = 0.9
) -> Misclassification:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    return Misclassification(key, "4", predicted, champion, certainty, image)


def test_misclassified_images_are_embedded_in_the_page() -> None:
    hostile = misclassification(key=HOSTILE, predicted=HOSTILE, certainty=None)
    page = render(classification(errors=[misclassification(), hostile]))
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images[0]["alt"] == "4 predicted as 9"
    assert len(images) == 2
    prefix = "data:image/png;base64,"
    for attributes in images:
        source = attributes["src"] or ""
        assert source.startswith(prefix)
        assert not any(name.startswith("on") for name in attributes)
        with Image.open(io.BytesIO(base64.b64decode(source[len(prefix) :]))) as image:
            assert (np.asarray(image) == misclassification().image).all()
    assert "row 7 certainty: 0.900 champion: 4" in page.text
    assert "2 of the" in page.text
    assert "the highest certainty first" in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert "Worst errors" not in render(classification()).text


def test_the_page_states_if_it_shows_all_errors() -> None:
    count = len(classification().predictions.wrong_rows())
    errors = [misclassification(champion=None, certainty=None)] * count
    page = render(first(classification(errors=errors)))
    assert f"All {count} rows of the holdout that the challenger misclassified." in page.text
    assert "champion: " not in page.text


@BOTH
def test_ids_are_unique_and_every_reference_has_a_target(make: Callable[[], ReportData]) -> None:
    text = render_report(make())
    tags = Page(text).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    references = {(a["xlink:href"] or "")[1:] for _, a in tags if "xlink:href" in a}
    references |= {part.split(")")[0][1:] for part in text.split("url(")[1:]}
    assert references <= set(ids)


@BOTH
def test_the_same_data_gives_the_same_bytes(make: Callable[[], ReportData]) -> None:
    import matplotlib

    text = render_report(make())
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        assert render_report(make()) == text


@BOTH
def test_drawing_does_not_change_the_settings_of_matplotlib(make: Callable[[], ReportData]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30}):
        render_report(make())
        assert matplotlib.rcParams["font.size"] == 30


def test_the_page_of_a_promoted_classification() -> None:
    page = render(classification())
    assert ("div", {"class": "badge promoted"}) in page.tags
    for text in (
        "toy", "✓ Promoted", "toy-20260301", "2026-03-01 06:00 UTC", "accuracy is better by 7 points",
        "97.3 %", "95.2 to 98.6 %", "90.3 %", "87.0 to 93.0 %", "+7.0 points", "champion v3", "9f2d81c4",
        "s3://bucket/rows-*.csv", "whole-print", "train-print", "holdout-print", "sha256(id) / 2^256 < 0.2",
        "1,200", "80.0 %", "metres", "accuracy 0.973 on 300 holdout rows at least 0.95 ✓ passed",
        "holdout rows 300 at least 200 ✓ passed", "must be above zero", "components", "32", "0.2", "false",
        "indexed",
    ):  # fmt: skip
        assert text in page.text, text
    starts = [alternative.split(":")[0].split(" over ")[0] for alternative in page.figures()]
    assert starts == [
        "Metrics on the holdout with 95 % intervals", "Challenger minus champion, accuracy",
        "Confusion matrix", "accuracy by slice", "Learning curve", "Population stability index by column",
    ]  # fmt: skip


def test_the_page_states_the_reason_of_the_training() -> None:
    data = classification()
    assert "Reason for the training" not in render_report(data)
    reasons = ("code: workloads/csv_reader.py", "packages: numpy 1 → 2")
    changed = replace(data, dataset=replace(data.dataset, reasons=reasons))
    assert "code: workloads/csv_reader.py; packages: numpy 1 → 2" in render_report(changed)


def test_the_page_of_a_rejected_regression() -> None:
    page = render(regression())
    assert ("div", {"class": "badge rejected"}) in page.tags
    for text in (
        "✕ Rejected", "R²", "0.470", "0.280 to 0.610", "RMSE lower is better", "+1.10", "−0.006 to +0.054",
        "not worse by more than 0.02 ✕ failed", "right of the margin", "actual progression",
        "predicted minus actual", "age = -0.036, bmi = 5.6",
    ):  # fmt: skip
        assert text in page.text, text
    assert "Learning curve" not in page.text
    assert any(figure.startswith("Predicted over actual for 88 rows") for figure in page.figures())


def test_every_check_of_the_gate_is_in_the_page() -> None:
    checks = [
        Check("passed check", "1", "at least 0", True),
        Check("failed check", "2", "at most 1", False),
        Check("note", "for information", "", True),
    ]
    text = render(classification(checks=checks)).text
    assert "passed check 1 at least 0 ✓ passed" in text
    assert "failed check 2 at most 1 ✕ failed" in text
    assert "note for information – –" in text


def test_every_condition_of_the_rule_is_in_the_page_of_a_first_model() -> None:
    """Guards and relative budgets are not checked without a champion."""
    rule = PromotionRule(
        "mse", 9.5, guards={"mae": 0.25}, slice_floor=20, slice_rows=15, minimum_rows=40, confidence=0.9,
        latency_ms=5, latency_ratio=1.5, size_mb=10, size_ratio=2,
    )  # fmt: skip
    text = render(first(regression(rule=rule.to_json()))).text
    for condition in (
        "MSE at most 9.5",
        "MSE against the champion better, at a confidence of 90 %",
        "MAE against the champion (guard) not worse by more than 0.25, at a confidence of 90 %",
        "holdout rows at least 40",
        "MSE in each slice of 15 rows or more at most 20",
        "request latency at most 5 ms",
        "request latency at most 1.5 times the champion's",
        "model size at most 10 MB",
        "model size at most 2 times the champion's",
    ):
        assert condition in text, condition
    margin = replace(rule, metric="r2", floor=0.2, superiority=False, margin=0.02).to_json()
    text = render(regression(rule=margin)).text
    assert "R² at least 0.2" in text
    assert "R² against the champion not worse by more than 0.02, at a confidence of 90 %" in text


@pytest.mark.parametrize(
    ("metric", "shown", "omitted"), [("mse", "slice 29", "slice 0"), ("r2", "slice 0", "slice 29")]
)
def test_too_many_slices_are_reduced_to_the_worst(metric: str, shown: str, omitted: str) -> None:
    slices = {f"slice {value}": SliceMetric(20, value / 100) for value in range(30)}
    rule = PromotionRule(metric, 1).to_json()
    metrics = {metric: Interval(0.1, 0.1, 0.1)}
    figure = render(regression(slices=slices, rule=rule, metrics=metrics)).figures()
    slices_figure = next(text for text in figure if "by slice" in text)
    assert f"{shown} " in slices_figure
    assert f"{omitted} " not in slices_figure


def test_the_deciding_interval_has_the_confidence_of_the_rule() -> None:
    data = classification()
    page = render(changed(data, bootstrap=replace(data.evaluation.bootstrap, confidence=0.9)))
    assert "90 % interval +4.3 points to +9.8 points" in page.text
    metrics, difference = page.figures()[:2]
    assert "90 % interval" in difference
    assert "95 % intervals" in metrics, "the rule does not change the confidence of the metrics"


@BOTH
def test_a_first_model_is_compared_with_the_floor(make: Callable[[], ReportData]) -> None:
    page = render(first(make()))
    for text in ("none: this is a first model", "floor;", "no earlier data to compare with", "no champion"):
        assert text in page.text, text
    assert "The deciding difference" not in page.text
    assert not any("stability" in figure or "minus champion" in figure for figure in page.figures())


def test_the_confusion_matrix_counts_actual_by_predicted_class() -> None:
    actual = np.array(["cat", "cat", "dog", "dog", "eel"])
    challenger = np.array(["cat", "dog", "dog", "dog", "cat"])
    page = render(
        classification(actual=actual, challenger=challenger, champion_predictions=actual, slices={})
    )
    matrix = next(figure for figure in page.figures() if figure.startswith("Confusion"))
    assert matrix == (
        "Confusion matrix: 2 of 5 rows wrong; cat predicted as dog 1 times, eel predicted as cat 1 times"
    )
    classes = next(figure for figure in page.figures() if "by slice" in figure)
    assert "cat 50.0 %, champion 100.0 %; dog 100.0 %, champion 100.0 %; eel 0.0 %" in classes


def test_labels_of_different_numeric_types_are_the_same_class() -> None:
    actual = np.array([1, 2, 10])
    same = actual.astype(np.float32)
    page = render(classification(actual=actual, challenger=same, champion_predictions=same, slices={}))
    assert any("0 of 3 rows wrong; no errors" in figure for figure in page.figures())


def test_many_classes_are_combined_and_many_slices_left_out() -> None:
    actual = np.arange(600) % 150
    text = render_report(
        classification(actual=actual, challenger=actual, champion_predictions=actual, slices={})
    )
    assert "others" in Page(text).text
    assert "126 best are left out" in Page(text).text
    assert len(text) < 150_000


def test_many_rows_are_thinned_out_in_plots() -> None:
    actual = np.linspace(0, 1, 50_000)
    text = render_report(regression(actual=actual, challenger=actual, champion_predictions=actual))
    assert "one row in 63" in Page(text).text
    assert len(text) < 250_000


@pytest.mark.parametrize("hostile", [HOSTILE, "]]> --> </style></svg></figure>", "' onload='x", "${title}"])
def test_hostile_text_is_escaped(hostile: str) -> None:
    statistics = {hostile: labels(1200, 600, 600), "size": numbers(1200, [600, 600])}
    manifest = replace(
        dataset(**statistics), source=hostile, as_of=hostile, split_rule=hostile, fingerprint=hostile,
        schema=(ColumnDescription(hostile, hostile, hostile),),
    )  # fmt: skip
    names = np.array([hostile[:40], "other"])[np.arange(300) % 2]
    data = classification(
        workload=hostile, summary=hostile, run=hostile, verdict=hostile, reasons=(hostile,),
        parameters={hostile: hostile, "nested": {hostile: [hostile]}}, notes={hostile: hostile},
        slices={hostile: SliceMetric(20, 0.9, 0.8)}, curve=[{"step": 1, hostile: 0.5}],
        metrics={hostile: Interval(0.5, 0.4, 0.6)}, dataset=manifest, champion_statistics=statistics,
        champion=EvaluatedChampion(hostile, hostile), checks=[Check(hostile, hostile, hostile, True)],
        rule={"metric": hostile, "floor": 0.1}, actual=names, challenger=names, champion_predictions=names,
        label_column=hostile, registry=TrackingRun(hostile, hostile),
    )  # fmt: skip
    text = render_report(data)
    page = Page(text)
    assert not LOADING & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert " ".join(hostile.replace("\x00", "\ufffd").replace("\ud800", "\ufffd").split()) in page.text
    text.encode("utf-8")


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_missing_number_is_a_dash(make: Callable[[], ReportData], bad: float) -> None:
    data = make()
    invalid = Interval(bad, bad, bad)
    data = changed(
        data, verdict="rejected", metrics=dict.fromkeys(data.evaluation.metrics, invalid), difference=invalid,
        champion=EvaluatedChampion("", ""), slices={"a": SliceMetric(3, bad)},
        parameters={"rate": bad, "none": None, "empty": ""}, notes={}, curve=[{"step": 1, "error": bad}],
        dataset=empty_dataset(), champion_statistics={},
    )  # fmt: skip
    page = render(data)
    assert "nan" not in page.text.lower().split()
    assert "inf" not in page.text.lower().split()
    assert "rate – none – empty –" in page.text
    assert "could not be computed" in page.text
    assert "are not known" in page.text


def test_predictions_that_are_not_finite_are_not_drawn() -> None:
    actual, challenger = np.arange(10.0), np.arange(10.0)
    challenger[3], actual[7] = np.nan, np.inf
    page = render(regression(actual=actual, challenger=challenger, champion_predictions=challenger))
    assert any(figure.startswith("Predicted over actual for 8 rows") for figure in page.figures())
    assert "no predictions to draw" in render(regression(challenger=np.full(88, np.nan))).text


@BOTH
def test_the_page_of_a_run_without_measurements(make: Callable[[], ReportData]) -> None:
    none = np.array([])
    data = changed(
        first(make()), actual=none, challenger=none, curve=[], metrics={}, slices={}, reasons=(),
        parameters={}, dataset=empty_dataset(), rule={}, checks=[],
    )  # fmt: skip
    assert "No metric was measured" in render(data).text


def test_the_primary_metric_need_not_be_the_first() -> None:
    metrics = {"log_loss": Interval(0.1, 0.05, 0.2), "accuracy": Interval(0.973, 0.95, 0.99)}
    assert "Challenger minus champion, accuracy" in render(classification(metrics=metrics)).figures()[1]


def test_the_page_shows_the_drift() -> None:
    page = render(classification())
    assert "Of 2 columns, none moved far and 1 moved moderately" in page.text
    assert any("size 0.116, moderate; label 0.000, stable" in figure for figure in page.figures())
    incomparable = classification(champion_statistics={"another": labels(10, 5, 5)})
    assert "No column has comparable statistics" in render(incomparable).text


def test_the_page_does_not_depend_on_colours() -> None:
    """Verdict and drift are also given as text and signs, and each plot has a text alternative."""
    page = render(classification())
    assert "✓ Promoted" in page.text
    assert "moderate" in page.text
    assert all(page.figures())


def test_the_fit_over_the_only_feature_is_drawn() -> None:
    data = regression()
    x = np.linspace(18, 42, len(data.predictions.actual))
    page = render(changed(data, feature=("bmi", x), challenger=10 * x - 100, label_column="progression"))
    (fit,) = [figure for figure in page.figures() if "over bmi" in figure]
    assert fit == "Predicted progression over bmi: from 80.0 to 320.0, for bmi from 18.0 to 42.0"
    assert "The fit over bmi" in page.text
    assert "The fit over" not in render(data).text


def test_the_champion_has_a_line_only_if_it_uses_the_same_feature() -> None:
    data = regression()
    x = np.repeat(np.linspace(18, 42, len(data.predictions.actual) // 2), 2)
    data = changed(data, feature=("bmi", x), challenger=10 * x)

    def has_champion_line(champion: Any) -> bool:
        text = render_report(changed(data, champion_predictions=champion))
        return ">champion<" in text.partition("The fit over bmi")[2].partition("</figure>")[0]

    assert has_champion_line(9 * x)
    assert not has_champion_line(9 * x + np.arange(len(x)) % 2)
    assert not has_champion_line(None)


def test_residuals_are_drawn() -> None:
    data = regression()
    count = len(data.predictions.actual)
    (residuals,) = [figure for figure in render(data).figures() if figure.startswith("Residuals")]
    assert f"Residuals of {count} rows: mean" in residuals
    actual, challenger = data.predictions.actual[:2], data.predictions.challenger[:2]
    few = changed(data, actual=actual, challenger=challenger, champion_predictions=None)
    assert not any(figure.startswith("Residuals") for figure in render(few).figures())


def test_a_report_on_many_rows_is_small_and_states_which_rows_it_draws() -> None:
    actual, challenger, x = np.random.default_rng(0).normal(size=(3, 100_000))
    data = changed(regression(), actual=actual, challenger=challenger, champion_predictions=challenger + 1)
    data = changed(data, feature=("bmi", x), label_column="progression")
    text = render_report(data)
    assert len(text) < 500_000
    page = Page(text)
    for title in ("Predicted over actual · one row in 125", "holdout · one row in 400"):
        assert title in page.text
    for title in ("Residuals over predicted · one row in 400", "Quantiles · one row in 400"):
        assert title in page.text
    assert "Predicted over actual for 100000 rows" in " ".join(page.figures())


@pytest.mark.parametrize("convert", [np.array, lambda labels: np.array([f"c{n}" for n in labels], object)])
def test_the_classes_of_many_rows_are_counted(convert: Callable[[list[int]], np.ndarray]) -> None:
    labels = np.arange(60_000) % 3
    wrong = np.where(np.arange(60_000) < 300, 2, labels)
    actual, challenger = convert(labels.tolist()), convert(wrong.tolist())
    data = classification(actual=actual, challenger=challenger, champion_predictions=actual, slices={})
    figures = " ".join(render(data).figures())
    assert "200 of 60000 rows wrong" in figures
    assert "99.5 %, champion 100.0 %" in figures


def test_the_data_checks_are_shown_in_plain_language() -> None:
    data = classification(label_column="label")
    manifest = dataset(label=labels(1200, 900, 300))
    checked = replace(manifest, overlap=Overlap(exact=6, near=9))
    text = render(changed(data, dataset=checked)).text
    assert "keys each of the 1,500 rows has a key of its own" in text
    assert (
        "equal rows 6 of 300 holdout rows (2.0 %) have the content of a training row; 3 more differ only in "
        "case and spaces"
    ) in text
    assert "class training rows share holdout rows share 0 900 75.0 % 900" in text
    clean_data = replace(manifest, overlap=Overlap(0, 0))
    text = render(changed(data, dataset=clean_data)).text
    assert "no holdout row has the content of a training row" in text
    assert "not counted in the data of this version" in render(changed(data, dataset=manifest)).text


def test_the_score_of_the_champion_is_shown_then_and_today() -> None:
    score = ScoreChange("accuracy", Interval(0.95, 0.9, 1.0), Interval(0.874, 0.8, 0.9), 0.076, 2.5)
    population = PopulationChange("3", 1500, 1400, score)
    text = render(changed(classification(), population=population)).text
    assert "champion's score accuracy 95.0 % when it was promoted, 87.4 % on today's holdout rows" in text
    assert "rows 1,500; 1,400 when it was promoted" in text


def test_bad_rows_are_counted_and_listed() -> None:
    counts = BadRowCounts({"missing value": 2, "not a number": 1}, 0.01, "sha")
    row = BadRow("a.csv", 83, "not a number", HOSTILE, "age")
    data = changed(classification(), dataset=replace(dataset(), bad_rows=counts), bad_rows=[row])
    page = render(data)
    assert (
        "rows set aside 3 of 1,503 (0.2 %; up to 1.0 % allowed): 2 missing value, 1 not a number" in page.text
    )
    assert "a.csv 83 age not a number" in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    none = changed(classification(), dataset=replace(dataset(), bad_rows=BadRowCounts({}, 0.0)))
    assert "rows set aside none (none allowed)" in render(none).text


def test_the_rows_in_the_gap_of_a_split_by_time_are_counted() -> None:
    data = changed(classification(), dataset=replace(dataset(), gap_rows=70))
    text = render(data).text
    assert "rows in the gap 70 of 1,570 (4.5 %), between training and holdout rows; not used" in text
    assert "rows in the gap" not in render(classification()).text


def test_files_that_were_not_read_and_those_without_a_length_are_listed() -> None:
    files = SourceFiles({"hidden": 2, "other": 1}, ("notes.md", "._a.csv"), ("https://host/a.csv",))
    text = render(changed(classification(), dataset=replace(dataset(), source_files=files))).text
    assert "files not read 2 hidden, 1 other (notes.md, ._a.csv, ...)" in text
    assert "completeness not known, because the server sent no length: https://host/a.csv" in text
    assert "files not read" not in render(classification()).text


def test_each_compared_column_has_the_histograms_of_both_datasets() -> None:
    page = render(classification())
    alternatives = [
        a["aria-label"] or "" for tag, a in page.tags if tag == "svg" and a.get("class") == "spark"
    ]
    compared = len(classification().evaluation.drift)
    assert compared > 0
    for name in ("champion:", "now:"):
        assert sum(text.startswith(name) for text in alternatives) == compared
