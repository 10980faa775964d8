"""Many requests in one inference: fewer calls, the same answers, and no harm to a neighbour."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from toy_models import make_archive

from continuous_training.serving.api.v2_request import InferRequest
from continuous_training.serving.errors import HandlerError, ModelNotFoundError, OverloadedError, RequestError
from continuous_training.serving.models.batch_inference import CHUNK, InferenceResult
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
    made = make_archive(tmp_path, poison=13)
    repository.load(made.path, made.digest)
    return repository


def calls(repository: ModelRepository) -> int:
    return repository.get("toy").model.handler.calls


def y(result: InferenceResult) -> Any:
    assert isinstance(result, InferenceResponse), result
    return json.loads(result.body)["y"]


def test_a_batch_is_one_inference_and_each_gets_its_own_rows(repository: ModelRepository) -> None:
    before = calls(repository)
    works: list[InferenceRequest] = [predict(1), predict(2, 3), infer(4, 5), predict()]
    results = repository.infer("toy", works, rows=64)
    assert calls(repository) == before + 1
    assert [y(results[0]), y(results[1]), y(results[3])] == [[2.0], [4.0, 6.0], []]
    assert isinstance(results[2], InferenceResponse)
    answer = json.loads(results[2].body)
    assert (answer["id"], answer["outputs"][0]["data"]) == ("4", [8.0, 10.0])


def test_batches_keep_to_their_bound_and_a_bound_of_one_is_none(repository: ModelRepository) -> None:
    works = [predict(n, n) for n in range(1, 5)]
    for rows, expected in ((1, 4), (2, 4), (4, 2), (5, 2), (100, 1)):
        before = calls(repository)
        assert [y(result) for result in repository.infer("toy", works, rows)] == [
            [2.0 * n, 2.0 * n] for n in range(1, 5)
        ]
        assert calls(repository) == before + expected, rows


def test_a_handler_that_gains_nothing_has_its_own_bound(repository: ModelRepository) -> None:
    repository.get("toy").model.handler.batch_rows = 1
    before = calls(repository)
    repository.infer("toy", [predict(1), predict(2)], rows=64)
    assert calls(repository) == before + 2


def test_a_request_of_many_rows_is_answered_in_parts(repository: ModelRepository) -> None:
    before = calls(repository)
    (result,) = repository.infer("toy", [predict(*[1] * (CHUNK * 2 + 1))])
    assert y(result) == [2.0] * (CHUNK * 2 + 1)
    assert calls(repository) == before + 3


def test_no_request_harms_its_neighbours(repository: ModelRepository) -> None:
    works: list[InferenceRequest] = [
        predict(1),
        PredictRequest(b"{"),
        predict(13),
        predict("?"),
        infer(2),
        predict(-1),
    ]
    results = repository.infer("toy", works, rows=64)
    kinds = [type(result) for result in results]
    assert kinds == [
        InferenceResponse,
        RequestError,
        HandlerError,
        RequestError,
        InferenceResponse,
        HandlerError,
    ]
    assert y(results[0]) == [2.0]
    assert "poison" in str(results[2].__cause__)  # type: ignore[union-attr]
    assert "no JSON" in str(results[5])


def test_an_output_without_a_row_for_each_row_is_never_cut_wrongly(repository: ModelRepository) -> None:
    handler = repository.get("toy").model.handler
    whole = handler.inference
    handler.inference = lambda tensors: {"y": whole(tensors)["y"].sum(keepdims=True)}
    results = repository.infer("toy", [predict(1, 2), predict(3, 4)], rows=64)
    assert [y(result) for result in results] == [[6.0], [14.0]]


def test_a_hole_in_the_handler_is_its_own_fault(repository: ModelRepository) -> None:
    handler = repository.get("toy").model.handler
    handler.preprocess = lambda _: {"x": 1}
    (result,) = repository.infer("toy", [predict(1)])
    assert isinstance(result, HandlerError)


async def ask_all(batcher: Batcher, works: list[InferenceRequest], name: str = "toy") -> list[Any]:
    return await asyncio.gather(*(batcher.infer(name, work) for work in works), return_exceptions=True)


def test_what_waits_together_is_answered_together(repository: ModelRepository) -> None:
    seen: list[int] = []
    batcher = Batcher(repository, BatchSettings(max_rows=4), lambda _, requests, __: seen.append(requests))
    results = asyncio.run(ask_all(batcher, [predict(n) for n in range(1, 11)]))
    assert [y(result) for result in results] == [[2.0 * n] for n in range(1, 11)]
    assert seen == [4, 4, 2]
    assert (batcher.queue_length, batcher.active_call, batcher._queues) == (0, None, {})


def test_those_that_a_handler_would_not_have_together_are_answered_one_batch_at_a_time(
    repository: ModelRepository,
) -> None:
    seen: list[int] = []
    repository.get("toy").model.handler.batch_rows = 3
    batcher = Batcher(repository, BatchSettings(), lambda _, requests, __: seen.append(requests))
    results = asyncio.run(ask_all(batcher, [predict(n) for n in range(1, 8)]))
    assert [y(result) for result in results] == [[2.0 * n] for n in range(1, 8)]
    assert seen == [3, 3, 1]


def test_a_batch_may_be_told_to_wait_for_company(repository: ModelRepository) -> None:
    seen: list[int] = []
    batcher = Batcher(repository, BatchSettings(max_delay=0.2), lambda _, requests, __: seen.append(requests))

    async def one_after_another() -> None:
        first = asyncio.create_task(batcher.infer("toy", predict(1)))
        await asyncio.sleep(0.01)
        await asyncio.gather(first, batcher.infer("toy", predict(2)))

    asyncio.run(one_after_another())
    assert seen == [2]


def test_a_full_queue_is_told_to_the_caller_and_the_others_are_answered(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings(max_queued=3))
    results = asyncio.run(ask_all(batcher, [predict(n) for n in range(1, 6)]))
    assert [type(result) for result in results] == [InferenceResponse] * 3 + [OverloadedError] * 2


def test_who_waited_too_long_is_told_so_and_who_left_is_not_answered(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings(timeout=0.05, max_rows=1))
    handler = repository.get("toy").model.handler
    handler.settings["slow"] = 0.1

    async def ask() -> list[Any]:
        tasks = [asyncio.create_task(batcher.infer("toy", predict(n))) for n in range(1, 5)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    before = calls(repository)
    results = asyncio.run(ask())
    kinds = [type(result) for result in results]
    assert kinds == [
        InferenceResponse,
        asyncio.CancelledError,
        InferenceResponse,
        OverloadedError,
    ] or kinds == [
        InferenceResponse,
        asyncio.CancelledError,
        OverloadedError,
        OverloadedError,
    ]
    assert calls(repository) <= before + 2
    assert batcher.queue_length == 0


def test_a_model_that_went_away_while_they_waited_is_told_to_all(repository: ModelRepository) -> None:
    batcher = Batcher(repository, BatchSettings())

    async def ask() -> list[Any]:
        asking = asyncio.gather(*(batcher.infer("toy", predict(1)) for _ in range(2)), return_exceptions=True)
        repository.unload("toy")
        return await asking

    assert [type(result) for result in asyncio.run(ask())] == [ModelNotFoundError] * 2


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
def test_settings_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ServerSettings(**values)
