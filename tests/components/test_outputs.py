"""evaluate validates all outputs of a handler: undeclared outputs are an error, NaN is a rejection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model

from .conftest import Line, Make, replace_checksums

INFERENCE = 'return {"y": tensors["x"] * self.slope}'
ANSWER = 'return {"y": tensors["y"].tolist()}'
WIDTH = {"name": "width", "datatype": "FP32", "shape": [-1, 2]}


def train_modified(line: Line, inference: str, answer: str = ANSWER, outputs: Any = WIDTH) -> None:
    """Train, and replace inference and answer of the bundle's handler; declare a second output."""
    line.train("run-1")
    folder: Path = line.folder / "run-1/model"
    (handler,) = folder.rglob("line/handler.py")
    code = handler.read_text()
    assert INFERENCE in code
    assert ANSWER in code
    handler.write_text(code.replace(INFERENCE, inference).replace(ANSWER, answer))
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(model | {"outputs": [*model["outputs"], outputs]}))
    replace_checksums(folder)


@pytest.fixture
def line(line: Line, make: Make) -> Line:
    line.workload = make("line")
    return line


def inference_with(width: str) -> str:
    return f'x = tensors["x"]; n = len(x); return {{"y": x * self.slope, "width": {width}}}'


def test_outputs_as_declared_are_accepted(line: Line) -> None:
    train_modified(line, inference_with("np.ones((n, 2), np.float32)"))
    result = line.evaluate("run-1")
    assert result.promoted
    assert result.golden.check(load_model(line.folder / "run-1/model").predict) == []


@pytest.mark.parametrize(
    ("width", "mismatch"),
    [
        ("np.ones((n, 2))", r"as FP32 \[n, 2\], but for \d+ rows it returns float64"),
        ("np.ones((n, 3), np.float32)", r"returns shape \[\d+, 3\]"),
        ("np.ones(n, np.float32)", r"returns shape \[\d+\]"),
        ("np.ones((n + 1, 2), np.float32)", r"returns shape \[\d+, 2\]"),
        ("[[1, 1]] * n", "returns a list, not a numpy array"),
    ],
)
def test_an_output_that_differs_from_its_declaration_is_an_error(
    line: Line, width: str, mismatch: str
) -> None:
    train_modified(line, inference_with(width))
    with pytest.raises(UserError, match=f"declares the output width.*{mismatch}"):
        line.evaluate("run-1")
    assert not (line.folder / "run-1/evaluation").exists()


def test_a_missing_output_is_an_error(line: Line) -> None:
    train_modified(line, INFERENCE)
    with pytest.raises(UserError, match=r"for \d+ rows it does not return it"):
        line.evaluate("run-1")


def test_text_may_have_any_fixed_width_type(line: Line) -> None:
    texts = {"name": "width", "datatype": "BYTES", "shape": [-1]}
    train_modified(line, inference_with('np.array(["wide", "narrow"])[(x > 0).astype(int)]'), outputs=texts)
    assert line.evaluate("run-1").promoted


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_nan_or_infinity_in_any_output_is_rejected(line: Line, number: str) -> None:
    train_modified(
        line, inference_with(f'np.where(x[:, None] > 0, np.float32("{number}"), np.ones((n, 2), np.float32))')
    )
    result = line.evaluate("run-1")
    (nan_check,) = result.decision.checks
    assert not result.promoted
    assert nan_check.name == "finite numbers"
    assert nan_check.measured.startswith("not in output width in ")
    assert nan_check.measured.endswith(f"of {result.evaluation.rows} rows")
    assert result.evaluation.metrics["mse"].value < 5, "the predictions are accurate"


def test_nan_in_a_golden_answer_is_rejected(line: Line) -> None:
    train_modified(
        line, inference_with("np.ones((n, 2), np.float32)"), 'return {"y": [{"at": (1.0, float("nan"))}]}'
    )
    (nan_check,) = line.evaluate("run-1").decision.checks
    assert nan_check.measured == "not in 8 of 8 golden responses"
