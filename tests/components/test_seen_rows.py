"""evaluate: the number of holdout rows that the champion may have been trained on."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from components.evaluate.step import EvaluationResult
from components.split_sides import HOLDOUT, TRAIN, assign_sides
from continuous_training.artifacts.dataset import Dataset
from workloads.contract import GroupSplit, KeySplit, Split, TimeSplit

from .conftest import Line, Make
from .split_data import COLUMNS, in_batches, rows

BY_KEY = KeySplit()
SHOPS = 500
SEEN = "rows that the champion may have seen"


@pytest.fixture
def line(line: Line, make: Make) -> Line:
    """The steps for a workload with shops and dates."""
    line.workload = make(columns=COLUMNS, batches=in_batches(rows(shops=SHOPS)))
    return line


def promote(line: Line, split: Split = BY_KEY, **parameters: str) -> None:
    """Promote a poor first champion, trained with this split."""
    type(line.workload).split = split
    line.promote("champion", fence="65", **parameters)


def evaluate(line: Line, split: Split = BY_KEY, days: int = 100, **parameters: str) -> EvaluationResult:
    """Evaluate a better challenger on rows of the first `days` days, with this split."""
    type(line.workload).split = split
    batch = rows(1300, shops=SHOPS, days=130)
    type(line.workload).batches = in_batches(batch.slice(0, days * 10))
    line.train("challenger", **parameters)
    return line.evaluate("challenger")


def seen_rows(result: EvaluationResult) -> int:
    """Return the stored number, after a check that the decision and the report show it."""
    assert result.evaluation.champion is not None
    count = result.evaluation.champion.seen_rows
    assert count is not None
    notes = [check for check in result.decision.checks if check.name == SEEN]
    assert len(notes) == (1 if count else 0)
    assert all(f"{count:,} of the {result.evaluation.rows:,} holdout rows" in note.measured for note in notes)
    assert all(str(note) in result.evaluation.reasons for note in notes)
    assert (SEEN in result.report) == bool(count)
    return count


def holdout(line: Line) -> Any:
    return Dataset.open(line.folder / "challenger/data").read("holdout")


@pytest.mark.parametrize("split", [KeySplit(), GroupSplit("shop"), TimeSplit("date", "30d", "7d")])
def test_with_the_same_split_the_champion_has_seen_no_row(line: Line, split: Split) -> None:
    promote(line, split)
    result = evaluate(line, split)
    assert result.promoted
    assert seen_rows(result) == 0


def test_a_holdout_that_moves_forward_contains_no_row_that_the_champion_has_seen(line: Line) -> None:
    split = TimeSplit("date", "30d", "7d")
    promote(line, split)
    result = evaluate(line, split, days=120)
    assert seen_rows(result) == 0
    assert "they have changed since champion 1" in result.evaluation.reasons[-1]


@pytest.mark.parametrize(
    ("later", "days", "seen"),
    [
        # The champion was trained up to 2024-03-03, day 63 of 100.
        (TimeSplit("date", "60d", "7d"), 100, 230),
        (TimeSplit("date", "30d", "7d"), 80, 130),
    ],
)
def test_rows_before_the_end_of_the_champions_training_are_counted_exactly(
    line: Line, later: Split, days: int, seen: int
) -> None:
    promote(line, TimeSplit("date", "30d", "7d"))
    assert seen_rows(evaluate(line, later, days)) == seen
    assert sum(day <= "2024-03-03" for day in holdout(line)["date"].to_pylist()) == seen


def test_a_larger_share_holds_out_training_rows_of_the_champion(line: Line) -> None:
    promote(line)
    before = set(Dataset.open(line.folder / "champion/data").read("train")["id"].to_pylist())
    result = evaluate(line, test_size="0.5")
    assert seen_rows(result) == len(before & set(holdout(line)["id"].to_pylist())) > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (KeySplit(), GroupSplit("shop")),
        (GroupSplit("shop"), KeySplit()),
        (KeySplit(), TimeSplit("date", "30d")),
        (TimeSplit("date", "30d"), GroupSplit("shop")),
    ],
)
def test_after_another_kind_of_split_the_rows_of_the_champions_training_side_are_counted(
    line: Line, first: Split, second: Split
) -> None:
    promote(line, first)
    before = Dataset.open(line.folder / "champion/data")
    trained = set(before.read("train")["id"].to_pylist())
    result = evaluate(line, second)
    # Both datasets have the same rows, so the number is exact.
    assert seen_rows(result) == len(trained & set(holdout(line)["id"].to_pylist())) > 0
    (note,) = [check for check in result.decision.checks if check.name == SEEN]
    assert f"another split ({before.manifest.split_rule})" in note.measured
    assert "judged too strictly, never too leniently" in note.measured


def test_all_rows_count_if_the_split_of_the_champion_is_unknown(line: Line) -> None:
    sales = rows(shops=SHOPS)
    split = np.where(np.arange(1000) % 5 == 0, "holdout", "train").tolist()
    type(line.workload).batches = in_batches(sales.append_column("split", pa.array(split)))
    promote(line)
    result = evaluate(line, GroupSplit("shop"))
    assert seen_rows(result) == result.evaluation.rows
    assert "another split (the source's own)" in result.evaluation.reasons[-1]


@pytest.mark.parametrize(
    ("split", "stored"),
    [
        (KeySplit(), None),
        (GroupSplit("shop"), {"kind": "group", "column": "shop", "share": 0.2}),
        (
            TimeSplit("date", "30d", "7d"),
            {
                "kind": "time",
                "column": "date",
                "train_until": "2024-03-03T00:00:00Z",
                "holdout_after": "2024-03-10T00:00:00Z",
            },
        ),
    ],
)
def test_the_model_contains_the_split_unless_it_is_the_default(
    line: Line, split: Split, stored: dict[str, Any] | None
) -> None:
    promote(line, split)
    model = json.loads((line.folder / "champion/model/model.json").read_text())
    assert model["data"].get("split") == stored
    assert not {name for name in model["parameters"] if name.startswith("split_")}


def test_a_row_without_a_valid_time_counts_as_early(line: Line) -> None:
    promote(line, TimeSplit("date", "30d"))
    rule = Dataset.open(line.folder / "champion/data").manifest.split
    assert rule is not None
    batch = rows(3, date=["", "2024-03-10", "2024-03-11"])
    assert assign_sides(rule, batch).tolist() == [TRAIN, TRAIN, HOLDOUT]
