"""prep-data: the dataset, rejected rows, the split, and unchanged inputs."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.prep_data.__main__ import data_record, main, unchanged_record
from components.prep_data.row_fingerprint import Fingerprint, in_holdout, key_digests
from components.prep_data.step import run
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.column_statistics import Histogram
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.dataset_manifest import Overlap
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.json_checksum import with_checksum
from continuous_training.operations.drift_status import drift_since_champion
from workloads.contract import Column, LoadContext, Rows, Workload

ROOT = Path(__file__).parents[2]
Make = Callable[..., Workload]


def batch(**changes: Any) -> pa.RecordBatch:
    """Return a hundred valid rows, with some columns replaced."""
    columns = {
        "id": pa.array([f"row {n}" for n in range(100)]),
        "x": pa.array(np.linspace(0, 100, 100)),
        "label": pa.array(np.arange(100) % 2),
    }
    return pa.record_batch(
        {name: column for name, column in (columns | changes).items() if column is not None}
    )


def replaced(values: list[Any], index: int, value: Any) -> list[Any]:
    return [*values[:index], value, *values[index + 1 :]]


def test_writes_both_splits_and_their_manifest(make: Make, tmp_path: Path) -> None:
    workload = make()
    result = run(workload, {"test_size": 0.3}, tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "SHA256SUMS", "dataset.json", "holdout.parquet", "train.parquet",
    ]  # fmt: skip
    dataset = Dataset.open(tmp_path / "data")
    rows = {split: dataset.read(split) for split in ("train", "holdout")}
    assert {split: table.num_rows for split, table in rows.items()} == result.rows
    assert sum(result.rows.values()) == 1000
    assert 250 < result.rows["holdout"] < 350
    assert not set(rows["train"]["id"].to_pylist()) & set(rows["holdout"]["id"].to_pylist())
    assert all(table.schema == workload.schema() for table in rows.values())
    manifest = dataset.manifest
    assert (manifest.workload, manifest.source, manifest.input_digest) == (
        workload.name,
        "made:1000",
        result.input_digest,
    )
    assert manifest.split_rule == "sha256(id) / 2^256 < 0.3"
    assert manifest.parameters == workload.parse({"test_size": 0.3})
    assert [column.name for column in manifest.schema] == ["id", "x", "label"]
    assert manifest.as_of.endswith("Z")
    assert result.changed
    assert result.earlier is None


def test_computes_statistics_of_the_training_rows(make: Make, tmp_path: Path) -> None:
    run(make(), {}, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    train, rows = dataset.manifest.train, dataset.read("train")
    x = rows["x"].to_numpy()
    assert train.rows == len(x)
    assert set(train.statistics) == {"x", "label"}
    statistics = train.statistics["x"]
    assert (statistics.minimum, statistics.maximum) == (x.min(), x.max())
    assert (statistics.mean, statistics.std) == (pytest.approx(x.mean()), pytest.approx(x.std()))
    edges = np.linspace(0, 100, 101)
    assert statistics.histogram == Histogram(tuple(edges), tuple(np.histogram(x, edges)[0]))
    assert train.statistics["label"].counts == {
        str(label): int((rows["label"].to_numpy() == label).sum()) for label in (0, 1)
    }


def test_computes_statistics_for_each_kind_of_column(make: Make, tmp_path: Path) -> None:
    columns = (
        Column("id", "integer"),
        Column("text", "text"),
        Column("bytes", "bytes"),
        Column("vector", "vector", minimum=0, maximum=1, length=2),
        Column("label", "text", values=("a", "b")),
    )
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.linspace(0, 1, 200, dtype=np.float32)), 2)
    rows = pa.record_batch(
        {
            "id": pa.array(range(100)),
            "text": pa.array(["서울"] * 100),
            "bytes": pa.array([b"abc"] * 100),
            "vector": vectors,
            "label": pa.array(["a", "b"] * 50),
        }
    )
    run(make(columns=columns, batches=[Rows(rows, "a.csv")]), {}, tmp_path / "data")
    statistics = Dataset.open(tmp_path / "data").manifest.train.statistics
    assert (statistics["text"].mean, statistics["bytes"].mean, statistics["bytes"].std) == (2, 3, 0)
    vector, label = statistics["vector"], statistics["label"]
    assert sum(vector.histogram.counts) == 2 * vector.rows
    assert sum(label.counts.values()) == label.rows
    invalid = rows.set_column(3, "vector", pa.FixedSizeListArray.from_arrays(
        pa.array(replaced([0.5] * 200, 7, 1.5), pa.float32()), 2
    ))  # fmt: skip
    with pytest.raises(
        UserError, match=r"a\.csv, row 4, column vector\[1\]: 1\.5 is not a number from 0 to 1"
    ):
        run(make(columns=columns, batches=[Rows(invalid, "a.csv")]), {}, tmp_path / "data")


@pytest.mark.parametrize(
    ("column", "old", "new"),
    [
        (Column("x", "number"), (1300, 15), (1450, 15)),
        (Column("x", "number"), (1.6e9, 1), (1.6e9 + 1, 1)),
        (Column("x", "number", 0, 1e9), (6e5, 1e5), (9e5, 1.5e5)),
    ],
)
def test_statistics_show_a_change_in_a_column_of_any_magnitude(
    make: Make, tmp_path: Path, column: Column, old: tuple[float, float], new: tuple[float, float]
) -> None:
    columns = (Column("id", "integer"), column, Column("label", "integer", values=(0, 1)))
    random = np.random.default_rng(0)

    def prepare(name: str, mean: float, deviation: float) -> Dataset:
        values = pa.array(random.normal(mean, deviation, 2000))
        labels = pa.array([0, 1] * 1000)
        batch = pa.record_batch({"id": pa.array(range(2000)), "x": values, "label": labels})
        run(make(columns=columns, batches=[Rows(batch, "a.csv")]), {}, tmp_path / name)
        return Dataset.open(tmp_path / name)

    champion = prepare("champion", *old).manifest
    same, changed = prepare("same", *old), prepare("changed", *new)
    assert champion.train.statistics["x"].std == pytest.approx(old[1], rel=0.1)
    for dataset, level in ((same, "stable"), (changed, "large")):
        newest = data_record("run", dataset)
        drift = drift_since_champion(champion.train.statistics, champion.fingerprint, newest)
        assert {result.column: result.level for result in drift.columns} == {"x": level, "label": "stable"}


NULL = pa.array(replaced(["r"] * 100, 3, None))
IDS, XS, LABELS = ([f"row {n}" for n in range(100)], [1.0] * 100, [0, 1] * 50)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": None}, "b.csv: column x is missing; the columns are id, label"),
        ({"x": pa.array(["1"] * 100)}, "b.csv, column x: is string, not double"),
        ({"x": pa.array([1] * 100)}, "b.csv, column x: is int64, not double"),
        (
            {"extra": pa.array(LABELS), "more": pa.array(LABELS)},
            "b.csv: unknown columns: extra, more",
        ),
        ({"id": pa.array(replaced(IDS, 3, None))}, "b.csv, row 504, column id: None is missing"),
        ({"x": pa.array(replaced(XS, 3, None))}, "b.csv, row 504, column x: None is missing"),
        (
            {"x": pa.array(replaced(XS, 3, float("nan")))},
            "b.csv, row 504, column x: nan is not a finite number",
        ),
        (
            {"x": pa.array(replaced(XS, 0, float("inf")))},
            "b.csv, row 501, column x: inf is not a finite number",
        ),
        ({"x": pa.array(replaced(XS, 99, -0.1))}, "b.csv, row 600, column x: -0.1 is under 0"),
        (
            {"x": pa.array(replaced(replaced(XS, 5, 101.0), 9, 102.0))},
            "b.csv, row 506, column x: 101.0 is over 100 (and 1 more rows in this batch)",
        ),
        ({"label": pa.array(replaced(LABELS, 3, 2))}, "b.csv, row 504, column label: 2 is not one of 0, 1"),
        ({"split": pa.array(replaced(["train"] * 100, 3, "test"))}, "b.csv, row 504, column split"),
        ({"split": pa.array(replaced(["train"] * 100, 3, None))}, "b.csv, row 504, column split"),
        (
            {"id": pa.array(replaced(IDS, 3, "a 7"))},
            "b.csv, row 504, column id: the same key as in a.csv, row 8",
        ),
        (
            {"id": pa.array(replaced(IDS, 3, "row 2"))},
            "b.csv, row 504, column id: the same key as in b.csv, row 503",
        ),
    ],
)
def test_rejects_an_invalid_row_with_file_row_and_column(
    make: Make, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    valid = batch(id=pa.array([f"a {n}" for n in range(100)]))
    workload = make(batches=[Rows(valid, "a.csv"), Rows(batch(**changes), "b.csv", 501)])
    with pytest.raises(UserError) as raised:
        run(workload, {}, tmp_path / "data")
    assert str(raised.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([Rows(batch().slice(0, 49), "a.csv")], "source made:1000: 49 rows, but .* needs at least 50"),
        ([], "0 rows, but .* needs at least 50"),
        ([Rows(batch().slice(0, 0), "a.csv")], "0 rows, but .* needs at least 50"),
        ([Rows(batch(split=pa.array(["train"] * 100)), "a.csv")], "the split holdout has no rows"),
        ([Rows(batch(split=pa.array(["holdout"] * 100)), "a.csv")], "the split train has no rows"),
    ],
)
def test_rejects_too_few_rows(make: Make, tmp_path: Path, batches: list[Rows], message: str) -> None:
    with pytest.raises(UserError, match=message):
        run(make(batches=batches), {}, tmp_path / "data")


@pytest.mark.parametrize(("value", "split"), [(1, "train"), (0, "holdout")])
def test_rejects_a_declared_label_that_does_not_occur(
    make: Make, tmp_path: Path, value: int, split: str
) -> None:
    splits = pa.array(["train", "train", "train", "holdout"] * 25)
    labels = [1 - value if side == split else n % 2 for n, side in enumerate(splits.to_pylist())]
    rows = Rows(batch(split=splits, label=pa.array(labels)), "a.csv")
    with pytest.raises(UserError, match=rf"split {split}: label {value} does not occur; .* needs at least 1"):
        run(make(batches=[rows]), {}, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_rejects_a_declared_label_with_too_few_rows(make: Make, tmp_path: Path) -> None:
    rows = Rows(batch(label=pa.array([0] * 98 + [1] * 2)), "a.csv")
    workload = make(batches=[rows], minimum_class_rows=3)
    with pytest.raises(UserError, match=r"label 1 (occurs in [12] rows|does not occur); .* needs at least 3"):
        run(workload, {}, tmp_path / "data")


def overlapping(copies: int) -> pa.RecordBatch:
    """Return rows of which 40 are held out, `copies` of them with the x of a training row."""
    x = np.linspace(0, 100, 100)
    x[60 : 60 + copies] = x[:copies]
    return batch(x=pa.array(x), split=pa.array(["train"] * 60 + ["holdout"] * 40))


def test_rejects_holdout_rows_that_occur_in_the_training_rows(make: Make, tmp_path: Path) -> None:
    workload = make(batches=[Rows(overlapping(5), "a.csv", 2)], overlap_share=0.1)
    message = (
        "5 of 40 holdout rows have the content of a training row, "
        "for instance a.csv, row 62 and a.csv, row 2; at most 10% may"
    )
    with pytest.raises(UserError, match=message):
        run(workload, {}, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_counts_holdout_rows_that_occur_in_the_training_rows(make: Make, tmp_path: Path) -> None:
    messages: list[str] = []
    workload = make(batches=[Rows(overlapping(4), "a.csv", 2)], overlap_share=0.1)
    run(workload, {}, tmp_path / "data", progress=messages.append)
    assert Dataset.open(tmp_path / "data").manifest.overlap == Overlap(4, 4)
    assert "4 of 40 holdout rows have the content of a training row" in messages


def test_rows_without_features_do_not_overlap(make: Make, tmp_path: Path) -> None:
    columns = (Column("id", "text"), Column("label", "integer", values=(0, 1)))
    rows = batch(x=None, split=overlapping(0)["split"])
    run(make(columns=columns, batches=[Rows(rows, "a.csv")]), {}, tmp_path / "data")
    assert Dataset.open(tmp_path / "data").manifest.overlap == Overlap(0, 0)


def test_counts_texts_that_differ_in_case_and_spaces(make: Make, tmp_path: Path) -> None:
    columns = (Column("id", "text"), Column("text", "text"), Column("label", "integer", values=(0, 1)))
    texts = [f"Review {n}" for n in range(100)]
    texts[60:63] = ["Review 0", " review  1", "REVIEW 2"]
    rows = pa.record_batch(
        {
            "id": batch()["id"],
            "text": pa.array(texts),
            "label": batch()["label"],
            "split": overlapping(0)["split"],
        }
    )
    run(make(columns=columns, batches=[Rows(rows, "a.csv")]), {}, tmp_path / "data")
    assert Dataset.open(tmp_path / "data").manifest.overlap == Overlap(exact=1, near=3)


def test_a_flipped_bit_in_the_rows_is_rejected(make: Make, tmp_path: Path) -> None:
    run(make(), {}, tmp_path / "data")
    content = (tmp_path / "data/train.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 20).tolist():
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "data/train.parquet").write_bytes(damaged)
        with pytest.raises(UserError, match=r"train\.parquet is damaged: its sha256 differs"):
            Dataset.open(tmp_path / "data").read("train")


@pytest.mark.parametrize("field", ["rows", "fingerprint"])
def test_an_altered_manifest_is_rejected(make: Make, tmp_path: Path, field: str) -> None:
    run(make(), {}, tmp_path / "data")
    path = tmp_path / "data/dataset.json"
    document = json.loads(path.read_text())
    value = document["splits"]["train"][field]
    document["splits"]["train"][field] = value + 1 if field == "rows" else value[::-1]
    path.write_text(json.dumps(document))
    (tmp_path / "data/SHA256SUMS").unlink()
    with pytest.raises(UserError, match=r"dataset\.json was altered"):
        Dataset.open(tmp_path / "data")


def test_digests_are_compared_in_full(make: Make, tmp_path: Path) -> None:
    """Change only the last digit of the sha256 of the rows, then that of the manifest's checksum."""
    run(make(), {}, tmp_path / "data")
    path = tmp_path / "data/dataset.json"
    (tmp_path / "data/SHA256SUMS").unlink()
    document = json.loads(path.read_text())
    train = document["splits"]["train"]
    train["sha256"] = train["sha256"][:-1] + ("1" if train["sha256"][-1] == "0" else "0")
    del document["checksum"]
    path.write_text(json.dumps(with_checksum(document)))
    with pytest.raises(UserError, match=r"train\.parquet is damaged: its sha256 differs"):
        Dataset.open(tmp_path / "data").read("train")
    checksum = with_checksum(document)["checksum"]
    path.write_text(json.dumps(document | {"checksum": checksum[:-1] + "x"}))
    with pytest.raises(UserError, match=r"dataset\.json was altered"):
        Dataset.open(tmp_path / "data")


def test_each_key_has_the_side_of_its_sha256(make: Make, tmp_path: Path) -> None:
    """Another side for a key would put rows that the champion was trained on into the holdout."""
    run(make(), {"test_size": "0.5"}, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    sides = {split: set(dataset.read(split)["id"].to_pylist()) for split in ("train", "holdout")}
    first_bits = {key: hashlib.sha256(key.encode()).digest()[0] for key in sides["train"] | sides["holdout"]}
    assert sides["holdout"] == {key for key, bits in first_bits.items() if bits < 128}


def test_accepts_empty_batches(make: Make, tmp_path: Path) -> None:
    batches = [Rows(batch().slice(0, 0), "a.csv"), Rows(batch(), "b.csv"), Rows(batch().slice(0, 0), "c.csv")]
    assert sum(run(make(batches=batches), {}, tmp_path / "data").rows.values()) == 100


def test_keeps_the_existing_dataset_if_a_row_is_invalid(make: Make, tmp_path: Path) -> None:
    run(make(), {}, tmp_path / "data")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    with pytest.raises(UserError):
        run(make(batches=[Rows(batch(x=pa.array([-1.0] * 100)), "a.csv")]), {}, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_does_not_replace_a_folder_with_other_files(make: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="contains no dataset"):
        run(make(), {}, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    run(make(), {}, tmp_path / "empty")
    run(make(), {}, tmp_path / "empty")


def test_keeps_the_split_of_the_source(make: Make, tmp_path: Path) -> None:
    split = ["holdout" if n < 13 else "train" for n in range(100)]
    result = run(make(batches=[Rows(batch(split=pa.array(split)), "a.csv")]), {}, tmp_path / "data")
    assert result.rows == {"train": 87, "holdout": 13}
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.read("holdout")["id"].to_pylist() == IDS[:13]
    assert dataset.read("train").schema.names == ["id", "x", "label"]
    assert dataset.manifest.split_rule == "the source's own"


ROWS = st.lists(
    st.tuples(st.text(max_size=5), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)), max_size=8
)
SCHEMA = pa.schema({"id": pa.string(), "x": pa.float64(), "label": pa.int64()})


def fingerprint(rows: list[tuple[str, float, int]], sizes: int = 100) -> str:
    digest = Fingerprint()
    for begin in range(0, len(rows), sizes):
        columns = zip(*rows[begin : begin + sizes], strict=True)
        digest.add(pa.record_batch([pa.array(list(column)) for column in columns], schema=SCHEMA))
    return digest.hexdigest()


@given(ROWS, st.randoms(), st.integers(1, 4))
def test_the_fingerprint_is_independent_of_order_and_batches(rows: Any, random: Any, sizes: int) -> None:
    shuffled = random.sample(rows, len(rows))
    assert fingerprint(shuffled, sizes) == fingerprint(rows)


@given(ROWS, ROWS)
def test_the_fingerprint_differs_for_different_rows(rows: Any, other_rows: Any) -> None:
    def canonical(table: Any) -> list[str]:
        return sorted(repr(row) for row in table)  # distinguishes 0.0 from -0.0, as the bytes do

    assert (fingerprint(rows) == fingerprint(other_rows)) == (canonical(rows) == canonical(other_rows))


@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_the_split_depends_on_the_key_and_grows_with_test_size(
    keys: Any, first: float, second: float
) -> None:
    low, high = sorted((first, second))
    digests = key_digests(pa.array(keys, pa.string()))
    held_out = in_holdout(digests, low)
    assert (held_out <= in_holdout(digests, high)).all()
    individually = [bool(in_holdout(key_digests(pa.array([key])), low)[0]) for key in keys]
    assert held_out.tolist() == individually


def test_rows_keep_their_split_when_rows_are_added(make: Make, tmp_path: Path) -> None:
    holdouts = []
    for count in (500, 1000):
        run(make(), {"source": f"made:{count}"}, tmp_path / "data")
        holdouts.append(set(Dataset.open(tmp_path / "data").read("holdout")["id"].to_pylist()))
    small, large = holdouts
    assert small == {key for key in large if int(key.removeprefix("row ")) <= 500}


@pytest.mark.parametrize(
    ("as_of", "scheduled", "expected"),
    [
        ("2020-01-01", "2026-11-21T10:05:01Z", "2020-01-01"),
        ("", "2026-11-21T10:05:01Z", "2026-11-21T10:05:01Z"),
    ],
)
def test_as_of_has_precedence_over_the_scheduled_time(
    make: Make, tmp_path: Path, as_of: str, scheduled: str, expected: str
) -> None:
    run(make(), {"as_of": as_of}, tmp_path / "data", scheduled=scheduled)
    assert Dataset.open(tmp_path / "data").manifest.as_of == expected


class TestUnchanged:
    """Inputs that an earlier run has processed."""

    @pytest.fixture
    def records(self, make: Make, store: FolderStore, tmp_path: Path) -> RunHistory:
        workload = make()
        records = RunHistory(store, workload.name)
        input_digest = run(workload, {}, tmp_path / "first", records).input_digest
        records.record_processed(input_digest, ProcessedInputs(RunRecord(run="run-1", verdict="rejected")))
        return records

    @pytest.mark.parametrize("parameters", [{}, {"as_of": "2020-01-01"}, {"test_size": "0.2"}])
    def test_the_same_rows_and_parameters_are_unchanged(
        self, make: Make, records: RunHistory, tmp_path: Path, parameters: dict[str, str]
    ) -> None:
        result = run(make(), parameters, tmp_path / "data", records)
        assert not result.changed
        assert result.earlier == RunRecord(run="run-1", verdict="rejected")
        assert sum(result.rows.values()) == 1000
        files = sorted(path.name for path in (tmp_path / "data").iterdir())
        assert files == ["SHA256SUMS", "dataset.json"]

    def test_the_same_rows_from_another_source_are_unchanged(
        self, make: Make, records: RunHistory, tmp_path: Path
    ) -> None:
        class Copy(type(make())):  # type: ignore[misc]
            def load(self, source: str, values: Any, context: LoadContext) -> Any:
                assert source == "elsewhere"
                yield from reversed(list(super().load("made:1000", values, context)))

        Copy.__module__ = type(make()).__module__
        assert not run(Copy(), {"source": "elsewhere"}, tmp_path / "data", records).changed

    @pytest.mark.parametrize(
        "parameters",
        [{"fence": "51"}, {"seed": "1"}, {"test_size": "0.3"}, {"force": "true"}, {"source": "made:900"}],
    )
    def test_other_parameters_or_rows_are_changed(
        self, make: Make, records: RunHistory, tmp_path: Path, parameters: dict[str, str]
    ) -> None:
        assert run(make(), parameters, tmp_path / "data", records).changed
        assert Dataset.open(tmp_path / "data").read("train").num_rows > 0

    def test_another_promotion_rule_is_changed(self, make: Make, records: RunHistory, tmp_path: Path) -> None:
        stricter = make(rule=type(make().rule)(metric="accuracy", floor=0.9))
        assert run(stricter, {}, tmp_path / "data", records).changed

    def test_the_record_names_the_earlier_run(self) -> None:
        earlier = RunRecord(run="run-1", verdict="promoted", reasons=("better",), version="3")
        record = unchanged_record("run-2", earlier)
        assert (record.run, record.verdict, record.version) == ("run-2", "unchanged", "3")
        assert record.evaluated_by == "run-1"
        assert "evaluated before (promoted by run run-1)" in record.reasons[0]


def test_the_command_writes_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--workload", "fence", "--output", str(tmp_path / "data"), "--set", "test_size=0.5"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith(f"dataset: {tmp_path / 'data'}\n")
    assert json.loads((tmp_path / "data/dataset.json").read_text())["parameters"]["test_size"] == 0.5


@pytest.mark.parametrize(
    ("workload", "assignment", "message"),
    [
        ("fences", "seed=0", "error: there is no workload 'fences'"),
        ("fence", "seed", "error: 'seed' is not of the form name=value"),
        ("fence", "sead=1", "error: there is no run parameter 'sead'; did you mean seed?"),
        (
            "fence",
            "test_size=0.9",
            "error: parameter test_size: 0.9 is greater than 0.5. Pass a number from 0.05 to 0.5",
        ),
        ("fence", "source=made:0", "error: source made:0: 0 rows, but fence needs at least 50"),
        ("diabetes", "source=missing.csv", "error: source 'missing.csv' matches nothing"),
    ],
)
def test_the_command_exits_with_2_and_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workload: str, assignment: str, message: str
) -> None:
    arguments = ["--workload", workload, "--output", str(tmp_path / "data"), "--set", assignment]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


MEMORY = """
import re, sys
from pathlib import Path
sys.path.insert(0, "tests/components")
import workloads
from workloads import discovery
workloads.__path__.append("tests/components/workloads")
from components.prep_data.step import run
base = type(discovery.get("fence"))
from workloads.fence.workload import generated_rows
from workloads.contract import Rows

class Many(base):
    __module__ = base.__module__
    def load(self, source, values, context):
        for first in range(1, int(source), 10_000):
            yield Rows(generated_rows(first, 10_000), source, first)

peaks = []
for count in ("20000", "200000"):
    run(Many(), {"source": count}, Path(sys.argv[1]) / "data", progress=lambda _: None)
    peaks.append(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
print(*peaks)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    small, large = (int(kilobytes) / 1024 for kilobytes in result.stdout.split())
    assert large < 300
    # The rows would need far more; each key needs 8 bytes.
    assert large - small < 60
