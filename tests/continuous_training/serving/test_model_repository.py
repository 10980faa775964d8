"""The model repository with concurrent requests: a version is unloaded only after its last request."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from toy_models import make_archive

from continuous_training.artifacts.errors import ArchiveError
from continuous_training.serving.errors import (
    HandlerError,
    ModelNotFoundError,
    ModelNotReadyError,
    RequestError,
    VersionRejectedError,
)
from continuous_training.serving.models.inference_request import InferenceResponse, PredictRequest
from continuous_training.serving.models.model_repository import ModelRepository


def predict(repository: ModelRepository, name: str, request: object) -> InferenceResponse:
    """Run one request as a batch. Return its response or raise its error."""
    (result,) = repository.infer(name, [PredictRequest(json.dumps(request).encode())])
    if isinstance(result, Exception):
        raise result
    return result


def test_a_replaced_version_is_unloaded_after_its_running_request(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    slow, fast = make_archive(tmp_path, slow=0.4), make_archive(tmp_path, scale=3)
    replaced = repository.load(slow.path, slow.digest)
    responses = []
    client = threading.Thread(target=lambda: responses.append(predict(repository, "toy", {"x": [1]})))
    client.start()
    time.sleep(0.1)
    repository.load(fast.path, fast.digest)
    assert json.loads(predict(repository, "toy", {"x": [1]}).body)["scale"] == 3
    assert replaced.current.folder.exists()
    assert replaced.model.handler is not None
    client.join()
    assert (responses[0].digest, json.loads(responses[0].body)["scale"]) == (slow.digest, 2)
    assert not replaced.current.folder.exists()
    assert replaced.model.handler is None
    repository.close()
    assert not list((tmp_path / "server").glob(".work*"))


def test_concurrent_requests_succeed_while_versions_change(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    archives = [make_archive(tmp_path, scale=scale) for scale in (2, 3)]
    scales = {archive.digest: scale for archive, scale in zip(archives, (2, 3), strict=True)}
    repository.load(archives[0].path, archives[0].digest)
    failures: list[object] = []
    stop = threading.Event()

    def send_requests() -> None:
        while not stop.is_set():
            try:
                response = predict(repository, "toy", {"x": [1]})
                if json.loads(response.body)["scale"] != scales[response.digest]:
                    failures.append(response)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=send_requests) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 31):
        archive = archives[turn % 2]
        repository.load(archive.path, archive.digest, 30 if turn % 3 else None)
        if turn % 3 == 1:
            repository.revert("toy", archive.digest)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    repository.close()


def test_invalid_requests_and_handler_failures_raise_different_errors(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    failing = make_archive(tmp_path, fails_after=2, error="ValueError")
    repository.load(failing.path, failing.digest)
    with pytest.raises(RequestError, match="send"):
        predict(repository, "toy", "nonsense")
    with pytest.raises(HandlerError, match="the handler of toy") as failure:
        predict(repository, "toy", {"x": [1]})
    assert isinstance(failure.value.__cause__, ValueError)
    with pytest.raises(ModelNotFoundError, match="the served models are: toy"):
        predict(repository, "none", {})


def test_only_confirmed_versions_are_persisted(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    repository = ModelRepository(folder)
    first, second = make_archive(tmp_path), make_archive(tmp_path, scale=3)
    path = folder / "models.json"
    repository.load(first.path, first.digest, 30)
    assert not path.exists()
    repository.confirm("toy", first.digest)
    stored = {"toy": {"archive": str(first.path), "digest": first.digest}}
    assert json.loads(path.read_text()) == stored
    repository.load(second.path, second.digest, 0.01)
    assert json.loads(path.read_text()) == stored
    time.sleep(0.02)
    with pytest.raises(ValueError, match="not confirmed in time"):
        repository.confirm("toy", second.digest)
    assert repository.revert_expired_trials() == ["toy"]
    assert repository.get("toy").digest == first.digest
    repository.unload("toy")
    assert json.loads(path.read_text()) == {}


def test_versions_are_distinguished_by_each_digit_of_their_digest(tmp_path: Path) -> None:
    repository, archive = ModelRepository(tmp_path / "server"), make_archive(tmp_path)
    repository.load(archive.path, archive.digest, 30)
    other = archive.digest[:-1] + ("1" if archive.digest[-1] == "0" else "0")
    with pytest.raises(ArchiveError, match="the sha256 is"):
        repository.load(archive.path, other)
    with pytest.raises(VersionRejectedError):
        repository.confirm("toy", other)
    unchanged = repository.revert("toy", other)
    assert unchanged is not None
    assert (unchanged.digest, unchanged.trial_deadline is None) == (archive.digest, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is damaged"),
        ("[]", "not a JSON object"),
        ('{"toy": []}', "the entry of 'toy' is not an object"),
        ('{"toy": {"archive": "/a.mar"}}', "the field 'digest' of 'toy'"),
    ],
)
def test_damaged_persisted_versions_are_logged_and_moved_aside(
    tmp_path: Path, content: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "models.json"
    path.write_text(content)
    assert ModelRepository(tmp_path).persisted.versions == {}
    assert message in caplog.text
    assert path.with_suffix(".unreadable").read_text() == content


def test_a_pending_model_is_not_ready_until_it_is_loaded(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "server")
    repository.add_pending(["toy"])
    with pytest.raises(ModelNotReadyError, match="being loaded"):
        repository.get("toy")
    archive = make_archive(tmp_path)
    repository.load(archive.path, archive.digest)
    assert repository.unavailable == {}
    assert repository.get("toy").digest == archive.digest
