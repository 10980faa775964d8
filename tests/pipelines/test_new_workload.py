"""A new workload is one folder: a workload outside the project runs through the whole DAG."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from continuous_training.serving.process import daemon

ROOT = Path(__file__).parents[2]

HANDLER = '''
"""Answers whether a text is a question."""
import json

import numpy as np

from ..handler import Handler, Tensor
from .words import count


class ToyHandler(Handler):
    inputs = (Tensor("text", "BYTES", (-1,)),)
    outputs = (Tensor("question", "INT64", (-1,)),)

    def load(self, folder):
        self.threshold = json.loads((folder / "threshold.json").read_text())

    def preprocess(self, request):
        if not isinstance(request, dict) or not isinstance(request.get("text"), list):
            raise ValueError('send {"text": ["...", ...]}')
        return {"text": np.array(request["text"], dtype=object)}

    def inference(self, tensors):
        marks = [count(text) for text in tensors["text"]]
        return {"question": (np.array(marks) >= self.threshold).astype(np.int64)}

    def postprocess(self, tensors):
        return {"question": tensors["question"].tolist()}
'''

WORDS = '''
"""Featurisation that training and serving share."""


def count(text):
    return text.count("?")
'''

WORKLOAD = '''
"""Questions and statements: a text workload as small as can be."""
import json

import numpy as np
import pyarrow as pa

from workloads.contract import Column, Parameter, PromotionRule, Rows, Training, Workload

from .handler import ToyHandler
from .words import count


class Toy(Workload):
    name = "toy"
    summary = "tells questions from statements"
    task = "classification"
    key = "id"
    target = "question"
    prediction = "question"
    default_source = "made"
    handler = ToyHandler
    columns = (
        Column("id", "text"), Column("text", "text"), Column("question", "integer", values=(0, 1)),
    )
    own_parameters = (Parameter("rows", 400, "how many rows are made", minimum=100, maximum=100000),)
    rule = PromotionRule(metric="accuracy", floor=0.9, minimum_rows=40)

    def load(self, source, values, context):
        numbers = range(int(values["rows"]))
        texts = [f"row {i}" + ("?" * (i % 2)) for i in numbers]
        columns = [[str(i) for i in numbers], texts, [i % 2 for i in numbers]]
        yield Rows(pa.record_batch([pa.array(c) for c in columns], schema=self.schema()), "made")

    def train(self, rows, values, output, progress):
        marks = np.array([count(text) for text in rows["text"].to_pylist()])
        best = max((1, 2), key=lambda t: ((marks >= t) == rows["question"].to_numpy()).mean())
        (output / "threshold.json").write_text(json.dumps(best))
        return Training()

    def tensors(self, rows):
        return {"text": np.array(rows["text"].to_pylist(), dtype=object)}

    def request(self, row):
        return {"text": row["text"].to_pylist()}


WORKLOAD = Toy
'''


@pytest.fixture
def environment(tmp_path):
    """An environment whose Python path has a folder outside the project, with one workload."""
    folder = tmp_path / "path" / "workloads" / "toy"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("")
    for name, text in {"__init__": "", "handler": HANDLER, "words": WORDS, "workload": WORKLOAD}.items():
        (folder / f"{name}.py").write_text(text)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "path")}


def python(*arguments, env, expect=0):
    process = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=env, cwd=ROOT, timeout=300
    )
    assert process.returncode == expect, process.stderr[-3000:]
    return process.stdout


def test_a_new_workload_runs_through_the_whole_dag(environment, tmp_path):
    state = tmp_path / "state"
    assert "tells questions from statements" in python("workloads", env=environment)
    arguments = ("pipelines.run", "--workload", "toy", "--state", str(state), "--json")
    try:
        first = json.loads(python(*arguments, env=environment))
        assert first["verdict"] == "promoted"
        assert first["metrics"]["accuracy"]["value"] == 1.0
        answer = requests.post(first["endpoint"], json={"text": ["ready?", "ready."]}, timeout=10)
        assert answer.json() == {"question": [1, 0]}
        assert requests.post(first["endpoint"], json={"text": 3}, timeout=10).status_code == 400
        repeated = json.loads(python(*arguments, env=environment))
        assert repeated["verdict"] == "unchanged"
        rejected = json.loads(python(*arguments, "--set", "rows=800", env=environment, expect=3))
        assert "no difference on any row" in " ".join(rejected["reasons"])
    finally:
        daemon.stop(state)


def test_a_new_workload_is_compiled(environment, tmp_path):
    output = python("pipelines.compile", "--workload", "toy", "--output", str(tmp_path), env=environment)
    assert "toy.yaml" in output
    assert "rows: int" in (tmp_path / "toy.yaml").read_text()
