"""The repository from many threads at once: a version is freed after its last request, and not before."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from toy_models import make_archive

from continuous_training.serving.errors import (
    HandlerError,
    ModelNotFoundError,
    ModelNotReadyError,
    RequestError,
)
from continuous_training.serving.models.inference_request import InferenceResponse, PredictRequest
from continuous_training.serving.models.model_repository import ModelRepository


def ask(repository: ModelRepository, name: str, request: object) -> InferenceResponse:
    """Ask as a batch of one; what came of it is returned or raised."""
    (result,) = repository.infer(name, [PredictRequest(json.dumps(request).encode())])
    if isinstance(result, Exception):
        raise result
    return result


def test_a_request_under_way_keeps_its_version_until_it_is_done(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    slow, fast = make_archive(tmp_path, slow=0.4), make_archive(tmp_path, scale=3)
    former = repository.load(slow.path, slow.digest)
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(repository, "toy", {"x": [1]})))
    asking.start()
    time.sleep(0.1)
    repository.load(fast.path, fast.digest)
    assert json.loads(ask(repository, "toy", {"x": [1]}).body)["scale"] == 3
    assert former.current.folder.exists()
    assert former.model.handler is not None
    asking.join()
    assert (answers[0].digest, json.loads(answers[0].body)["scale"]) == (slow.digest, 2)
    assert not former.current.folder.exists()
    assert former.model.handler is None
    repository.close()
    assert not list((tmp_path / "server").glob("work"))


def test_threads_that_ask_while_versions_change_are_all_answered(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    versions = [make_archive(tmp_path, scale=scale) for scale in (2, 3)]
    scales = {archive.digest: scale for archive, scale in zip(versions, (2, 3), strict=True)}
    repository.load(versions[0].path, versions[0].digest)
    faults: list[object] = []
    stop = threading.Event()

    def keep_asking() -> None:
        while not stop.is_set():
            try:
                answered = ask(repository, "toy", {"x": [1]})
                if json.loads(answered.body)["scale"] != scales[answered.digest]:
                    faults.append(answered)
            except Exception as error:
                faults.append(error)

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 31):
        archive = versions[turn % 2]
        repository.load(archive.path, archive.digest, 30 if turn % 3 else None)
        if turn % 3 == 1:
            repository.revert("toy", archive.digest)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    repository.close()


def test_who_is_at_fault_is_told_apart(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    broken = make_archive(tmp_path, fails_after=2, error="ValueError")
    repository.load(broken.path, broken.digest)
    with pytest.raises(RequestError, match="send"):
        ask(repository, "toy", "nonsense")
    with pytest.raises(HandlerError, match="the handler of toy") as failed:
        ask(repository, "toy", {"x": [1]})
    assert isinstance(failed.value.__cause__, ValueError)
    with pytest.raises(ModelNotFoundError, match="served are: toy"):
        ask(repository, "none", {})


def test_only_what_is_confirmed_is_remembered(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    repository = ModelRepository(folder)
    a, b = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    path = folder / "models.json"
    repository.load(a.path, a.digest, 30)
    assert not path.exists()
    repository.confirm("toy", a.digest)
    record = {"toy": {"archive": str(a.path), "digest": a.digest}}
    assert json.loads(path.read_text()) == record
    repository.load(b.path, b.digest, 0.01)
    assert json.loads(path.read_text()) == record
    time.sleep(0.02)
    with pytest.raises(ValueError, match="not confirmed in time"):
        repository.confirm("toy", b.digest)
    assert repository.revert_expired_trials() == ["toy"]
    assert repository.get("toy").digest == a.digest
    repository.unload("toy")
    assert json.loads(path.read_text()) == {}


def test_what_is_expected_is_unavailable_until_it_is_loaded(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    repository.add_pending(["toy"])
    with pytest.raises(ModelNotReadyError, match="being loaded"):
        repository.get("toy")
    made = make_archive(tmp_path)
    repository.load(made.path, made.digest)
    assert repository.unavailable == {}
    assert repository.get("toy").digest == made.digest
