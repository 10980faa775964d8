"""prep-data: splits by group and by time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.prep_data.step import run
from components.split_sides import parse_times
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.errors import UserError
from workloads.contract import GroupSplit, KeySplit, Split, TimeSplit, Workload
from workloads.validation import check_workload

from .split_data import rows, workload

Make = Callable[..., Workload]
Prepare = Callable[..., Dataset]
BY_KEY = KeySplit()
SHOP, DATE = GroupSplit("shop"), TimeSplit("date")
DAY = "2024-01-01"
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def prepare(make: Make, tmp_path: Path) -> Prepare:
    """Return a function that prepares rows with a split and run parameters."""

    def dataset(batch: pa.RecordBatch, split: Split = BY_KEY, **parameters: Any) -> Dataset:
        run(workload(make, batch, split=split), parameters, tmp_path / "data")
        return Dataset.open(tmp_path / "data")

    return dataset


def sides(dataset: Dataset, column: str) -> tuple[set[Any], set[Any]]:
    """Return the distinct values of a column in the training rows and in the holdout."""
    train, holdout = (set(dataset.read(split)[column].to_pylist()) for split in ("train", "holdout"))
    return train, holdout


@pytest.mark.parametrize(
    ("split", "parameters"), [(GroupSplit("shop"), {}), (KeySplit(), {"split_group": "shop"})]
)
def test_all_rows_of_a_group_are_on_one_side(
    prepare: Prepare, split: Split, parameters: dict[str, str]
) -> None:
    dataset = prepare(rows(), split, **parameters)
    train, holdout = sides(dataset, "shop")
    assert len(train | holdout) == 50
    assert not train & holdout
    assert 3 < len(holdout) < 20
    assert dataset.manifest.train.rows + dataset.manifest.holdout.rows == 1000
    assert dataset.manifest.split_rule == "sha256(shop) / 2^256 < 0.2"
    assert dataset.manifest.split == SplitRule("group", "shop", 0.2)


def test_a_run_parameter_replaces_the_split_of_the_workload(prepare: Prepare) -> None:
    dataset = prepare(rows(), GroupSplit("shop"), split_group="")
    train, holdout = sides(dataset, "shop")
    assert train & holdout
    assert dataset.manifest.split == SplitRule("key", "id", 0.2)


@SLOW
@given(
    shops=st.lists(st.sampled_from([f"shop {n}" for n in range(40)]), min_size=200, max_size=300),
    added=st.lists(st.sampled_from([f"shop {n}" for n in range(60)]), max_size=100),
)
def test_added_rows_never_move_a_group(prepare: Prepare, shops: list[str], added: list[str]) -> None:
    def split(names: list[str]) -> tuple[set[Any], set[Any]]:
        return sides(prepare(rows(len(names), shop=names), GroupSplit("shop"), test_size=0.5), "shop")

    # Forty shops that are always in the data give rows on both sides.
    base = [f"shop {n}" for n in range(40)] * 5 + shops
    train, holdout = split(base)
    later_train, later_holdout = split(base + added)
    assert not train & holdout
    assert train <= later_train
    assert holdout <= later_holdout
    assert not later_train & later_holdout


@pytest.mark.parametrize("column", ["date", "seconds"])
def test_the_latest_rows_are_held_out_and_the_rows_in_the_gap_are_counted(
    prepare: Prepare, column: str
) -> None:
    dataset = prepare(rows(), TimeSplit(column, holdout="30d", gap="7d"))
    train, holdout = sides(dataset, "date")
    # The latest of 100 days is 2024-04-09.
    assert (min(holdout), max(holdout), len(holdout)) == ("2024-03-11", "2024-04-09", 30)
    assert (min(train), max(train), len(train)) == ("2024-01-01", "2024-03-03", 63)
    manifest = dataset.manifest
    assert (manifest.train.rows, manifest.holdout.rows, manifest.gap_rows) == (630, 300, 70)
    assert manifest.split == SplitRule(
        "time", column, train_until="2024-03-03T00:00:00Z", holdout_after="2024-03-10T00:00:00Z"
    )
    assert manifest.split_rule == f"{column} after 2024-03-10T00:00:00Z; training up to 2024-03-03T00:00:00Z"
    assert column not in manifest.train.statistics
    assert "x" in manifest.train.statistics


def test_without_a_period_the_share_of_the_latest_rows_is_held_out(prepare: Prepare) -> None:
    dataset = prepare(rows(), split_time="date", test_size="0.25")
    train, holdout = sides(dataset, "date")
    assert (dataset.manifest.train.rows, dataset.manifest.holdout.rows) == (750, 250)
    assert max(train) < min(holdout)
    assert dataset.manifest.gap_rows == 0
    assert dataset.manifest.split_rule == "date after 2024-03-15T00:00:00Z"


@SLOW
@given(
    seconds=st.lists(st.integers(0, 100 * 86400), min_size=120, max_size=300, unique=True),
    days=st.integers(1, 30),
    gap=st.integers(0, 20),
    by_share=st.booleans(),
)
def test_each_holdout_time_is_a_gap_after_each_training_time(
    prepare: Prepare, seconds: list[int], days: int, gap: int, by_share: bool
) -> None:
    times = [*seconds, 0, 100 * 86400]
    batch = rows(len(times), seconds=times, label=[n % 2 for n in range(len(times))])
    split = TimeSplit("seconds", "" if by_share else f"{days}d", f"{gap}d" if gap else "")
    try:
        dataset = prepare(batch, split)
    except UserError:
        # Random times may leave a side without rows of a label.
        return
    train, holdout = (dataset.read(side)["seconds"].to_numpy() for side in ("train", "holdout"))
    assert holdout.min() - train.max() > gap * 86400
    assert len(train) + len(holdout) + dataset.manifest.gap_rows == len(times)
    if not by_share:
        assert set(holdout) == {t for t in times if t > 100 * 86400 - days * 86400}


def test_times_with_and_without_an_offset_are_compared_in_utc(prepare: Prepare) -> None:
    batch = rows(date=["2024-01-01 00:00"] * 700 + ["2024-01-02T00:30:00+09:00"] * 300)
    dataset = prepare(batch, TimeSplit("date", holdout="15h"))
    # 00:30 in +09:00 is 15:30 of the day before in UTC.
    assert dataset.manifest.split_rule == "date after 2024-01-01T00:30:00Z"
    assert dataset.manifest.holdout.rows == 300


@pytest.mark.parametrize(
    ("split", "changes", "message"),
    [
        (SHOP, {"shop": ["a"] * 150 + [" "] + ["b"] * 849}, "row 151, column shop: ' ' is an empty group"),
        (SHOP, {"shop": ["a"] * 150 + [None] + ["b"] * 849}, "row 151, column shop: None is missing"),
        (DATE, {"date": [DAY] * 999 + ["2024-02-31"]}, "row 1000, column date: '2024-02-31' is not a time"),
        (DATE, {"date": ["", *[DAY] * 999]}, "row 1, column date: '' is not a time such as"),
        (DATE, {"date": [None, *[DAY] * 999]}, "row 1, column date: None is missing"),
        (
            TimeSplit("seconds"),
            {"seconds": [0] * 999 + [1704067200000]},
            "row 1000, column seconds: 1704067200000 is not seconds since 1970",
        ),
        (DATE, {"date": [DAY] * 1000}, "no row is early enough"),
        (TimeSplit("date", "90w"), {}, "no row is early enough for the training rows. The times are from"),
        (TimeSplit("date", "30d", "100d"), {}, "no row is early enough"),
        (TimeSplit("date", "98d"), {}, "980 of 1,000 rows are after 2024-01-02T00:00:00Z"),
        (SHOP, {"shop": ["a"] * 950 + ["b"] * 50}, r"the group of sales\.csv, row 1 has 950 of 1,000 rows"),
        (SHOP, {"shop": ["a", "b"] * 500}, "the split (train|holdout) has no rows"),
        (GroupSplit("label"), {}, "the split (train|holdout) has no rows"),
        (DATE, {"label": [0] * 800 + [1] * 200}, "split train: label 1 does not occur"),
    ],
)
def test_rejects_data_that_cannot_be_split(
    prepare: Prepare, split: Split, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(rows(**changes), split)


def test_the_content_of_rows_is_compared_across_a_split_by_time(make: Make, tmp_path: Path) -> None:
    # Each number occurs twice, in rows that differ only in key, date and label.
    batch = rows(x=[n / 10 for n in range(500)] * 2, shop=["a"] * 1000, seconds=[0] * 1000)
    with pytest.raises(UserError, match="200 of 200 holdout rows have the content of a training row"):
        run(workload(make, batch, split=TimeSplit("date"), overlap_share=0.5), {}, tmp_path / "data")
    run(workload(make, rows(), split=TimeSplit("date"), overlap_share=0), {}, tmp_path / "data")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"split_group": "store"}, "parameter split_group: there is no column 'store'.*id, x, shop, date"),
        ({"split_group": "x"}, "parameter split_group: the column x has the kind number"),
        ({"split_time": "day"}, "parameter split_time: there is no column 'day'"),
        ({"split_group": "shop", "split_time": "date"}, "by group or by time, not by both"),
        ({"split_gap": "7d"}, "split_gap: 7d has no effect, because rows are not split by time"),
        ({"split_group": "shop", "split_holdout": "7d"}, "split_holdout: 7d has no effect"),
        ({"split_time": "date", "split_holdout": "7d", "test_size": "0.3"}, "test_size: 0.3 has no effect"),
        ({"split_time": "date", "split_gap": "a week"}, "split_gap: 'a week' is not text such as 30d"),
        ({"split_time": "date", "split_gap": "0d"}, "split_gap: '0d' is not text such as 30d"),
    ],
)
def test_rejects_run_parameters_that_contradict_each_other(
    prepare: Prepare, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prepare(rows(), **parameters)


def test_a_workload_without_the_column_and_a_source_with_its_own_split_are_errors(
    make: Make, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="there is no column 'shop' to split by; the columns are id, x, "):
        run(make(), {"split_group": "shop"}, tmp_path / "data")
    split = pa.array(["train", "holdout"] * 500)
    with pytest.raises(UserError, match=r"sales\.csv: the source has its own split"):
        run(workload(make, rows().append_column("split", split)), {"split_group": "shop"}, tmp_path / "data")
    run(workload(make, rows().append_column("split", split)), {}, tmp_path / "data")
    assert Dataset.open(tmp_path / "data").manifest.split == SplitRule("source")


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (GroupSplit("store"), "there is no column 'store' to split by"),
        (TimeSplit("shop", gap="7 days"), "parameter split_gap: '7 days'"),
        ("shop", "split is 'shop', but must be a KeySplit, GroupSplit or TimeSplit"),
    ],
)
def test_an_invalid_split_is_reported_when_the_workload_is_loaded(
    make: Make, split: Any, message: str
) -> None:
    variant = type(workload(make, rows(), split=split))
    variant.name = "fence"
    with pytest.raises(UserError, match=message):
        check_workload(variant, "workload.py", "fence")


@pytest.mark.parametrize(
    ("parameters", "changed"),
    [
        ({}, False),
        ({"split_group": ""}, False),
        ({"split_group": "shop"}, True),
        ({"split_time": "date"}, True),
    ],
)
def test_another_split_is_another_input(
    make: Make, tmp_path: Path, parameters: dict[str, str], changed: bool
) -> None:
    variant, history = workload(make, rows()), RunHistory(FolderStore(tmp_path / "store"), "fence")
    digest = run(variant, {}, tmp_path / "first", history).input_digest
    history.record_processed(digest, ProcessedInputs(RunRecord(run="run-1", verdict="rejected")))
    assert run(variant, parameters, tmp_path / "data", history).changed == changed


def test_numbers_in_milliseconds_are_not_times() -> None:
    assert parse_times(pa.array([1704067200, 1704067200000])).to_pylist() == [1704067200000000, None]
    assert parse_times(pa.array([0.5, 1e300])).to_pylist() == [500000, None]
