"""prep-data: what it writes, what it refuses and in which words, and when there is nothing to do."""

from __future__ import annotations

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

from components.prep_data.__main__ import main, unchanged
from components.prep_data.fingerprint import Fingerprint, in_holdout, key_digests
from components.prep_data.step import run
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import UserError
from workloads.contract import Column, Rows, Workload

ROOT = Path(__file__).parents[2]
Make = Callable[..., Workload]


def batch(**changes: Any) -> pa.RecordBatch:
    """A hundred good rows, but for the columns given."""
    columns = {
        "id": pa.array([f"row {n}" for n in range(100)]),
        "x": pa.array(np.linspace(0, 100, 100)),
        "label": pa.array(np.arange(100) % 2),
    }
    return pa.record_batch(
        {name: column for name, column in (columns | changes).items() if column is not None}
    )


def put(values: list[Any], place: int, value: Any) -> list[Any]:
    return [*values[:place], value, *values[place + 1 :]]


def test_the_artifact_holds_both_splits_and_says_what_they_are(make: Make, tmp_path: Path) -> None:
    workload = make()
    prepared = run(workload, {"test_size": 0.3}, tmp_path / "data")
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "dataset.json", "holdout.parquet", "train.parquet",
    ]  # fmt: skip
    dataset = Dataset.open(tmp_path / "data")
    rows = {split: dataset.read(split) for split in ("train", "holdout")}
    assert {split: table.num_rows for split, table in rows.items()} == prepared.rows
    assert sum(prepared.rows.values()) == 1000
    assert 250 < prepared.rows["holdout"] < 350
    assert not set(rows["train"]["id"].to_pylist()) & set(rows["holdout"]["id"].to_pylist())
    assert all(table.schema == workload.schema() for table in rows.values())
    manifest = dataset.manifest
    assert (manifest.workload, manifest.source, manifest.input_digest) == (
        workload.name,
        "made:1000",
        prepared.recipe,
    )
    assert manifest.split_rule == "sha256(id) / 2^256 < 0.3"
    assert manifest.parameters == workload.parse({"test_size": 0.3})
    assert [column.name for column in manifest.schema] == ["id", "x", "label"]
    assert manifest.as_of.endswith("Z")
    assert prepared.changed
    assert prepared.judged is None


def test_the_statistics_are_those_of_the_rows(make: Make, tmp_path: Path) -> None:
    run(make(), {}, tmp_path / "data")
    dataset = Dataset.open(tmp_path / "data")
    train, rows = dataset.manifest.train, dataset.read("train")
    x = rows["x"].to_numpy()
    assert train.rows == len(x)
    assert set(train.statistics) == {"x", "label"}
    found = train.statistics["x"]
    assert (found["minimum"], found["maximum"]) == (x.min(), x.max())
    assert (found["mean"], found["std"]) == (pytest.approx(x.mean()), pytest.approx(x.std()))
    assert found["histogram"] == np.histogram(x, np.linspace(0, 100, 101))[0].tolist()
    assert found["edges"] == np.linspace(0, 100, 101).tolist()
    assert train.statistics["label"]["counts"] == {
        str(label): int((rows["label"].to_numpy() == label).sum()) for label in (0, 1)
    }


def test_every_kind_of_column_has_its_statistics(make: Make, tmp_path: Path) -> None:
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
    found = Dataset.open(tmp_path / "data").manifest.train.statistics
    assert (found["text"]["mean"], found["bytes"]["mean"], found["bytes"]["std"]) == (2, 3, 0)
    assert sum(found["vector"]["histogram"]) == 2 * found["vector"]["rows"]
    assert sum(found["label"]["counts"].values()) == found["label"]["rows"]
    bad = rows.set_column(3, "vector", pa.FixedSizeListArray.from_arrays(
        pa.array(put([0.5] * 200, 7, 1.5), pa.float32()), 2
    ))  # fmt: skip
    with pytest.raises(
        UserError, match=r"a\.csv, row 4, column vector\[1\]: 1\.5 is not a number from 0 to 1"
    ):
        run(make(columns=columns, batches=[Rows(bad, "a.csv")]), {}, tmp_path / "data")


NULL = pa.array(put(["r"] * 100, 3, None))
IDS, XS, LABELS = ([f"row {n}" for n in range(100)], [1.0] * 100, [0, 1] * 50)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": None}, "b.csv: there is no column x; it has id, label"),
        ({"x": pa.array(["1"] * 100)}, "b.csv, column x: is string, not double"),
        ({"x": pa.array([1] * 100)}, "b.csv, column x: is int64, not double"),
        (
            {"extra": pa.array(LABELS), "more": pa.array(LABELS)},
            "b.csv: columns nobody asked for: extra, more",
        ),
        ({"id": pa.array(put(IDS, 3, None))}, "b.csv, row 504, column id: None is missing"),
        ({"x": pa.array(put(XS, 3, None))}, "b.csv, row 504, column x: None is missing"),
        ({"x": pa.array(put(XS, 3, float("nan")))}, "b.csv, row 504, column x: nan is not a finite number"),
        ({"x": pa.array(put(XS, 0, float("inf")))}, "b.csv, row 501, column x: inf is not a finite number"),
        ({"x": pa.array(put(XS, 99, -0.1))}, "b.csv, row 600, column x: -0.1 is under 0"),
        (
            {"x": pa.array(put(put(XS, 5, 101.0), 9, 102.0))},
            "b.csv, row 506, column x: 101.0 is over 100 (and 1 rows more in this batch)",
        ),
        ({"label": pa.array(put(LABELS, 3, 2))}, "b.csv, row 504, column label: 2 is not one of 0, 1"),
        ({"split": pa.array(put(["train"] * 100, 3, "test"))}, "b.csv, row 504, column split"),
        ({"split": pa.array(put(["train"] * 100, 3, None))}, "b.csv, row 504, column split"),
        ({"id": pa.array(put(IDS, 3, "a 7"))}, "b.csv, row 504, column id: the key of a.csv, row 8 stands"),
        (
            {"id": pa.array(put(IDS, 3, "row 2"))},
            "b.csv, row 504, column id: the key of b.csv, row 503 stands",
        ),
    ],
)
def test_a_bad_row_is_refused_by_file_row_and_column(
    make: Make, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    good = batch(id=pa.array([f"a {n}" for n in range(100)]))
    workload = make(batches=[Rows(good, "a.csv"), Rows(batch(**changes), "b.csv", 501)])
    with pytest.raises(UserError) as refused:
        run(workload, {}, tmp_path / "data")
    assert str(refused.value).startswith(words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([Rows(batch().slice(0, 49), "a.csv")], "source made:1000: 49 rows, but .* needs at least 50"),
        ([], "0 rows, but .* needs at least 50"),
        ([Rows(batch().slice(0, 0), "a.csv")], "0 rows, but .* needs at least 50"),
        ([Rows(batch(split=pa.array(["train"] * 100)), "a.csv")], "no row fell into holdout"),
        ([Rows(batch(split=pa.array(["holdout"] * 100)), "a.csv")], "no row fell into train"),
    ],
)
def test_too_few_rows_are_refused(make: Make, tmp_path: Path, batches: list[Rows], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run(make(batches=batches), {}, tmp_path / "data")


def test_an_empty_batch_among_others_is_harmless(make: Make, tmp_path: Path) -> None:
    batches = [Rows(batch().slice(0, 0), "a.csv"), Rows(batch(), "b.csv"), Rows(batch().slice(0, 0), "c.csv")]
    assert sum(run(make(batches=batches), {}, tmp_path / "data").rows.values()) == 100


def test_a_refusal_leaves_the_old_artifact_untouched(make: Make, tmp_path: Path) -> None:
    run(make(), {}, tmp_path / "data")
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    with pytest.raises(UserError):
        run(make(batches=[Rows(batch(x=pa.array([-1.0] * 100)), "a.csv")]), {}, tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


def test_a_folder_that_holds_other_things_is_not_replaced(make: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match="holds other things than a dataset"):
        run(make(), {}, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    run(make(), {}, tmp_path / "empty")
    run(make(), {}, tmp_path / "empty")


def test_the_sources_own_split_is_kept(make: Make, tmp_path: Path) -> None:
    split = ["holdout" if n < 13 else "train" for n in range(100)]
    prepared = run(make(batches=[Rows(batch(split=pa.array(split)), "a.csv")]), {}, tmp_path / "data")
    assert prepared.rows == {"train": 87, "holdout": 13}
    dataset = Dataset.open(tmp_path / "data")
    assert dataset.read("holdout")["id"].to_pylist() == IDS[:13]
    assert dataset.read("train").schema.names == ["id", "x", "label"]
    assert dataset.manifest.split_rule == "the source's own"


ROWS = st.lists(
    st.tuples(st.text(max_size=5), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1)), max_size=8
)
SCHEMA = pa.schema({"id": pa.string(), "x": pa.float64(), "label": pa.int64()})


def fingerprint(rows: list[tuple[str, float, int]], sizes: int = 100) -> str:
    found = Fingerprint()
    for begin in range(0, len(rows), sizes):
        columns = zip(*rows[begin : begin + sizes], strict=True)
        found.add(pa.record_batch([pa.array(list(column)) for column in columns], schema=SCHEMA))
    return found.hexdigest()


@given(ROWS, st.randoms(), st.integers(1, 4))
def test_the_fingerprint_knows_neither_order_nor_batches(rows: Any, random: Any, sizes: int) -> None:
    shuffled = random.sample(rows, len(rows))
    assert fingerprint(shuffled, sizes) == fingerprint(rows)


@given(ROWS, ROWS)
def test_other_rows_have_another_fingerprint(rows: Any, others: Any) -> None:
    def told(found: Any) -> list[str]:
        return sorted(repr(row) for row in found)  # tells 0.0 from -0.0, as the bytes do

    assert (fingerprint(rows) == fingerprint(others)) == (told(rows) == told(others))


@given(st.lists(st.text(max_size=8), unique=True, max_size=30), st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_a_rows_side_depends_on_its_key_alone_and_grows_with_test_size(
    keys: Any, one: float, two: float
) -> None:
    low, high = sorted((one, two))
    digests = key_digests(pa.array(keys, pa.string()))
    held = in_holdout(digests, low)
    assert (held <= in_holdout(digests, high)).all()
    alone = [bool(in_holdout(key_digests(pa.array([key])), low)[0]) for key in keys]
    assert held.tolist() == alone


def test_the_split_stays_when_rows_are_added(make: Make, tmp_path: Path) -> None:
    held = []
    for count in (500, 1000):
        run(make(), {"source": f"made:{count}"}, tmp_path / "data")
        held.append(set(Dataset.open(tmp_path / "data").read("holdout")["id"].to_pylist()))
    small, large = held
    assert small == {key for key in large if int(key.removeprefix("row ")) <= 500}


@pytest.mark.parametrize(
    ("as_of", "scheduled", "expected"),
    [
        ("2020-01-01", "2026-11-21T10:05:01Z", "2020-01-01"),
        ("", "2026-11-21T10:05:01Z", "2026-11-21T10:05:01Z"),
    ],
)
def test_the_logical_time_is_as_of_then_the_schedules(
    make: Make, tmp_path: Path, as_of: str, scheduled: str, expected: str
) -> None:
    run(make(), {"as_of": as_of}, tmp_path / "data", scheduled=scheduled)
    assert Dataset.open(tmp_path / "data").manifest.as_of == expected


class TestUnchanged:
    """A recipe that was carried through is not again."""

    @pytest.fixture
    def records(self, make: Make, store: FolderStore, tmp_path: Path) -> RunHistory:
        workload = make()
        records = RunHistory(store, workload.name)
        recipe = run(workload, {}, tmp_path / "first", records).recipe
        records.settle(recipe, {"run": "run-1", "verdict": "rejected", "metrics": {"accuracy": 1}})
        return records

    @pytest.mark.parametrize("given_", [{}, {"as_of": "2020-01-01"}, {"test_size": "0.2"}])
    def test_the_same_rows_and_parameters(
        self, make: Make, records: RunHistory, tmp_path: Path, given_: dict[str, str]
    ) -> None:
        prepared = run(make(), given_, tmp_path / "data", records)
        assert not prepared.changed
        assert prepared.judged == {"run": "run-1", "verdict": "rejected", "metrics": {"accuracy": 1}}
        assert sum(prepared.rows.values()) == 1000
        assert [path.name for path in (tmp_path / "data").iterdir()] == ["dataset.json"]

    def test_the_same_content_from_another_source(
        self, make: Make, records: RunHistory, tmp_path: Path
    ) -> None:
        class Copy(type(make())):  # type: ignore[misc]
            def load(self, source: str, values: Any) -> Any:
                assert source == "elsewhere"
                yield from reversed(list(super().load("made:1000", values)))

        Copy.__module__ = type(make()).__module__
        assert not run(Copy(), {"source": "elsewhere"}, tmp_path / "data", records).changed

    @pytest.mark.parametrize(
        "given_",
        [{"fence": "51"}, {"seed": "1"}, {"test_size": "0.3"}, {"force": "true"}, {"source": "made:900"}],
    )
    def test_anything_else_is_new(
        self, make: Make, records: RunHistory, tmp_path: Path, given_: dict[str, str]
    ) -> None:
        assert run(make(), given_, tmp_path / "data", records).changed
        assert Dataset.open(tmp_path / "data").read("train").num_rows > 0

    def test_another_rule_is_new(self, make: Make, records: RunHistory, tmp_path: Path) -> None:
        stricter = make(rule=type(make().rule)(metric="accuracy", floor=0.9))
        assert run(stricter, {}, tmp_path / "data", records).changed

    def test_the_runs_record_says_what_became_of_the_recipe(self) -> None:
        judged = {"run": "run-1", "verdict": "promoted", "reasons": ["better"], "version": "3", "metrics": {}}
        record = unchanged(judged)
        assert (record["verdict"], record["version"], record["judged_by"]) == ("unchanged", "3", "run-1")
        assert "judged before (promoted by run run-1)" in record["reasons"][0]


def test_the_command_writes_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--workload", "fence", "--output", str(tmp_path / "data"), "--set", "test_size=0.5"]
    assert main(arguments) == 0
    assert capsys.readouterr().out.endswith(f"dataset: {tmp_path / 'data'}\n")
    assert json.loads((tmp_path / "data/dataset.json").read_text())["parameters"]["test_size"] == 0.5


@pytest.mark.parametrize(
    ("workload", "assignment", "words"),
    [
        ("fences", "seed=0", "error: there is no workload 'fences'"),
        ("fence", "seed", "error: 'seed' is not of the form name=value"),
        ("fence", "sead=1", "error: there is no run parameter 'sead'; did you mean seed?"),
        ("fence", "test_size=0.9", "error: parameter test_size: '0.9' is not a number from 0.05 to 0.5"),
        ("fence", "source=made:0", "error: source made:0: 0 rows, but fence needs at least 50"),
        ("diabetes", "source=missing.csv", "error: source 'missing.csv' matches nothing"),
    ],
)
def test_the_command_ends_with_2_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], workload: str, assignment: str, words: str
) -> None:
    arguments = ["--workload", workload, "--output", str(tmp_path / "data"), "--set", assignment]
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


MEMORY = """
import re, sys
from pathlib import Path
sys.path.insert(0, "tests/components")
import workloads
from workloads import register
workloads.__path__.append("tests/components/workloads")
from components.prep_data.step import run
base = type(register.get("fence"))
from workloads.fence.workload import made
from workloads.contract import Rows

class Many(base):
    __module__ = base.__module__
    def load(self, source, values):
        for first in range(1, int(source), 10_000):
            yield Rows(made(first, 10_000), source, first)

peaks = []
for count in ("20000", "200000"):
    run(Many(), {"source": count}, Path(sys.argv[1]) / "data", progress=lambda _: None)
    peaks.append(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1))
print(*peaks)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from /proc")
def test_ten_times_the_rows_take_the_same_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    few, many = (int(kilobytes) / 1024 for kilobytes in done.stdout.split())
    assert many < 300
    # The rows themselves would take far more; the keys' digests take 8 bytes each.
    assert many - few < 60
