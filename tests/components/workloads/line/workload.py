"""A line through the origin. The correct slope is 2; with the slope `nan`, all predictions are NaN."""

import json

import numpy as np
import pyarrow as pa

from workloads.contract import Column, Parameter, PromotionRule, Rows, Training, Workload

from .handler import LineHandler


class Line(Workload):
    """A regression whose metric is the mean squared error: lower is better."""

    name = "line"
    summary = "a line through the origin"
    task = "regression"
    key = "id"
    target = "y"
    prediction = "y"
    default_source = "made"
    handler = LineHandler
    minimum_rows = 50
    columns = (Column("id", "integer"), Column("x", "number", -100, 100), Column("y", "number"))
    own_parameters = (Parameter("slope", "2", "text that a float is read from"),)
    rule = PromotionRule(metric="mse", floor=5.0, margin=0.5, superiority=False, minimum_rows=20)

    def load(self, source, values, context):
        rng = np.random.default_rng(0)
        x = rng.uniform(-1, 1, 600)
        columns = [pa.array(np.arange(600)), pa.array(x), pa.array(2 * x + rng.normal(0, 0.1, 600))]
        yield Rows(pa.record_batch(columns, schema=self.schema()), source)

    def train(self, rows, values, output, progress):
        (output / "slope.json").write_text(json.dumps(values["slope"]))
        return Training()

    def tensors(self, rows):
        return {"x": rows["x"].to_numpy()}

    def request(self, row):
        return {"x": row["x"].to_pylist()}

    def slices(self, rows):
        x = rows["x"].to_numpy()
        return {"left": x < 0, "one row": np.arange(len(x)) == 0, "none": x > 100}


WORKLOAD = Line
