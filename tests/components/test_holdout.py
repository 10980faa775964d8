"""The holdout: batches, single rows and columns equal those of the complete table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate import holdout as holdout_module
from components.evaluate.holdout import Holdout
from components.evaluate.inference import slice_masks
from continuous_training.artifacts.parquet_rows import StoredRows
from workloads import discovery

TABLE = pa.table({"id": [f"k{n}" for n in range(25)], "label": ["a", "b", "b", "", "a"] * 5, "x": range(25)})


@pytest.fixture
def holdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holdout:
    monkeypatch.setattr(holdout_module, "BATCH_ROWS", 7)
    pq.write_table(TABLE, tmp_path / "holdout.parquet", row_group_size=10)
    return Holdout(StoredRows(tmp_path / "holdout.parquet"))


def test_batches_and_columns_have_all_rows(holdout: Holdout) -> None:
    batches = list(holdout.batches())
    assert max(batch.num_rows for batch in batches) == 7
    assert pa.concat_tables(batches).equals(TABLE)
    assert (holdout.num_rows, holdout.column_names) == (25, ["id", "label", "x"])
    assert holdout.columns("x").equals(TABLE.select(["x"]))
    assert holdout.values("x").tolist() == list(range(25))
    labels = holdout.values("label")
    assert labels.tolist() == TABLE["label"].to_pylist()
    assert len({id(label) for label in labels.tolist()}) == 3


@pytest.mark.parametrize("indices", [[], [0], [24, 3, 12, 3], list(range(24, -1, -1))])
def test_rows_are_in_the_order_of_the_indices(holdout: Holdout, indices: list[int]) -> None:
    assert holdout.rows(indices).to_pylist() == [TABLE.slice(index, 1).to_pylist()[0] for index in indices]


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 8, 16]), (8, range(0, 24, 3)), (50, range(25))])
def test_spread_rows_are_single_rows_of_all_parts(holdout: Holdout, count: int, expected: list[int]) -> None:
    assert [row["x"].to_pylist() for row in holdout.spread_rows(count)] == [[index] for index in expected]


def test_slices_of_batches_are_those_of_all_rows(holdout: Holdout, monkeypatch: pytest.MonkeyPatch) -> None:
    diabetes = discovery.get("diabetes")

    def slices(rows: pa.Table) -> dict[str, np.ndarray]:
        x = rows["x"].to_numpy()
        return {"even": x % 2 == 0} | ({"last": x == 24} if 24 in x else {})

    monkeypatch.setattr(type(diabetes), "slices", lambda _, rows: slices(rows))
    masks = slice_masks(diabetes, holdout)
    expected = slices(TABLE)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        name: mask.tolist() for name, mask in expected.items()
    }
