"""deploy-serving, against a real server: a version proves itself, or the former one answers again."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from components.archive.step import Archived
from components.deploy_serving import reevaluate
from components.deploy_serving import step as deploy_serving
from components.deploy_serving.__main__ import main
from continuous_training.adapters import model_registry as registry_module
from continuous_training.adapters import model_store
from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from continuous_training.adapters.object_store import FolderStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import RolloutReverted, TransientError, UserError
from continuous_training.rollout import local
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from tests.fakes import free_port
from tests.s3 import ACCESS, Bucket
from workloads.contract import Workload

from .conftest import Line

Make = Callable[..., Workload]


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose server is stopped at the end, on a port that nobody else has."""
    folder = tmp_path / "state"
    daemon.start(folder, free_port())
    yield folder
    daemon.stop(folder)


def deploy(line: Line, state: Path, run: str) -> deploy_serving.Deployed:
    output = line.folder / run / "deployed.json"
    return deploy_serving.run(
        line.folder / run / "archive", output, line.registry, line.store, LocalTarget(state)
    )


def spoil(line: Line, run: str, **given: str) -> Archived:
    """Archive a model with golden answers that it does not give."""
    line.train(run, **given)
    line.evaluate(run)
    path = line.folder / run / "evaluation" / "golden.json"
    golden = json.loads(path.read_text())
    golden[3]["answer"]["label"][0] = 7
    path.write_text(json.dumps(golden))
    return line.archive(run)


class Callers:
    """Ask the endpoint without a pause; remember who answered, and what went wrong."""

    def __init__(self, target: LocalTarget, name: str) -> None:
        self.url, self.stopped = target.url(name), threading.Event()
        self.answered: Counter[str] = Counter()
        self.faults: list[str] = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(2)]

    def ask(self) -> None:
        with requests.Session() as session:
            while not self.stopped.is_set():
                try:
                    response = session.post(self.url, json={"x": [1, 99]}, timeout=10)
                    if response.status_code != 200 or response.json() != {"label": [0, 1]}:
                        self.faults.append(f"{response.status_code} {response.text}")
                    self.answered[response.headers.get("x-model-digest", "")] += 1
                except requests.RequestException as error:
                    self.faults.append(repr(error))

    def __enter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()


def champion(line: Line) -> str | None:
    found = line.registry.champion(line.workload.name)
    return found and found.version


def answer(state: Path, name: str) -> Any:
    return LocalTarget(state).endpoint.predict(name, {"x": [0, 45, 100]})


def test_a_version_that_proves_itself_is_served_and_then_champion(line: Line, state: Path) -> None:
    archived = line.up_to_archive("run-1")
    assert champion(line) is None
    deployed = deploy(line, state, "run-1")
    name = line.workload.name
    assert requests.post(deployed.endpoint, json={"x": [49, 50]}, timeout=10).json() == {"label": [0, 1]}
    assert LocalTarget(state).served_digest(name) == deployed.digest == archived.digest
    assert champion(line) == deployed.version == "1"
    assert line.registry.aliased(name, CHALLENGER) is None
    assert json.loads((line.folder / "run-1/deployed.json").read_text()) == vars(deployed)
    records = RunHistory(line.store, name)
    settled, told = records.judged(archived.recipe), records.run("run-1")
    assert settled is not None
    assert told is not None
    assert (settled["run"], settled["verdict"], settled["version"]) == ("run-1", "promoted", "1")
    assert (told["endpoint"], told["digest"]) == (deployed.endpoint, archived.digest)


def test_deploying_again_changes_nothing(line: Line, state: Path) -> None:
    line.up_to_archive("run-1")
    first = deploy(line, state, "run-1")
    before = LocalTarget(state).endpoint.models()
    assert deploy(line, state, "run-1") == first
    assert LocalTarget(state).endpoint.models() == before
    assert before[0]["phase"] == "serving"


def test_a_better_version_takes_over_and_no_caller_notices(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    old = deploy(line, state, "run-1")
    line.up_to_archive("run-2")
    with Callers(LocalTarget(state), line.workload.name) as callers:
        new = deploy(line, state, "run-2")
    assert callers.faults == []
    assert set(callers.answered) <= {old.digest, new.digest}
    assert champion(line) == "2"
    former = line.registry.aliased(line.workload.name, PREVIOUS)
    assert former is not None
    assert former.version == "1"
    assert old.endpoint == new.endpoint
    name = line.workload.name
    assert model_store.find(line.store, name).digest == new.digest
    assert model_store.find(line.store, f"{name}@{PREVIOUS}").digest == old.digest
    # The old archive stays in the store, and goes where the server had it.
    assert len(line.store.keys("archives")) == 2
    assert [path.name for path in (state / "archives").iterdir()] == [
        f"{line.workload.name}-{new.digest[:12]}.mar"
    ]


def test_a_broken_version_is_rolled_back_and_no_caller_notices(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    old = deploy(line, state, "run-1")
    broken = spoil(line, "run-2")
    with Callers(LocalTarget(state), line.workload.name) as callers, pytest.raises(RolloutReverted) as told:
        deploy(line, state, "run-2")
    message = str(told.value)
    assert f"{broken.digest[:12]} was refused" in message
    assert "response.label[0] is" in message
    assert "expected 7" in message
    assert f"the former version {old.digest[:12]} answers again, as before" in message
    assert callers.faults == []
    assert set(callers.answered) == {old.digest}
    assert champion(line) == "1"
    assert model_store.find(line.store, line.workload.name).digest == old.digest
    assert answer(state, line.workload.name) == {"label": [0, 0, 1]}
    records = RunHistory(line.store, line.workload.name)
    assert records.judged(broken.recipe) is None
    assert records.run("run-2") is None
    assert not (line.folder / "run-2/deployed.json").exists()


def test_a_first_version_that_is_broken_leaves_nothing_served(line: Line, state: Path) -> None:
    spoil(line, "run-1")
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is served now"):
        deploy(line, state, "run-1")
    assert LocalTarget(state).served_digest(line.workload.name) is None
    assert champion(line) is None


def test_a_damaged_archive_never_takes_traffic(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    deploy(line, state, "run-1")
    archived = line.up_to_archive("run-2")
    path = line.store.root / archived.key
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(RolloutReverted, match="was refused: "):
        deploy(line, state, "run-2")
    assert champion(line) == "1"
    path.write_bytes(whole)
    assert deploy(line, state, "run-2").version == "2"


class Misheard(LocalTarget):
    """An endpoint whose answers arrive otherwise than the version gives them, for one digest."""

    bad = ""

    def predict(self, name: str, request: Any, digest: str) -> Any:
        found = super().predict(name, request, digest)
        return {"label": [7]} if digest == self.bad else found


def test_wrong_answers_through_the_endpoint_roll_back(line: Line, state: Path) -> None:
    line.up_to_archive("run-1", fence="70")
    old = deploy(line, state, "run-1")
    archived = line.up_to_archive("run-2")
    target = Misheard(state)
    target.bad = archived.digest
    with Callers(target, line.workload.name) as callers, pytest.raises(RolloutReverted) as told:
        deploy_serving.run(
            line.folder / "run-2/archive", line.folder / "deployed.json", line.registry, line.store, target
        )
    assert f"{archived.digest[:12]} was reverted: its golden requests failed" in str(told.value)
    assert f"the former version {old.digest[:12]} answers again" in str(told.value)
    assert callers.faults == []
    assert (target.served_digest(line.workload.name), champion(line)) == (old.digest, "1")
    assert target.endpoint.models()[0].phase == "serving"


@pytest.mark.parametrize("first", [True, False])
def test_a_champion_that_changed_meanwhile_withdraws_the_new_version(
    line: Line, make: Make, state: Path, first: bool
) -> None:
    if not first:
        line.up_to_archive("run-1", fence="70")
        deploy(line, state, "run-1")
    before = LocalTarget(state).served_digest(line.workload.name)
    line.up_to_archive("run-2")
    line.promote("run-3", fence="60")
    third = champion(line)
    with pytest.raises(TransientError) as told:
        deploy(line, state, "run-2")
    assert "was reverted" in str(told.value)
    assert f"is version {third} by now" in str(told.value)
    assert "run again" in str(told.value)
    assert LocalTarget(state).served_digest(line.workload.name) == before
    assert champion(line) == third
    if not first:
        assert answer(state, line.workload.name) == {"label": [0, 0, 1]}


@pytest.mark.parametrize(("others", "promoted"), [("60", True), ("50", False)])
def test_a_version_that_was_outrun_is_judged_again_against_the_new_champion(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch, others: str, promoted: bool
) -> None:
    """Both were judged when there was no champion, or an older one; the other one was faster."""
    monkeypatch.setattr(reevaluate.discovery, "get", lambda _: line.workload)
    name = line.workload.name
    line.up_to_archive("run-1", fence="49.99")
    line.up_to_archive("run-2", fence=others)
    deploy(line, state, "run-2")
    answered = LocalTarget(state).served_digest(name)
    told: list[str] = []
    output, data = line.folder / "run-1/deployed.json", line.folder / "run-1/data"
    parts = (line.folder / "run-1/archive", output, line.registry, line.store)
    done = deploy_serving.run(*parts, LocalTarget(state), told.append, data)
    assert "version 2 is champion by now: judging again" in told
    assert done.promoted is promoted
    assert json.loads(output.read_text()) == vars(done)
    assert champion(line) == done.version == ("1" if promoted else "2")
    assert line.registry.aliased(name, CHALLENGER) is None
    assert LocalTarget(state).served_digest(name) == done.digest
    assert (done.digest == answered) is not promoted
    record = RunHistory(line.store, name).run("run-1")
    assert record is not None
    assert record["verdict"] == ("promoted" if promoted else "rejected")
    assert record["champion"]["version"] == "2"
    assert any("against champion 2 on the same rows" in reason or "very same" in reason for reason in
               record["reasons"])  # fmt: skip
    assert record["reasons"][-1] == "judged again: at first it was judged against no champion"
    assert "<html" in (line.folder / "run-1/report.html").read_text()
    settled = RunHistory(line.store, name).judged(record["recipe"])
    assert settled is not None
    assert settled["verdict"] == record["verdict"]
    again_done = deploy_serving.run(*parts, LocalTarget(state), told.append, data)
    assert again_done == done, "doing it again changes nothing"
    assert champion(line) == done.version


def test_a_challenger_that_stands_when_the_champion_is_taken_away_is_judged_by_the_floors(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reevaluate.discovery, "get", lambda _: line.workload)
    line.promote("run-1", fence="70")
    line.up_to_archive("run-2")
    line.registry.remove_alias(line.workload.name, CHAMPION, "1")
    parts = (line.folder / "run-2/archive", line.folder / "run-2/deployed.json", line.registry, line.store)
    done = deploy_serving.run(*parts, LocalTarget(state), print, line.folder / "run-2/data")
    assert (done.promoted, champion(line)) == (True, "2")


def test_a_rollout_waits_for_the_one_before_it(line: Line, state: Path) -> None:
    line.up_to_archive("run-1")
    waits, told = threading.Event(), []

    def tell(words: str) -> None:
        told.append(words)
        if words == f"waiting for another rollout of {line.workload.name}":
            waits.set()

    parts = (line.folder / "run-1/archive", line.folder / "deployed.json", line.registry, line.store)
    target = LocalTarget(state)
    waiting = threading.Thread(target=deploy_serving.run, args=(*parts, target, tell))
    with LocalTarget(state).rollout_lock(line.workload.name, print):
        waiting.start()
        assert waits.wait(30)
        assert (champion(line), target.served_digest(line.workload.name)) == (None, None)
    waiting.join(60)
    assert champion(line) == "1"


def test_a_rollout_that_does_not_end_is_told(
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


def test_a_registry_that_is_gone_withdraws_the_new_version_and_a_retry_makes_it_good(
    line: Line, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module.time, "sleep", lambda _: None)
    line.up_to_archive("run-1", fence="70")
    old = deploy(line, state, "run-1")
    line.up_to_archive("run-2")

    class Gone(Registry):
        """Answers until the alias is to be moved."""

        def promote(self, *_: Any) -> None:
            Registry(f"http://127.0.0.1:{free_port()}").champion("any")

    with pytest.raises(TransientError, match=rf"cannot be reached .* {old.digest[:12]} answers again"):
        deploy_serving.run(
            line.folder / "run-2/archive",
            line.folder / "x.json",
            Gone(line.registry.uri),
            line.store,
            LocalTarget(state),
        )
    assert (LocalTarget(state).served_digest(line.workload.name), champion(line)) == (old.digest, "1")
    assert deploy(line, state, "run-2").version == champion(line) == "2"


def test_what_is_served_survives_the_server_and_the_download_from_a_bucket(
    make: Make, registry: Registry, bucket: Bucket, state: Path, folder: Path
) -> None:
    store: Any = open_store(bucket.uri, ACCESS)
    line = Line(make(), registry, store, folder)
    archived = line.up_to_archive("run-1", fence="70")
    deploy(line, state, "run-1")
    daemon.stop(state)
    target = LocalTarget(state)
    assert target.served_digest(line.workload.name) == archived.digest
    spoil(line, "run-2")
    with pytest.raises(RolloutReverted, match="answers again, as before"):
        deploy(line, state, "run-2")


def test_an_archive_of_another_registry_is_told(
    line: Line, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived = line.up_to_archive("run-1")
    path = line.folder / "run-1/archive/archived.json"
    path.write_text(json.dumps({**vars(archived), "digest": "0" * 64}))
    with pytest.raises(UserError, match=r"is not in the registry http://.*; run archive again"):
        deploy(line, state, "run-1")
    assert LocalTarget(state).served_digest(line.workload.name) is None


def test_the_command(
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
    assert "archived.json; run the step that writes it first" in capsys.readouterr().err
    line.up_to_archive("run-1", fence="70")
    assert main(arguments) == 0
    endpoint = json.loads(output.read_text())["endpoint"]
    assert capsys.readouterr().out.endswith(f"endpoint: {endpoint}\n")
    spoil(line, "run-2")
    assert main(["--archive", str(line.folder / "run-2/archive"), "--output", str(output)]) == 4
    assert "was refused: " in capsys.readouterr().err
    assert FolderStore(line.store.root).keys("records") != []


def test_a_deploy_that_fails_on_its_input_starts_no_server(line: Line, tmp_path: Path) -> None:
    line.train("one")
    line.evaluate("one")
    line.archive("one")
    state = tmp_path / "elsewhere"
    for archive in (tmp_path, line.folder / "one" / "archive"):
        code = main(
            ["--archive", str(archive), "--state", str(state), "--output", str(tmp_path / "deployed.json")]
        )
        assert code == 2
        assert daemon.status(state) is None
        assert not (state / "serving").exists()
