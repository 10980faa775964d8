"""The report: what a reader finds in it, in every direction that a run can go."""

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

from continuous_training.evaluation.drift import drift, psi
from continuous_training.report import Facts, Interval, render
from continuous_training.report.report_data import Mistake

VOID = {"meta", "br", "hr", "img", "input", "link"}
FETCHING = {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form", "audio", "video"}
HOSTILE = "<script>alert('x')</script><img src=x onerror=\"y\"> $body ${body} $x^2$ & \x00 \ud800 日本"


class Page(HTMLParser):
    """A parsed page; fails on a tag that is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def figures(self) -> list[str]:
        """The text alternatives of the drawn figures."""
        return [a["aria-label"] or "" for tag, a in self.tags if tag == "svg" and a.get("class") == "figure"]


def numbers(rows: int, histogram: list[int], mean: float = 5.0) -> dict[str, Any]:
    edges = np.linspace(0, 10, len(histogram) + 1).tolist()
    moments = {"mean": mean, "std": 1.5, "minimum": 0.0, "maximum": 10.0}
    return {"kind": "number", "rows": rows, **moments, "edges": edges, "histogram": histogram}


def labels(rows: int, *counts: int) -> dict[str, Any]:
    return {"kind": "integer", "rows": rows, "counts": {str(i): times for i, times in enumerate(counts)}}


def dataset(**columns: dict[str, Any]) -> dict[str, Any]:
    splits = {
        name: {"fingerprint": f"{name}-print", "rows": rows, "statistics": columns}
        for name, rows in (("train", 1200), ("holdout", 300))
    }
    return {
        "workload": "toy",
        "as_of": "2026-03-01T06:00:00Z",
        "fingerprint": "whole-print",
        "source": "s3://bucket/rows-*.csv",
        "split_rule": "sha256(id) / 2^256 < 0.2",
        "schema": [{"name": "size", "kind": "number", "help": "metres"}],
        "parameters": {},
        "splits": splits,
    }


def classification(**changes: Any) -> Facts:
    rng = np.random.default_rng(0)
    actual = rng.integers(0, 4, 300)
    ours, theirs = (np.where(rng.random(300) < p, actual, (actual + 1) % 4) for p in (0.97, 0.9))
    facts = Facts(
        workload="toy",
        summary="tells four things apart",
        task="classification",
        run="toy-20260301",
        verdict="promoted",
        reasons=["accuracy is better by 7 points"],
        rule={"metric": "accuracy", "floor": 0.95, "margin": 0.0, "superiority": True, "minimum_rows": 200}
        | {"slice_floor": 0.85, "slice_rows": 20},
        parameters={"components": 32, "test_size": 0.2, "source": "", "force": False},
        metrics={"accuracy": Interval(0.973, 0.952, 0.986)},
        champion={"version": "3", "digest": "9f2d81c4", "metrics": {"accuracy": Interval(0.903, 0.87, 0.93)}},
        difference=Interval(0.07, 0.043, 0.098),
        slices={
            "class 0": {"rows": 70, "value": 0.96, "champion": 0.91, "low": 0.914, "high": 1.0},
            "class 1": {"rows": 80, "value": 0.99, "champion": None},
        },
        curve=[{"step": 1, "error": 0.2}, {"step": 2, "error": 0.1}],
        notes={"indexed": 1200},
        dataset=dataset(size=numbers(1200, [300, 600, 300]), label=labels(1200, 300, 300, 300, 300)),
        champion_statistics={
            "size": numbers(900, [300, 300, 300], 4.2),
            "label": labels(900, 225, 225, 225, 225),
        },
        actual=actual,
        predicted=ours,
        champion_predicted=theirs,
    )  # fmt: skip
    return replace(facts, **changes)


def regression(**changes: Any) -> Facts:
    rng = np.random.default_rng(1)
    actual = rng.normal(150, 70, 88)
    facts = replace(
        classification(),
        task="regression",
        verdict="rejected",
        reasons=["chance cannot be ruled out"],
        rule={"metric": "r2", "floor": 0.2, "margin": 0.02, "superiority": False, "minimum_rows": 20},
        metrics={"r2": Interval(0.47, 0.28, 0.61), "rmse": Interval(54.3, 46.0, 63.1)},
        champion={
            "version": "12",
            "digest": "51ab",
            "metrics": {"r2": Interval(0.45, 0.24, 0.58), "rmse": Interval(55.4, 47.3, 64.2)},
        },
        difference=Interval(0.021, -0.006, 0.054),
        slices={},
        curve=[],
        notes={"intercept": -334.6, "slopes": {"age": -0.036, "bmi": 5.6}},
        actual=actual,
        predicted=actual + rng.normal(0, 40, 88),
        champion_predicted=actual + rng.normal(0, 50, 88),
        target="progression",
    )  # fmt: skip
    return replace(facts, **changes)


def first(facts: Facts) -> Facts:
    nothing = {"champion": None, "difference": None, "champion_statistics": None, "champion_predicted": None}
    alone = {name: one | {"champion": None} for name, one in facts.slices.items()}
    return replace(facts, slices=alone, **nothing)  # type: ignore[arg-type]


BOTH = pytest.mark.parametrize("make", [classification, regression])


@BOTH
def test_page_loads_and_runs_nothing(make: Callable[[], Facts]) -> None:
    text = render(make())
    page = Page(text)
    assert not FETCHING & {tag for tag, _ in page.tags}
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


def mistaken(**changes: Any) -> Mistake:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    return replace(Mistake("row 7", "4", "9", "4", 0.9, picture), **changes)


def test_mistakes_are_shown_as_pictures_in_the_page_itself() -> None:
    facts = classification(mistakes=[mistaken(), mistaken(key=HOSTILE, predicted=HOSTILE, certainty=None)])
    page = Page(render(facts))
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert pictures[0]["alt"] == "4 taken for 9"
    assert len(pictures) == 2
    start = "data:image/png;base64,"
    for attributes in pictures:
        assert (attributes["src"] or "").startswith(start)
        assert not any(name.startswith("on") for name in attributes)
        with Image.open(io.BytesIO(base64.b64decode((attributes["src"] or "")[len(start) :]))) as shown:
            assert (np.asarray(shown) == mistaken().picture).all()
    assert "row 7 sure: 0.900 champion: 4" in page.text
    assert "2 of the" in page.text
    assert "the surest first" in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert "Worst mistakes" not in render(classification())


def test_all_mistakes_of_a_first_model_are_told_as_all() -> None:
    wrong = int((classification().actual != classification().predicted).sum())
    facts = first(classification(mistakes=[mistaken(champion=None, certainty=None)] * wrong))
    page = Page(render(facts))
    assert f"All {wrong} rows of the holdout that the challenger took for something else." in page.text
    assert "champion: " not in page.text


@BOTH
def test_ids_are_unique_and_every_reference_has_its_target(make: Callable[[], Facts]) -> None:
    text = render(make())
    tags = Page(text).tags
    ids = [a["id"] for _, a in tags if "id" in a]
    assert len(ids) == len(set(ids))
    wanted = {(a["xlink:href"] or "")[1:] for _, a in tags if "xlink:href" in a}
    wanted |= {part.split(")")[0][1:] for part in text.split("url(")[1:]}
    assert wanted <= set(ids)


@BOTH
def test_same_facts_give_the_same_bytes(make: Callable[[], Facts]) -> None:
    import matplotlib

    before = render(make())
    with matplotlib.rc_context({"font.size": 30, "svg.fonttype": "path", "axes.grid": True}):
        assert render(make()) == before


@BOTH
def test_drawing_leaves_matplotlib_as_it_was(make: Callable[[], Facts]) -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 30}):
        render(make())
        assert matplotlib.rcParams["font.size"] == 30


def test_promoted_classification_tells_its_story() -> None:
    page = Page(render(classification()))
    assert ("div", {"class": "badge promoted"}) in page.tags
    for told in (
        "toy", "✓ Promoted", "toy-20260301", "2026-03-01 06:00 UTC", "accuracy is better by 7 points",
        "97.3 %", "95.2 to 98.6 %", "90.3 %", "87.0 to 93.0 %", "+7.0 points", "champion v3", "9f2d81c4",
        "s3://bucket/rows-*.csv", "whole-print", "train-print", "holdout-print", "sha256(id) / 2^256 < 0.2",
        "1,200", "80.0 %", "metres", "accuracy reaches 95 %", "above zero, with 95 % confidence",
        "accuracy reaches 85 % in every slice of 20 rows or more", "96.0 % in the worst", "200 rows or more",
        "components", "32", "0.2", "false", "indexed",
    ):  # fmt: skip
        assert told in page.text, told
    starts = [alternative.split(":")[0].split(" over ")[0] for alternative in page.figures()]
    assert starts == [
        "Metrics on the holdout with 95 % intervals", "Challenger minus champion, accuracy",
        "Confusion matrix", "accuracy by slice", "Learning curve", "Population stability index by column",
    ]  # fmt: skip


def test_rejected_regression_tells_its_story() -> None:
    page = Page(render(regression()))
    assert ("div", {"class": "badge rejected"}) in page.tags
    for told in (
        "✕ Rejected", "R²", "0.470", "0.280 to 0.610", "RMSE lower is better", "+1.10", "−0.006 to +0.054",
        "not worse than the champion by more than 0.02", "margin", "actual progression",
        "predicted minus actual", "age = -0.036, bmi = 5.6",
    ):  # fmt: skip
        assert told in page.text, told
    assert "Learning curve" not in page.text
    assert any(figure.startswith("Predicted over actual for 88 rows") for figure in page.figures())


@BOTH
def test_first_model_is_set_against_the_floor_alone(make: Callable[[], Facts]) -> None:
    page = Page(render(first(make())))
    for told in (
        "none: this is a first model",
        "floor to reach",
        "no earlier data to compare with",
        "no champion",
    ):
        assert told in page.text, told
    assert "The difference that decides" not in page.text
    assert not any("stability" in figure or "minus champion" in figure for figure in page.figures())


def test_confusion_matrix_counts_what_was_taken_for_what() -> None:
    actual = np.array(["cat", "cat", "dog", "dog", "eel"])
    predicted = np.array(["cat", "dog", "dog", "dog", "cat"])
    page = Page(
        render(classification(actual=actual, predicted=predicted, slices={}, champion_predicted=actual))
    )
    matrix = next(figure for figure in page.figures() if figure.startswith("Confusion"))
    assert (
        matrix == "Confusion matrix: 2 of 5 rows wrong; cat taken for dog 1 times, eel taken for cat 1 times"
    )
    classes = next(figure for figure in page.figures() if "by slice" in figure)
    assert "cat 50.0 %, champion 100.0 %; dog 100.0 %, champion 100.0 %; eel 0.0 %" in classes


def test_whole_numbers_are_one_class_whatever_their_type() -> None:
    actual = np.array([1, 2, 10])
    same = actual.astype(np.float32)
    page = Page(render(classification(actual=actual, predicted=same, champion_predicted=same, slices={})))
    assert any("0 of 3 rows wrong; no mistakes" in figure for figure in page.figures())


def test_many_classes_and_slices_keep_the_page_small() -> None:
    actual = np.arange(600) % 150
    text = render(classification(actual=actual, predicted=actual, champion_predicted=actual, slices={}))
    assert "others" in Page(text).text
    assert "126 best are left out" in Page(text).text
    assert len(text) < 150_000


def test_many_rows_keep_the_page_small() -> None:
    actual = np.linspace(0, 1, 50_000)
    text = render(regression(actual=actual, predicted=actual, champion_predicted=actual))
    assert "one row in 63" in Page(text).text
    assert len(text) < 250_000


@pytest.mark.parametrize("hostile", [HOSTILE, "]]> --> </style></svg></figure>", "' onload='x", "${title}"])
def test_hostile_texts_are_shown_and_not_acted_on(hostile: str) -> None:
    statistics = {hostile: labels(1200, 600, 600), "size": numbers(1200, [600, 600])}
    told = dataset(**statistics) | {
        "source": hostile,
        "as_of": hostile,
        "split_rule": hostile,
        "fingerprint": hostile,
    }
    told["schema"] = [{"name": hostile, "kind": hostile, "help": hostile}]
    names = np.array([hostile[:40], "other"])[np.arange(300) % 2]
    facts = classification(
        workload=hostile, summary=hostile, run=hostile, verdict=hostile, reasons=[hostile],
        parameters={hostile: hostile, "nested": {hostile: [hostile]}}, notes={hostile: hostile},
        slices={hostile: {"rows": 20, "value": 0.9, "champion": 0.8}}, curve=[{"step": 1, hostile: 0.5}],
        metrics={hostile: Interval(0.5, 0.4, 0.6)}, dataset=told, champion_statistics=statistics,
        champion={"version": hostile, "digest": hostile, "metrics": {}},
        rule={"metric": hostile, "floor": 0.1}, actual=names, predicted=names, champion_predicted=names,
        target=hostile,
    )  # fmt: skip
    text = render(facts)
    page = Page(text)
    assert not FETCHING & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert " ".join(hostile.replace("\x00", "\ufffd").replace("\ud800", "\ufffd").split()) in page.text
    text.encode("utf-8")


@BOTH
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_shown_as_a_dash(make: Callable[[], Facts], bad: float) -> None:
    facts = make()
    broken = Interval(bad, bad, bad)
    facts = replace(
        facts, verdict="rejected", metrics=dict.fromkeys(facts.metrics, broken), difference=broken,
        champion={"version": None, "digest": None, "metrics": {}}, slices={"a": {"rows": 3, "value": bad}},
        parameters={"rate": bad, "none": None, "empty": ""}, notes={}, curve=[{"step": 1, "error": bad}],
        dataset={}, champion_statistics={},
    )  # fmt: skip
    page = Page(render(facts))
    assert "nan" not in page.text.lower().split()
    assert "inf" not in page.text.lower().split()
    assert "rate – none – empty –" in page.text
    assert "could not be computed" in page.text
    assert "are not known" in page.text


def test_predictions_that_are_no_numbers_are_left_out_of_the_drawing() -> None:
    actual, predicted = np.arange(10.0), np.arange(10.0)
    predicted[3], actual[7] = np.nan, np.inf
    page = Page(render(regression(actual=actual, predicted=predicted, champion_predicted=predicted)))
    assert any(figure.startswith("Predicted over actual for 8 rows") for figure in page.figures())
    nothing = np.full(88, np.nan)
    assert "no predictions to draw" in Page(render(regression(predicted=nothing))).text


@BOTH
def test_a_run_that_measured_nothing_still_has_a_page(make: Callable[[], Facts]) -> None:
    none = np.array([])
    empty: dict[str, Any] = {
        "metrics": {},
        "slices": {},
        "reasons": [],
        "parameters": {},
        "dataset": {},
        "rule": {},
    }
    facts = replace(first(make()), actual=none, predicted=none, curve=[], **empty)
    assert "Nothing was measured" in Page(render(facts)).text


def test_the_deciding_metric_need_not_be_the_first() -> None:
    metrics = {"log_loss": Interval(0.1, 0.05, 0.2), "accuracy": Interval(0.973, 0.95, 0.99)}
    page = Page(render(classification(metrics=metrics)))
    assert "Challenger minus champion, accuracy" in page.figures()[1]


def test_psi_of_known_shares() -> None:
    # (0.5 - 0.25) ln 2 + (0.5 - 0.75) ln(2/3)
    assert psi(np.array([50, 50]), np.array([25, 75])) == pytest.approx(0.25 * math.log(3))
    assert psi(np.array([10, 0, 30]), np.array([100, 0, 300])) == pytest.approx(0.0)
    # An empty bin holds half a row: shares 100/100.5 and 0.5/100.5 against a half each.
    p = np.array([100, 0.5]) / 100.5
    expected = ((p - 0.5) * np.log(p / 0.5)).sum()
    assert psi(np.array([100, 0]), np.array([50, 50])) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("new", "word"), [((50, 50), "stable"), ((40, 60), "stable"), ((34, 66), "moderate"), ((20, 80), "large")]
)
def test_drift_in_a_word(new: tuple[int, int], word: str) -> None:
    (found,) = drift({"label": labels(100, *new)}, {"label": labels(100, 50, 50)})
    assert found.word == word
    assert found.chance == pytest.approx(0.02)


def test_drift_is_sorted_and_leaves_out_what_was_counted_otherwise() -> None:
    new = {
        "still": numbers(100, [50, 50]),
        "moved": numbers(100, [90, 10], 2.0),
        "other bins": numbers(100, [50, 25, 25]),
        "uncounted": {"kind": "text", "rows": 100, "mean": 8.0},
        "empty": numbers(0, [0, 0]),
        "appeared": numbers(100, [50, 50]),
    }
    old = {name: numbers(100, [50, 50], 4.0) for name in new if name != "appeared"}
    found = drift(new, old)
    assert [one.column for one in found] == ["moved", "still"]
    assert (found[0].old_mean, found[0].new_mean) == (4.0, 2.0)


def test_a_value_that_is_new_counts_as_drift() -> None:
    (found,) = drift({"label": labels(100, 40, 40, 20)}, {"label": labels(100, 50, 50)})
    assert found.word == "large"


def test_drift_is_told_in_the_page() -> None:
    page = Page(render(classification()))
    assert "Of 2 columns none moved far, and 1 moderately" in page.text
    assert any("size 0.116, moderate; label 0.000, stable" in figure for figure in page.figures())
    alone = classification(champion_statistics={"another": labels(10, 5, 5)})
    assert "No column was counted alike" in Page(render(alone)).text


def test_readable_where_there_are_no_colours() -> None:
    """Verdict and drift are told in words and signs too, and each figure in a text."""
    page = Page(render(classification()))
    assert "✓ Promoted" in page.text
    assert "moderate" in page.text
    assert all(page.figures())


def test_a_fit_over_one_feature_is_drawn_with_the_models_line() -> None:
    facts = regression()
    x = np.linspace(18, 42, len(facts.actual))
    page = Page(render(replace(facts, feature=("bmi", x), predicted=10 * x - 100, target="progression")))
    (told,) = [figure for figure in page.figures() if "over bmi" in figure]
    assert told == "Predicted progression over bmi: from 80.0 to 320.0, for bmi from 18.0 to 42.0"
    assert "The fit over bmi" in page.text
    assert "The fit over" not in Page(render(facts)).text


def test_the_champion_has_a_line_only_where_it_looks_at_the_same_feature() -> None:
    facts = regression()
    x = np.repeat(np.linspace(18, 42, len(facts.actual) // 2), 2)
    facts = replace(facts, feature=("bmi", x), predicted=10 * x)

    def named(theirs: Any) -> bool:
        text = render(replace(facts, champion_predicted=theirs))
        return ">champion<" in text.partition("The fit over bmi")[2].partition("</figure>")[0]

    assert named(9 * x)
    assert not named(9 * x + np.arange(len(x)) % 2)
    assert not named(None)


def test_residuals_are_drawn_and_told() -> None:
    facts = regression()
    left = facts.actual - facts.predicted
    (told,) = [figure for figure in Page(render(facts)).figures() if figure.startswith("Residuals")]
    assert f"Residuals of {len(left)} rows: mean" in told
    few = replace(facts, actual=facts.actual[:2], predicted=facts.predicted[:2], champion_predicted=None)
    assert not any(figure.startswith("Residuals") for figure in Page(render(few)).figures())
    many = np.random.default_rng(0).normal(size=(2, 50_000))
    large = render(replace(facts, actual=many[0], predicted=many[1], champion_predicted=None))
    assert len(large) < 2_000_000
