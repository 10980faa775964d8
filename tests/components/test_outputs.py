"""A model is judged by all that it answers: what is not as declared is refused, NaN is rejected."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model

from .conftest import Line, Make

RETURN = 'return {"y": tensors["x"] * self.slope}'
ANSWER = 'return {"y": tensors["y"].tolist()}'
SECOND = {"name": "width", "datatype": "FP32", "shape": [-1, 2]}


def altered(line: Line, inference: str, answer: str = ANSWER, outputs: Any = SECOND) -> None:
    """Train, and give the bundle's handler another inference, another answer, and a second output."""
    line.train("run-1")
    folder: Path = line.folder / "run-1/model"
    (handler,) = folder.rglob("line/handler.py")
    code = handler.read_text()
    assert RETURN in code
    assert ANSWER in code
    handler.write_text(code.replace(RETURN, inference).replace(ANSWER, answer))
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(model | {"outputs": [*model["outputs"], outputs]}))


@pytest.fixture
def line(line: Line, make: Make) -> Line:
    line.workload = make("line")
    return line


def second(width: str) -> str:
    return f'x = tensors["x"]; n = len(x); return {{"y": x * self.slope, "width": {width}}}'


def test_outputs_as_declared_are_judged_by_the_rule(line: Line) -> None:
    altered(line, second("np.ones((n, 2), np.float32)"))
    evaluation = line.evaluate("run-1")
    assert evaluation.promoted
    assert "reaches the floor" in evaluation.description["reasons"][0]
    assert GoldenSet.from_json(evaluation.golden).check(load_model(line.folder / "run-1/model").predict) == []


@pytest.mark.parametrize(
    ("width", "words"),
    [
        ("np.ones((n, 2))", r"as FP32 \[n, 2\], and answers \d+ rows with float64"),
        ("np.ones((n, 3), np.float32)", r"rows with shape \[\d+, 3\]"),
        ("np.ones(n, np.float32)", r"rows with shape \[\d+\]"),
        ("np.ones((n + 1, 2), np.float32)", r"rows with shape \[\d+, 2\]"),
        ("[[1, 1]] * n", "rows with a list, which is no numpy array"),
    ],
)
def test_an_output_that_is_not_as_declared_is_refused(line: Line, width: str, words: str) -> None:
    altered(line, second(width))
    with pytest.raises(UserError, match=f"declares the output width.*{words}.*say the same"):
        line.evaluate("run-1")
    assert not (line.folder / "run-1/evaluation").exists()


def test_an_output_that_is_missing_is_refused(line: Line) -> None:
    altered(line, RETURN)
    with pytest.raises(UserError, match=r"answers \d+ rows without it"):
        line.evaluate("run-1")


def test_texts_may_be_of_any_width(line: Line) -> None:
    texts = {"name": "width", "datatype": "BYTES", "shape": [-1]}
    altered(line, second('np.array(["wide", "narrow"])[(x > 0).astype(int)]'), outputs=texts)
    assert line.evaluate("run-1").promoted


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_a_number_that_is_none_in_any_output_is_rejected(line: Line, number: str) -> None:
    altered(line, second(f'np.where(x[:, None] > 0, np.float32("{number}"), np.ones((n, 2), np.float32))'))
    evaluation = line.evaluate("run-1")
    (reason,) = evaluation.description["reasons"]
    assert not evaluation.promoted
    assert reason.startswith("not a number: output width in ")
    assert f"of {evaluation.description['rows']} rows; nothing can be said" in reason
    assert evaluation.description["metrics"]["mse"]["value"] < 5, "the prediction itself is a good one"


def test_a_golden_answer_without_a_number_is_rejected(line: Line) -> None:
    altered(line, second("np.ones((n, 2), np.float32)"), 'return {"y": [{"at": (1.0, float("nan"))}]}')
    (reason,) = line.evaluate("run-1").description["reasons"]
    assert reason.startswith("not a number: 8 of 8 golden answers;")
