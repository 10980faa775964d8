"""Batched inference and the request queue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from toy_models import make_archive

from continuous_training.serving.api.v2_request import InferRequest
from continuous_training.serving.errors import HandlerError, ModelNotFoundError, OverloadedError, RequestError
from continuous_training.serving.models.batch_inference import MAX_ROWS_PER_CALL, InferenceResult
from continuous_training.serving.models.batch_settings import BatchSettings
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.inference_request import (
    InferenceRequest,
    InferenceResponse,
    PredictRequest,
)
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.settings import ServerSettings


def predict(*x: Any) -> PredictRequest:
    return PredictRequest(json.dumps({"x": x}).encode())


def infer(*x: float) -> InferRequest:
    tensor = {"name": "x", "datatype": "FP32", "shape": [len(x)], "data": x}
    return InferRequest(json.dumps({"id": str(x[0]), "inputs": [tensor]}).encode())


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "server")
    archive = make_archive(tmp_path, fails_on=13)
    repository.load(archive.path, archive.digest)
    return repository


def inference_count(repository: ModelRepository) -> int:
    count: int = repository.get("toy").model.handler.calls
    return count


def y(result: InferenceResult) -> Any:
    assert isinstance(result, InferenceResponse), result
    return json.loads(result.body)["y"]


def test_a_batch_is_one_inference_and_each_request_gets_its_rows(repository: ModelRepository) -> None:
    before = inference_count(repository)
    requests: list[InferenceRequest] = [predict(1), predict(2, 3), infer(4, 5), predict()]
    results = repository.infer("toy", requests, 64)
    assert inference_count(repository) == before + 1
    assert [y(results[0]), y(results[1]), y(results[3])] == [[2.0], [4.0, 6.0], []]
    assert isinstance(results[2], InferenceResponse)
    response = json.loads(results[2].body)
    assert (response["id"], response["outputs"][0]["data"]) == ("4", [8.0, 10.0])


def test_batches_have_at_most_max_rows_and_one_row_disables_batching(repository: ModelRepository) -> None:
    requests = [predict(n, n) for n in range(1, 5)]
    for max_rows, inferences in ((1, 4), (2, 4), (4, 2), (5, 2), (100, 1)):
        before = inference_count(repository)
        assert [y(result) for result in repository.infer("toy", requests, max_rows)] == [
            [2.0 * n, 2.0 * n] for n in range(1, 5)
        ]
        assert inference_count(repository) == before + inferences, max_rows


def test_the_handlers_batch_size_limits_the_batches(repository: ModelRepository) -> None:
    repository.get("toy").model.handler.batch_rows = 1
    before = inference_count(repository)
    repository.infer("toy", [predict(1), predict(2)], 64)
    assert inference_count(repository) == before + 2


def test_a_request_of_many_rows_is_run_in_chunks(repository: ModelRepository) -> None:
    before = inference_count(repository)
    rows = MAX_ROWS_PER_CALL * 2 + 1
    (result,) = repository.infer("toy", [predict(*[1] * rows)])
    assert y(result) == [2.0] * rows
    assert inference_count(repository) == before + 3


def test_failing_requests_do_not_affect_the_other_requests_of_a_batch(repository: ModelRepository) -> None:
    requests: list[InferenceRequest] = [
        predict(1),
        PredictRequest(b"{"),
        predict(13),
        predict("?"),
        infer(2),
        predict(-1),
    ]
    results = repository.infer("toy", requests, 64)
    assert [type(result) for result in results] == [
        InferenceResponse,
        RequestError,
        HandlerError,
        RequestError,
        InferenceResponse,
        HandlerError,
    ]
    assert y(results[0]) == [2.0]
    assert "this row fails" in str(results[2].__cause__)  # type: ignore[union-attr]
    assert "cannot be encoded as JSON" in str(results[5])


def test_an_output_without_one_row_per_input_row_is_not_split(repository: ModelRepository) -> None:
    handler = repository.get("toy").model.handler
    inference = handler.inference
    handler.inference = lambda tensors: {"y": inference(tensors)["y"].sum(keepdims=True)}
    results = repository.infer("toy", [predict(1, 2), predict(3, 4)], 64)
    assert [y(result) for result in results] == [[6.0], [14.0]]


def test_an_invalid_result_of_preprocess_is_a_handler_error(repository: ModelRepository) -> None:
    repository.get("toy").model.handler.preprocess = lambda _: {"x": 1}
    (result,) = repository.infer("toy", [predict(1)])
    assert isinstance(result, HandlerError)


async def infer_concurrently(batcher: Batcher, requests: list[InferenceRequest]) -> list[Any]:
    return await asyncio.gather(
        *(batcher.infer("toy", request) for request in requests), return_exceptions=True
    )


def test_queued_requests_are_run_in_batches(repository: ModelRepository) -> None:
    batches: list[int] = []
    batcher = Batcher(repository, BatchSettings(max_rows=4), lambda _, requests, __: batches.append(requests))
    results = asyncio.run(infer_concurrently(batcher, [predict(n) for n in range(1, 11)]))
    assert [y(result) for result in results] == [[2.0 * n] for n in range(1, 11)]
    assert batches == [4, 4, 2]
    assert (batcher.queue_length, batcher.active_call, batcher._queues) == (0, None, {})


def test_queued_requests_beyond_the_handlers_batch_size_wait_for_the_next_batch(
    repository: ModelRepository,
) -> None:
    batches: list[int] = []
    repository.get("toy").model.handler.batch_rows = 3
    batcher = Batcher(repository, BatchSettings(), lambda _, requests, __: batches.append(requests))
    results = asyncio.run(infer_concurrently(batcher, [predict(n) for n in range(1, 8)]))
    assert [y(result) for result in results] == [[2.0 * n] for n in range(1, 8)]
    assert batches == [3, 3, 1]


def test_a_batch_waits_for_more_requests_with_max_delay(repository: ModelRepository) -> None:
    batches: list[int] = []
    settings = BatchSettings(max_delay=0.2)
    batcher = Batcher(repository, settings, lambda _, requests, __: batches.append(requests))

    async def infer_twice() -> None:
        first = asyncio.create_task(batcher.infer("toy", predict(1)))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, batcher.infer("toy", predict(2)))

    asyncio.run(infer_twice())
    assert batches == [2]


def test_a_full_queue_rejects_requests_and_runs_the_queued_ones(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings(max_queued=3))
    results = asyncio.run(infer_concurrently(batcher, [predict(n) for n in range(1, 6)]))
    assert [type(result) for result in results] == [InferenceResponse] * 3 + [OverloadedError] * 2


def test_late_requests_fail_and_cancelled_requests_are_not_run(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings(timeout=0.05, max_rows=1))
    repository.get("toy").model.handler.settings["slow"] = 0.1

    async def infer_and_cancel_one() -> list[Any]:
        tasks = [asyncio.create_task(batcher.infer("toy", predict(n))) for n in range(1, 5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    before = inference_count(repository)
    types = [type(result) for result in asyncio.run(infer_and_cancel_one())]
    assert types[:2] == [InferenceResponse, asyncio.CancelledError]
    assert types[2:] in ([InferenceResponse, OverloadedError], [OverloadedError, OverloadedError])
    assert inference_count(repository) <= before + 2
    assert batcher.queue_length == 0


def test_queued_requests_fail_when_the_model_is_unloaded(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings())

    async def infer_and_unload() -> list[Any]:
        responses = asyncio.gather(
            *(batcher.infer("toy", predict(1)) for _ in range(2)), return_exceptions=True
        )
        repository.unload("toy")
        return await responses

    results = asyncio.run(infer_and_unload())
    assert [type(result) for result in results] == [ModelNotFoundError] * 2


@pytest.mark.parametrize(
    "values",
    [
        {"max_body": 0},
        {"timeout": 0},
        {"batch_rows": 0},
        {"batch_wait": -1},
        {"max_held": 1},
        {"threads": -1},
    ],
)
def test_settings_out_of_range_are_rejected(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ServerSettings(**values)
