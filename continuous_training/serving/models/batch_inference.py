"""Many requests in one inference, where none can harm another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.serving.errors import EncodingError, HandlerError, RequestError
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse
from continuous_training.serving.models.model import Tensors
from continuous_training.serving.models.versions import LoadedVersion

InferenceResult = InferenceResponse | RequestError | HandlerError

CHUNK = 256
"""The most rows in one call of a handler, which bounds what its inference takes of memory."""


@dataclass(slots=True)
class _Prepared:
    index: int
    inference_request: InferenceRequest
    tensors: Tensors
    rows: int


def run_batch(
    loaded: LoadedVersion, works: Sequence[InferenceRequest], rows: int = 1
) -> list[InferenceResult]:
    """Answer each work, in order, with as few inferences of up to `rows` rows as that takes.

    A request that cannot be read gets its RequestError, and one that the handler fails on, even alone,
    its HandlerError; the others get their answers. GoneError when the version is freed already.
    """
    results: list[Any] = [None] * len(works)
    with loaded as model:
        prepared: list[_Prepared] = []
        for index, work in enumerate(works):
            try:
                tensors = work.build_inputs(model)
                prepared.append(_Prepared(index, work, tensors, _rows(tensors)))
            except RequestError as error:
                results[index] = error
            except RecursionError:
                results[index] = RequestError("the request is nested too deeply")
            except (Exception, SystemExit) as error:
                results[index] = _failed(loaded, error)
        for group in _groups(prepared, rows):
            _answer_group(loaded, group, results)
    return results


def _groups(prepared: list[_Prepared], rows: int) -> Iterator[list[_Prepared]]:
    """Put neighbours together while they have no more than `rows` rows; a larger one stays alone."""
    group: list[_Prepared] = []
    size = 0
    for one in prepared:
        if group and size + one.rows > rows:
            yield group
            group, size = [], 0
        group.append(one)
        size += one.rows
    if group:
        yield group


def _rows(tensors: Tensors) -> int:
    return len(next(iter(tensors.values())))


def _answer_group(loaded: LoadedVersion, group: list[_Prepared], results: list[Any]) -> None:
    """Put the results of a group, which one inference answers, in their places."""
    if len(group) == 1:
        (one,) = group
        try:
            outputs = _infer(loaded, one.tensors, one.rows)
        except (Exception, SystemExit) as error:
            results[one.index] = _failed(loaded, error)
        else:
            results[one.index] = _finish(loaded, one.inference_request, outputs)
        return
    rows = sum([one.rows for one in group])
    try:
        names = group[0].tensors
        joined = {name: np.concatenate([one.tensors[name] for one in group]) for name in names}
        outputs = _infer(loaded, joined, rows)
        if any(len(array) != rows for array in outputs.values()):
            raise ValueError("an output has not one row for each row of the input")
    except (Exception, SystemExit):
        # One of them may be at fault, and not the others.
        for one in group:
            _answer_group(loaded, [one], results)
        return
    end = 0
    for one in group:
        begin, end = end, end + one.rows
        own = {name: array[begin:end] for name, array in outputs.items()}
        results[one.index] = _finish(loaded, one.inference_request, own)


def _infer(loaded: LoadedVersion, tensors: Tensors, rows: int) -> Tensors:
    """Call the handler, in parts when there are many rows."""
    if rows <= CHUNK:
        return loaded.model.infer(tensors)
    parts = [
        loaded.model.infer({name: array[begin : begin + CHUNK] for name, array in tensors.items()})
        for begin in range(0, rows, CHUNK)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _finish(loaded: LoadedVersion, work: InferenceRequest, outputs: Tensors) -> InferenceResult:
    try:
        return work.encode_response(loaded, outputs)
    except RequestError as error:
        return error
    except (Exception, SystemExit) as error:
        return _failed(loaded, error)


def _failed(loaded: LoadedVersion, error: BaseException) -> HandlerError:
    name = f"{loaded.name} {loaded.version}"
    if isinstance(error, EncodingError):
        failure = HandlerError(f"what {name} answered is no JSON: {error}")
    else:
        failure = HandlerError(f"the handler of {name} failed on a request")
    failure.__cause__ = error
    return failure
