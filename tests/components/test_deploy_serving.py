"""The deploy-serving step with a real model server: promotion, revert and second evaluation."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from components.deploy_serving import reevaluate
from components.deploy_serving import step as deploy_serving
from components.deploy_serving.__main__ import main
from continuous_training.adapters import mlflow_rest as registry_module
from continuous_training.adapters import model_store
from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.object_store import FolderStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.checksums import CHECKSUMS
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.errors import RolloutReverted, TransientError, UserError
from continuous_training.rollout import local
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from tests.fakes import free_port
from tests.s3 import ACCESS, Bucket
from workloads.contract import Workload

from .conftest import Line, replace_checksums

Make = Callable[..., Workload]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory with a model server on a free port; the server is stopped after the test."""
    folder = tmp_path / "state"
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


def deploy(line: Line, state: Path, run: str) -> deploy_serving.DeployedModel:
    output = line.folder / run / "deployed.json"
    return deploy_serving.run(
        line.folder / run / "archive", output, line.registry, line.store, LocalTarget(state)
    )


def archive_wrong_golden(line: Line, run: str, **parameters: str) -> ArchivedModel:
    """Archive a model with a golden response that the model does not give."""
    line.train(run, **parameters)
    line.evaluate(run)
    path = line.folder / run / "evaluation" / "golden.json"
    golden = json.loads(path.read_text())
    golden[3]["answer"]["label"][0] = 7
    path.write_text(json.dumps(golden))
    replace_checksums(path.parent)
    return line.archive(run)


class LoadGenerator:
    """Two threads that send requests to the endpoint; counts the responses by digest and collects errors."""

    def __init__(self, target: LocalTarget, name: str) -> None:
        self.url, self.stopped = target.url(name), threading.Event()
        self.digests: Counter[str] = Counter()
        self.errors: list[str] = []
        self.threads = [threading.Thread(target=self.send_requests) for _ in range(2)]

    def send_requests(self) -> None:
        with requests.Session() as session:
            while not self.stopped.is_set():
                try:
                    response = session.post(self.url, json={"x": [1, 99]}, timeout=10)
                    if response.status_code != 200 or response.json() != {"label": [0, 1]}:
                        self.errors.append(f"{response.status_code} {response.text}")
                    self.digests[response.headers.get("x-model-digest", "")] += 1
                except requests.RequestException as error:
                    self.errors.append(repr(error))

    def __enter__(self) -> LoadGenerator:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def champion_of(line: Line) -> str | None:
    champion = line.registry.champion(line.workload.name)
    return champion and champion.version


def predict(state: Path, name: str) -> Any:
    return LocalTarget(state).endpoint.predict(name, {"x": [0, 45, 100]})


def test_verified_version_is_served_and_becomes_champion(line: Line, state: Path) -> None:
    archived = line.up_to_archive("run-1")
    assert champion_of(line) is None
    deployed = deploy(line, state, "run-1")
    name = line.workload.name
    assert requests.post(deployed.endpoint, json={"x": [49, 50]}, timeout=10).json() == {"label": [0, 1]}
    assert LocalTarget(state).served_digest(name) == deployed.digest == archived.digest
    assert champion_of(line) == deployed.version == "1"
    assert line.registry.aliased(name, CHALLENGER) is None
    assert json.loads((line.folder / "run-1/deployed.json").read_text()) == deployed.to_json()
    history = RunHistory(line.store, name)
    processed, record = history.find_processed(archived.input_digest), history.run("run-1")
    assert processed is not None
    assert record is not None
    result = processed.record
    assert (result.run, result.verdict, result.version) == ("run-1", "promoted", "1")
    assert (record.endpoint, record.digest) == (deployed.endpoint, archived.digest)


def test_deploying_the_same_version_twice_changes_nothing(line: Line, state: Path) -> None:
    line.up_to_archive("run-1")
    first = deploy(line, state, "run-1")
    before = LocalTarget(state).endpoint.models()
    assert deploy(line, state, "run-1") == first
    assert LocalTarget(state).endpoint.models() == before
    assert before[0].phase == "serving"


def test_new_version_replaces_the_previous_one_without_a_failed_request(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    first = deploy(line, state, "run-1")
    line.up_to_archive("run-2")
    with LoadGenerator(LocalTarget(state), line.workload.name) as load:
        deployed = deploy(line, state, "run-2")
    assert load.errors == []
    assert set(load.digests) <= {first.digest, deployed.digest}
    assert champion_of(line) == "2"
    previous = line.registry.aliased(line.workload.name, PREVIOUS)
    assert previous is not None
    assert previous.version == "1"
    assert first.endpoint == deployed.endpoint
    name = line.workload.name
    assert model_store.find(line.store, name).digest == deployed.digest
    assert model_store.find(line.store, f"{name}@{PREVIOUS}").digest == first.digest
    # The store keeps the previous archive, the state directory does not.
    assert len(line.store.keys("archives")) == 2
    assert [path.name for path in (state / "archives").iterdir()] == [f"{name}-{deployed.digest[:12]}.mar"]


def test_version_with_wrong_responses_is_refused_without_a_failed_request(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    first = deploy(line, state, "run-1")
    wrong_archive = archive_wrong_golden(line, "run-2")
    with (
        LoadGenerator(LocalTarget(state), line.workload.name) as load,
        pytest.raises(RolloutReverted) as raised,
    ):
        deploy(line, state, "run-2")
    message = str(raised.value)
    assert f"{wrong_archive.digest[:12]} was refused" in message
    assert "response.label[0] is" in message
    assert "expected 7" in message
    assert f"the previous version {first.digest[:12]} answers again, as before" in message
    assert load.errors == []
    assert set(load.digests) == {first.digest}
    assert champion_of(line) == "1"
    assert model_store.find(line.store, line.workload.name).digest == first.digest
    assert predict(state, line.workload.name) == {"label": [0, 0, 1]}
    history = RunHistory(line.store, line.workload.name)
    assert history.find_processed(wrong_archive.input_digest) is None
    assert history.run("run-2") is None
    assert not (line.folder / "run-2/deployed.json").exists()


def test_refused_first_version_leaves_nothing_served(line: Line, state: Path) -> None:
    archive_wrong_golden(line, "run-1")
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is served now"):
        deploy(line, state, "run-1")
    assert LocalTarget(state).served_digest(line.workload.name) is None
    assert champion_of(line) is None


@pytest.mark.parametrize("damage", [b"", b"damaged"])
def test_a_damaged_archive_in_the_store_is_repaired(line: Line, state: Path, damage: bytes) -> None:
    line.up_to_archive("run-1", fence="70")
    deploy(line, state, "run-1")
    archived = line.up_to_archive("run-2")
    path = line.store.root / archived.key
    content = path.read_bytes()
    path.write_bytes(damage)
    messages: list[str] = []
    deploy_serving.run(
        line.folder / "run-2/archive",
        line.folder / "run-2/deployed.json",
        line.registry,
        line.store,
        LocalTarget(state),
        messages.append,
    )
    assert f"the archive {archived.key} in the object store was altered; it was replaced" in messages
    assert champion_of(line) == "2"
    assert path.read_bytes() == content
    path.write_bytes(damage)
    assert line.archive("run-2").digest == archived.digest
    assert path.read_bytes() == content, "the archive step repairs it, too"


def test_damaged_archive_is_refused_if_there_is_no_copy(line: Line, state: Path) -> None:
    archived = line.up_to_archive("run-1")
    (line.store.root / archived.key).write_bytes(b"damaged")
    folder = line.folder / "run-1/archive"
    (folder / CHECKSUMS).unlink()
    for path in folder.glob("*.mar"):
        path.unlink()
    with pytest.raises(
        ArtifactError, match=f"{archived.key} in the object store is damaged.*; run the archive step"
    ):
        deploy(line, state, "run-1")
    assert champion_of(line) is None


class WrongResponseTarget(LocalTarget):
    """A target that returns a wrong response to requests for one digest."""

    wrong_digest = ""

    def predict(self, name: str, request: Any, digest: str) -> Any:
        response = super().predict(name, request, digest)
        return {"label": [7]} if digest == self.wrong_digest else response


def test_wrong_responses_through_the_endpoint_revert_the_version(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    first = deploy(line, state, "run-1")
    archived = line.up_to_archive("run-2")
    target = WrongResponseTarget(state)
    target.wrong_digest = archived.digest
    with LoadGenerator(target, line.workload.name) as load, pytest.raises(RolloutReverted) as raised:
        deploy_serving.run(
            line.folder / "run-2/archive", line.folder / "deployed.json", line.registry, line.store, target
        )
    assert f"{archived.digest[:12]} was reverted: its golden requests failed" in str(raised.value)
    assert f"the previous version {first.digest[:12]} answers again" in str(raised.value)
    assert load.errors == []
    assert (target.served_digest(line.workload.name), champion_of(line)) == (first.digest, "1")
    assert target.endpoint.models()[0].phase == "serving"


@pytest.mark.parametrize("is_first", [True, False])
def test_champion_that_changed_since_the_evaluation_reverts_the_version(
    line: Line, state: Path, is_first: bool
) -> None:
    if not is_first:
        line.up_to_archive("run-1", fence="70")
        deploy(line, state, "run-1")
    before = LocalTarget(state).served_digest(line.workload.name)
    line.up_to_archive("run-2")
    line.promote("run-3", fence="60")
    third = champion_of(line)
    with pytest.raises(TransientError) as raised:
        deploy(line, state, "run-2")
    assert "was reverted" in str(raised.value)
    assert f"is version {third} now" in str(raised.value)
    assert "run again" in str(raised.value)
    assert LocalTarget(state).served_digest(line.workload.name) == before
    assert champion_of(line) == third
    if not is_first:
        assert predict(state, line.workload.name) == {"label": [0, 0, 1]}


@pytest.mark.parametrize(("other_fence", "promoted"), [("60", True), ("50", False)])
def test_version_is_evaluated_again_when_another_version_became_champion(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch, other_fence: str, promoted: bool
) -> None:
    """Both versions were evaluated when there was no champion; the other version was deployed first."""
    monkeypatch.setattr(reevaluate.discovery, "get", lambda _: line.workload)
    name = line.workload.name
    line.up_to_archive("run-1", fence="49.99")
    line.up_to_archive("run-2", fence=other_fence)
    deploy(line, state, "run-2")
    served_before = LocalTarget(state).served_digest(name)
    messages: list[str] = []
    output, data = line.folder / "run-1/deployed.json", line.folder / "run-1/data"
    arguments = (line.folder / "run-1/archive", output, line.registry, line.store)
    deployed = deploy_serving.run(*arguments, LocalTarget(state), messages.append, data)
    assert "version 2 is the champion now: evaluating again" in messages
    assert deployed.promoted is promoted
    assert json.loads(output.read_text()) == deployed.to_json()
    assert champion_of(line) == deployed.version == ("1" if promoted else "2")
    assert line.registry.aliased(name, CHALLENGER) is None
    assert LocalTarget(state).served_digest(name) == deployed.digest
    assert (deployed.digest == served_before) is not promoted
    record = RunHistory(line.store, name).run("run-1")
    assert record is not None
    assert record.verdict == ("promoted" if promoted else "rejected")
    assert record.champion is not None
    assert record.champion.version == "2"
    assert any("against champion 2 on the same rows" in reason for reason in record.reasons)
    assert record.reasons[-1] == "evaluated again: the first evaluation was against no champion"
    assert "<html" in (line.folder / "run-1/report.html").read_text()
    processed = RunHistory(line.store, name).find_processed(str(record.input_digest))
    assert processed is not None
    assert processed.record.verdict == record.verdict
    repeated = deploy_serving.run(*arguments, LocalTarget(state), messages.append, data)
    assert repeated == deployed, "the step is not idempotent"
    assert champion_of(line) == deployed.version


def test_challenger_without_a_champion_is_evaluated_again_by_the_floors(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reevaluate.discovery, "get", lambda _: line.workload)
    line.promote("run-1", fence="70")
    line.up_to_archive("run-2")
    line.registry.remove_alias(line.workload.name, CHAMPION, "1")
    arguments = (line.folder / "run-2/archive", line.folder / "run-2/deployed.json", line.registry)
    target = LocalTarget(state)
    deployed = deploy_serving.run(*arguments, line.store, target, print, line.folder / "run-2/data")
    assert (deployed.promoted, champion_of(line)) == (True, "2")


def test_rollout_waits_for_another_rollout(line: Line, state: Path) -> None:
    line.up_to_archive("run-1")
    is_waiting = threading.Event()

    def progress(message: str) -> None:
        if message == f"waiting for another rollout of {line.workload.name}":
            is_waiting.set()

    arguments = (line.folder / "run-1/archive", line.folder / "deployed.json", line.registry, line.store)
    target = LocalTarget(state)
    thread = threading.Thread(target=deploy_serving.run, args=(*arguments, target, progress))
    with LocalTarget(state).rollout_lock(line.workload.name, print):
        thread.start()
        assert is_waiting.wait(30)
        assert (champion_of(line), target.served_digest(line.workload.name)) == (None, None)
    thread.join(60)
    assert champion_of(line) == "1"


def test_wait_for_another_rollout_ends_with_a_transient_error(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LOCK_TIMEOUT", 0.0)
    target = LocalTarget(state)
    with (
        target.rollout_lock("any", print),
        pytest.raises(TransientError, match=r"another rollout of any has held .*any\.lock"),
        target.rollout_lock("any", print),
    ):
        pass


def test_unavailable_registry_reverts_the_version_and_a_retry_succeeds(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module.time, "sleep", lambda _: None)
    line.up_to_archive("run-1", fence="70")
    first = deploy(line, state, "run-1")
    line.up_to_archive("run-2")

    class UnavailableRegistry(Registry):
        """A registry that does not respond when the alias moves."""

        def promote(self, *_: Any) -> None:
            Registry(f"http://127.0.0.1:{free_port()}").champion("any")

    with pytest.raises(TransientError, match=rf"cannot be reached .* {first.digest[:12]} answers again"):
        deploy_serving.run(
            line.folder / "run-2/archive",
            line.folder / "x.json",
            UnavailableRegistry(line.registry.uri),
            line.store,
            LocalTarget(state),
        )
    name = line.workload.name
    assert (LocalTarget(state).served_digest(name), champion_of(line)) == (first.digest, "1")
    assert deploy(line, state, "run-2").version == champion_of(line) == "2"


def test_restarted_server_serves_an_archive_from_a_bucket(
    make: Make, registry: Registry, bucket: Bucket, state: Path, folder: Path
) -> None:
    store: Any = open_store(bucket.uri, ACCESS)
    line = Line(make(), registry, store, folder)
    archived = line.up_to_archive("run-1", fence="70")
    deploy(line, state, "run-1")
    daemon.stop(state)
    assert LocalTarget(state).served_digest(line.workload.name) == archived.digest
    archive_wrong_golden(line, "run-2")
    with pytest.raises(RolloutReverted, match="answers again, as before"):
        deploy(line, state, "run-2")


def test_archive_that_is_not_in_the_registry_is_a_user_error(line: Line, state: Path) -> None:
    archived = line.up_to_archive("run-1")
    path = line.folder / "run-1/archive/archived.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "digest": "0" * 64}))
    replace_checksums(path.parent)
    assert archived.digest != "0" * 64
    with pytest.raises(UserError, match=r"is not in the registry http://.*; run archive again"):
        deploy(line, state, "run-1")
    assert LocalTarget(state).served_digest(line.workload.name) is None


def test_command(
    line: Line,
    registry: Registry,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    monkeypatch.setenv("CT_STORE", str(line.store.root))
    monkeypatch.setenv("CT_STATE", str(state))
    output = line.folder / "deployed.json"
    arguments = ["--archive", str(line.folder / "run-1/archive"), "--output", str(output)]
    assert main(arguments) == 2
    assert "archived.json" in capsys.readouterr().err
    line.up_to_archive("run-1", fence="70")
    assert main(arguments) == 0
    endpoint = json.loads(output.read_text())["endpoint"]
    assert capsys.readouterr().out.endswith(f"endpoint: {endpoint}\n")
    archive_wrong_golden(line, "run-2")
    assert main(["--archive", str(line.folder / "run-2/archive"), "--output", str(output)]) == 4
    assert "was refused: " in capsys.readouterr().err
    assert FolderStore(line.store.root).keys("records") != []


def test_user_error_starts_no_server(line: Line, tmp_path: Path) -> None:
    line.train("run-1")
    line.evaluate("run-1")
    line.archive("run-1")
    state, output = tmp_path / "elsewhere", str(tmp_path / "deployed.json")
    for archive in (tmp_path, line.folder / "run-1" / "archive"):
        assert main(["--archive", str(archive), "--state", str(state), "--output", output]) == 2
        assert daemon.status(state) is None
        assert not (state / "serving").exists()
