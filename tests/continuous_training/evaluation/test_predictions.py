"""Predictions on the holdout, and the validation of a handler's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from continuous_training.core.errors import UserError
from continuous_training.evaluation.predictions import (
    OutputSpec,
    OutputValidator,
    Predictions,
    non_finite_responses,
    predict,
)

LABEL = OutputSpec("label", "INT64", np.dtype("int64"), (-1,))
SCORES = OutputSpec("scores", "FP32", np.dtype("float32"), (-1, 2))
TEXT = OutputSpec("text", "BYTES", np.dtype("object"), (-1,))


def test_predictions_are_joined_in_the_order_of_the_batches() -> None:
    batches = [({"label": np.array([1, 2])}, 2), ({"label": np.array([3])}, 1)]
    assert predict("toy", "label", batches).tolist() == [1, 2, 3]


@pytest.mark.parametrize("array", [None, np.zeros((2, 1)), np.zeros(3)])
def test_a_prediction_must_have_one_value_per_row(array: np.ndarray | None) -> None:
    outputs = {} if array is None else {"label": array}
    with pytest.raises(UserError, match=r"workload toy: .*one value per row"):
        predict("toy", "label", [(outputs, 2)])


@pytest.mark.parametrize(
    ("spec", "array", "mismatch"),
    [
        (LABEL, np.zeros(2, np.int64), ""),
        (SCORES, np.zeros((2, 2), np.float32), ""),
        (TEXT, np.array(["a", "bc"]), ""),
        (TEXT, np.array(["a", "b"], dtype=object), ""),
        (LABEL, None, "does not return it"),
        (LABEL, [1, 2], "returns a list, not a numpy array"),
        (LABEL, np.zeros(2), "returns float64"),
        (SCORES, np.zeros((2, 3), np.float32), "returns shape [2, 3]"),
        (SCORES, np.zeros((3, 2), np.float32), "returns shape [3, 2]"),
        (SCORES, np.zeros(2, np.float32), "returns shape [2]"),
    ],
)
def test_an_output_is_compared_with_its_declaration(spec: OutputSpec, array: Any, mismatch: str) -> None:
    assert spec.mismatch(array, 2) == mismatch


def test_a_mismatch_is_an_error_with_workload_and_output() -> None:
    validator = OutputValidator("toy", [SCORES])
    with pytest.raises(UserError, match=r"workload toy: .* output scores as FP32 \[n, 2\]"):
        validator.validate({}, 2)


def test_rows_with_nan_or_infinity_are_counted_over_all_batches() -> None:
    validator = OutputValidator("toy", [LABEL, SCORES])
    labels = np.zeros(2, np.int64)
    validator.validate({"label": labels, "scores": np.array([[1, np.nan], [0, 0]], np.float32)}, 2)
    validator.validate({"label": labels, "scores": np.array([[np.inf, np.nan], [0, 0]], np.float32)}, 2)
    assert validator.non_finite() == ["output scores in 2 of 4 rows"]


def test_nan_is_found_in_nested_responses() -> None:
    assert non_finite_responses([{"y": [1.0, 2]}, ["text", None]]) == []
    responses = [{"y": [{"z": (1.0, float("nan"))}]}, {"y": [1.0]}, float("inf")]
    assert non_finite_responses(responses) == ["2 of 3 golden responses"]


def test_wrong_rows_are_those_of_the_challenger() -> None:
    predictions = Predictions(np.array([1, 2, 3]), np.array([1, 0, 0]), np.array([0, 2, 3]))
    assert predictions.wrong_rows().tolist() == [1, 2]
