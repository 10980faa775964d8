"""Whether a model answers with what it declares: every output by name, type and shape, and only numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from continuous_training.core.errors import UserError
from continuous_training.serving.api.tensors import DTYPES
from continuous_training.serving.models.model import Model, Tensors


class Outputs:
    """Holds a model's answers against its declared outputs, and counts the rows without a number in them."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows = 0
        self._broken: dict[str, int] = {}

    def check(self, answer: Tensors, rows: int) -> None:
        """Take in an answer to `rows` rows; UserError for an output that is not as declared."""
        self.rows += rows
        for declared in self.model.outputs:
            name = declared["name"]
            if fault := _fault(declared, answer.get(name), rows):
                raise UserError(
                    f"workload {self.model.name}: its handler declares the output {name} as "
                    f"{_words(declared['datatype'], declared['shape'])}, and answers {rows} rows {fault}; "
                    "make its inference and its `outputs` say the same, since callers rely on them"
                )
            if answer[name].dtype.kind == "f":
                finite = np.isfinite(answer[name]).reshape(rows, -1).all(axis=1)
                self._broken[name] = self._broken.get(name, 0) + int((~finite).sum())

    def broken(self) -> list[str]:
        """Return where NaN or infinity was answered, in words."""
        return [f"output {name} in {n:,} of {self.rows:,} rows" for name, n in self._broken.items() if n]


def broken_answers(golden: list[dict[str, Any]]) -> list[str]:
    """Return how many golden answers hold NaN or infinity, in words; nothing where none does."""
    broken = sum(not all(map(math.isfinite, _floats(row["answer"]))) for row in golden)
    return [f"{broken} of {len(golden)} golden answers"] if broken else []


def _fault(declared: dict[str, Any], array: np.ndarray | None, rows: int) -> str:
    """Return how an output differs from what is declared, in words; nothing where it does not."""
    if array is None:
        return "without it"
    if not isinstance(array, np.ndarray):
        return f"with a {type(array).__name__}, which is no numpy array"
    wanted = np.dtype(DTYPES[declared["datatype"]])
    # Texts are objects, or numpy's own fixed-width kinds.
    if array.dtype != wanted and not (wanted.kind == "O" and array.dtype.kind in "US"):
        return f"with {array.dtype}"
    shape = [rows, *declared["shape"][1:]]
    if array.ndim != len(shape) or any(w not in (-1, n) for w, n in zip(shape, array.shape, strict=True)):
        return f"with shape {list(array.shape)}"
    return ""


def _words(datatype: str, shape: list[int]) -> str:
    return f"{datatype} {['n', *shape[1:]]}".replace("'", "")


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _floats(item)
    elif isinstance(value, float):
        yield value
