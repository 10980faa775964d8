"""Rows with a shop and a date, and a workload `fence` that reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from workloads.contract import Column, Rows, Workload

COLUMNS = (
    Column("id", "integer"),
    Column("x", "number", 0, 100),
    Column("shop", "text"),
    Column("date", "text"),
    Column("seconds", "integer"),
    Column("label", "integer", values=(0, 1)),
)


def rows(count: int = 1000, shops: int = 50, days: int = 100, **changes: Sequence[Any]) -> pa.RecordBatch:
    """Return rows of `shops` shops on `days` days from 2024-01-01, with some columns replaced."""
    number = np.arange(count)
    x = (number * 37 % 1000) / 10
    day = number * days // count
    columns = {
        "id": number.tolist(),
        "x": x.tolist(),
        "shop": [f"shop {n}" for n in (number * 7 % shops).tolist()],
        "date": [(date(2024, 1, 1) + timedelta(days=n)).isoformat() for n in day.tolist()],
        "seconds": (1704067200 + day * 86400).tolist(),
        "label": (x >= 50).astype(int).tolist(),
        **changes,
    }
    return pa.record_batch(
        [pa.array(columns[c.name], c.arrow) for c in COLUMNS], names=[c.name for c in COLUMNS]
    )


def in_batches(batch: pa.RecordBatch, size: int = 100) -> list[Rows]:
    """Return the rows in batches of the file sales.csv."""
    return [Rows(batch.slice(n, size), "sales.csv", n + 1) for n in range(0, batch.num_rows, size)]


def workload(make: Callable[..., Workload], batch: pa.RecordBatch, **attributes: Any) -> Workload:
    """Return a variant of the workload `fence` with these rows."""
    return make(columns=COLUMNS, batches=in_batches(batch), **attributes)
