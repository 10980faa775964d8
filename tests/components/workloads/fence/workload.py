"""Predict on which side of a fence a number is. The accuracy falls with the distance of the fence from 50."""

import json
from typing import ClassVar

import numpy as np
import pyarrow as pa

from workloads.contract import Column, Parameter, PromotionRule, Rows, Training, Workload

from .handler import FenceHandler


class Fence(Workload):
    """`batches`, an iterable or a callable, replaces the generated rows."""

    name = "fence"
    summary = "which side of a fence a number lies on"
    task = "classification"
    key = "id"
    target = "label"
    prediction = "label"
    default_source = "made:1000"
    handler = FenceHandler
    minimum_rows = 50
    # The generated rows repeat after 1,000.
    overlap_share = 1.0
    columns = (
        Column("id", "text"),
        Column("x", "number", 0, 100),
        Column("label", "integer", values=(0, 1)),
    )
    own_parameters = (Parameter("fence", 50.0, "the position of the fence", minimum=0, maximum=100),)
    rule = PromotionRule(metric="accuracy", floor=0.6, minimum_rows=20)
    batches: ClassVar = None
    fails: ClassVar[str] = ""

    def load(self, source, values, context):
        if self.batches is not None:
            yield from self.batches() if callable(self.batches) else self.batches
            return
        for first in range(1, int(source.partition(":")[2]) + 1, 100):
            yield Rows(generated_rows(first, 100), source, first)

    def train(self, rows, values, output, progress):
        (output / "fence.json").write_text(json.dumps(values["fence"]))
        if self.fails:
            raise RuntimeError(self.fails)
        return Training([{"step": 1, "error": 0.5}], {"fence": values["fence"]})

    def tensors(self, rows):
        return {"x": rows["x"].to_numpy()}

    def request(self, row):
        return {"x": row["x"].to_pylist()}


def generated_rows(first, count):
    """Return the generated rows number `first` to `first + count - 1`."""
    numbers = np.arange(first, first + count)
    x = (numbers * 37 % 1000) / 10
    ids = [f"row {number}" for number in numbers]
    columns = [pa.array(ids), pa.array(x), pa.array((x >= 50).astype(np.int64))]
    return pa.record_batch(columns, schema=Fence.schema())


WORKLOAD = Fence
