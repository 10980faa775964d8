"""Batched inference in which a failing request does not affect the others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from continuous_training.serving.errors import EncodingError, HandlerError, RequestError
from continuous_training.serving.gc_pause import gc_paused
from continuous_training.serving.json_codec import LARGE_BYTES
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.request_limits import MAX_ROWS_PER_REQUEST
from continuous_training.serving.models.versions import LoadedVersion

InferenceResult = InferenceResponse | RequestError | HandlerError

MAX_ROWS_PER_CALL = 256
"""The maximum number of rows in one call of a handler. It limits the memory of one inference."""


@dataclass(slots=True)
class _PreparedRequest:
    """A request with its input tensors; `index` is its position in the batch."""

    index: int
    request: InferenceRequest
    tensors: Tensors
    rows: int


def run_batch(
    version: LoadedVersion, requests: Sequence[InferenceRequest], max_rows: int = 1
) -> list[InferenceResult]:
    """Run requests in as few inferences of up to `max_rows` rows as possible.

    Return one result per request, in order: a response, a RequestError for an invalid request, or a
    HandlerError if the handler fails on the request alone. VersionUnloadedError if the version is unloaded.
    """
    results: list[Any] = [None] * len(requests)
    start = time.monotonic()
    with version as model:
        items: list[_PreparedRequest] = []
        for index, request in enumerate(requests):
            try:
                tensors = _build_inputs(request, model)
                items.append(_PreparedRequest(index, request, tensors, _row_count(tensors)))
            except RequestError as error:
                results[index] = _without_frames(error)
            except RecursionError:
                results[index] = RequestError("the request is nested too deeply")
            except (Exception, SystemExit) as error:
                results[index] = _handler_error(version, error)
        for group in _groups(items, max_rows):
            _run_group(version, group, results)
    version.inference_time.observe(time.monotonic() - start)
    return results


def _groups(items: list[_PreparedRequest], max_rows: int) -> Iterator[list[_PreparedRequest]]:
    """Group consecutive requests of up to `max_rows` rows together. A larger request is a group alone."""
    group: list[_PreparedRequest] = []
    rows = 0
    for item in items:
        if group and rows + item.rows > max_rows:
            yield group
            group, rows = [], 0
        group.append(item)
        rows += item.rows
    if group:
        yield group


def _build_inputs(request: InferenceRequest, model: Model) -> Tensors:
    if request.size() <= LARGE_BYTES:
        return request.build_inputs(model)
    with gc_paused():
        return request.build_inputs(model)


def _row_count(tensors: Tensors) -> int:
    """Return the number of rows. RequestError if it is above the limit."""
    rows = len(next(iter(tensors.values())))
    if rows > MAX_ROWS_PER_REQUEST:
        raise RequestError(
            f"the request has {rows} rows, and the limit is {MAX_ROWS_PER_REQUEST}: send several requests"
        )
    return rows


def _run_group(version: LoadedVersion, group: list[_PreparedRequest], results: list[Any]) -> None:
    """Run a group in one inference and store its results at their indexes.

    If the inference fails, run each request alone, so that only the failing requests get an error.
    """
    if len(group) == 1:
        _run_alone(version, group[0], results)
        return
    rows = sum([item.rows for item in group])
    try:
        names = group[0].tensors
        batch_inputs = {name: np.concatenate([item.tensors[name] for item in group]) for name in names}
        outputs = _infer(version, batch_inputs, rows)
        if any(len(array) != rows for array in outputs.values()):
            raise ValueError("an output does not have one row for each input row")
    except (Exception, SystemExit):
        for item in group:
            _run_alone(version, item, results)
        return
    end = 0
    for item in group:
        begin, end = end, end + item.rows
        item_outputs = {name: array[begin:end] for name, array in outputs.items()}
        results[item.index] = _encode_response(version, item.request, item_outputs)


def _run_alone(version: LoadedVersion, item: _PreparedRequest, results: list[Any]) -> None:
    try:
        outputs = _infer(version, item.tensors, item.rows)
    except (Exception, SystemExit) as error:
        results[item.index] = _handler_error(version, error)
    else:
        results[item.index] = _encode_response(version, item.request, outputs)


def _infer(version: LoadedVersion, tensors: Tensors, rows: int) -> Tensors:
    """Call the handler, in chunks if there are more than `MAX_ROWS_PER_CALL` rows."""
    if rows <= MAX_ROWS_PER_CALL:
        return version.model.infer(tensors)
    chunks = [
        version.model.infer(
            {name: array[begin : begin + MAX_ROWS_PER_CALL] for name, array in tensors.items()}
        )
        for begin in range(0, rows, MAX_ROWS_PER_CALL)
    ]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _without_frames(error: RequestError) -> RequestError:
    """Remove the stack frames of an error: their variables would keep the parsed body in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _encode_response(version: LoadedVersion, request: InferenceRequest, outputs: Tensors) -> InferenceResult:
    try:
        return request.encode_response(version, outputs)
    except RequestError as error:
        return error
    except (Exception, SystemExit) as error:
        return _handler_error(version, error)


def _handler_error(version: LoadedVersion, error: BaseException) -> HandlerError:
    name = f"{version.name} {version.version}"
    if isinstance(error, EncodingError):
        failure = HandlerError(f"the response of {name} cannot be encoded as JSON: {error}")
    else:
        failure = HandlerError(f"the handler of {name} failed on a request")
    failure.__cause__ = error
    return failure
