"""The notify step: the result of a run, its record and the message to the webhook."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.notify.__main__ import in_pipeline, main
from components.notify.step import run
from components.notify.unrecorded_promotion import REASON
from continuous_training.adapters.alias_history import CHAMPION
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.notification_settings import NotificationSettings
from continuous_training.core.settings import Settings
from continuous_training.kubeflow.step_logs import logged_record
from tests.fakes import free_port, web


@pytest.fixture
def history(store: FolderStore) -> RunHistory:
    return RunHistory(store, "fence")


def settings_of(webhook: str = "", **notifications: str) -> Settings:
    settings = Settings.from_environment({})
    return replace(settings, notifications=NotificationSettings(webhook=webhook, **notifications))


@pytest.mark.parametrize(
    "record",
    [
        RunRecord(
            run="run-1",
            verdict="promoted",
            reasons=("accuracy 0.99 is enough", "no champion yet"),
            version="1",
        ),
        RunRecord(run="run-1", verdict="rejected", reasons=("accuracy 0.5 does not reach the floor of 0.6",)),
        RunRecord(run="run-1", verdict="unchanged", reasons=("data unchanged",), evaluated_by="run-0"),
    ],
    ids=lambda record: record.verdict,
)
def test_the_run_record_is_announced_unchanged(history: RunHistory, record: RunRecord) -> None:
    history.write_run(record)
    recorded, messages = history.run("run-1"), list[str]()
    with web(lambda *_: (200, b"ok")) as webhook_server:
        settings = settings_of(webhook_server.url, selection="all")
        result = run("run-1", history, settings, progress=messages.append)
    text = f"fence: {record.verdict}. {'; '.join(record.reasons)}"
    assert messages == [text]
    assert result == recorded == history.run("run-1")
    ((_, _, body),) = webhook_server.requests
    assert json.loads(body) == {"text": text, "run": {"workload": "fence", **result.to_json()}}


def test_a_run_without_a_record_did_not_finish(history: RunHistory) -> None:
    result = run("run-1", history, settings_of(), progress=lambda _: None)
    assert (result.verdict, result.reasons) == ("failed", ("the run did not finish; see its log",))
    stored = history.run("run-1")
    assert stored is not None
    assert (stored.verdict, stored.run) == ("failed", "run-1")


@pytest.mark.parametrize(("code", "verdict"), [(4, "reverted"), (75, "failed")])
def test_the_recorded_failure_of_a_step_is_announced(
    history: RunHistory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    verdict: str,
) -> None:
    history.write_failure(StepFailure("run-1", "deploy-serving", code, "the new version failed"))
    monkeypatch.setenv("CT_STORE", str(history.store.root))  # type: ignore[attr-defined]
    page = SimpleNamespace(path=str(tmp_path / "result.md"))
    with web(lambda *_: (200, b"ok")) as server:
        monkeypatch.setenv("CT_WEBHOOK", server.url)
        in_pipeline("fence", "run-1", page)
    reason = f"deploy-serving: the new version failed (exit code {code})"
    assert json.loads(server.requests[0][2])["text"] == f"fence: {verdict}. {reason}"
    record = history.run("run-1")
    assert record is not None
    assert (record.verdict, record.reasons) == (verdict, (reason,))
    assert Path(page.path).read_text() == f"# fence: {verdict}\n\n- {reason}\n\nRun run-1\n"
    logged = logged_record(capsys.readouterr().err.splitlines(), "run-1")
    assert logged == replace(record, ended="")


@pytest.mark.parametrize("promoting_run", ["run-1", "run-0"])
def test_a_promotion_that_was_not_recorded_is_recorded_from_the_registry(
    history: RunHistory, registry: Registry, name: str, promoting_run: str
) -> None:
    """The store was lost after the alias had moved, and deploy-serving ended with exit code 75."""
    tags = {"archive_digest": "d1", "archive_key": "k", "pipeline_run": promoting_run, "recipe": "i1"}
    version = registry.register(name, registry.run(name, promoting_run), tags)
    registry.move_alias(name, CHAMPION, version.version, "promoted", promoting_run)
    own = RunHistory(history.store, name)
    own.write_failure(StepFailure("run-1", "deploy-serving", 75, "the store cannot be reached"))
    settings = replace(settings_of(), target="kubernetes", registry=registry.uri)
    result = run("run-1", own, settings, progress=lambda _: None)
    if promoting_run == "run-1":
        assert (result.verdict, result.version, result.digest) == ("promoted", version.version, "d1")
        assert result.reasons == (REASON,)
    else:
        reason = "deploy-serving: the store cannot be reached (exit code 75)"
        assert (result.verdict, result.version, result.reasons) == ("failed", None, (reason,))
    recorded = own.run("run-1")
    assert recorded is not None
    assert recorded.verdict == result.verdict


def test_an_unreachable_registry_leaves_the_run_failed(
    history: RunHistory, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(settings_of(), target="kubernetes", registry=f"http://127.0.0.1:{free_port()}")
    assert run("run-1", history, settings, progress=lambda _: None).verdict == "failed"
    assert "run-1 may have promoted its model, but the registry cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            (200, [("prep-data", "SUCCEEDED"), ("train(0)", "FAILED")]),
            "failed in train;",
        ),
        ((200, [("prep-data", "SUCCEEDED")]), "did not finish;"),
        ((500, []), "did not finish;"),
    ],
)
def test_the_failed_step_is_requested_from_the_api(
    history: RunHistory, answer: tuple[int, list[tuple[str, str]]], reason: str
) -> None:
    status, tasks = answer
    details = [{"display_name": name, "state": state} for name, state in tasks]
    with web(lambda *_: (status, {"run_details": {"task_details": details}})) as api:
        result = run("run-1", history, replace(settings_of(), kfp_api=api.url), progress=lambda _: None)
    assert reason in result.reasons[0]
    assert api.requests[0][1] == "/apis/v2beta1/runs/run-1"


@pytest.mark.parametrize("last", ["CANCELING", "FAILED"])
def test_a_terminated_run_is_interrupted(history: RunHistory, last: str) -> None:
    tasks = {"task_details": [{"display_name": "train", "state": "FAILED"}]}
    states = [{"state": state} for state in ("RUNNING", "CANCELING")]
    row = {"run_id": "run-1", "state": last, "state_history": states, "run_details": tasks}
    with web(lambda *_: (200, row)) as api:
        result = run("run-1", history, replace(settings_of(), kfp_api=api.url), progress=lambda _: None)
    assert (result.verdict, result.reasons) == ("interrupted", ("the run was terminated",))
    assert history.run("run-1") is not None


def test_a_run_with_a_record_sends_no_request_to_the_api(history: RunHistory) -> None:
    history.write_run(RunRecord(run="run-1", verdict="promoted"))
    with web(lambda *_: (500, {})) as api:
        run("run-1", history, replace(settings_of(), kfp_api=api.url), progress=lambda _: None)
    assert api.requests == []


@pytest.mark.parametrize("recorded", [False, True])
def test_an_earlier_terminated_run_is_announced_once(
    history: RunHistory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recorded: bool
) -> None:
    def api_run(name: str, pipeline: str, *states: str) -> dict[str, object]:
        return {
            "run_id": name,
            "display_name": name,
            "experiment_id": "e",
            "pipeline_version_reference": {"pipeline_id": pipeline},
            "state": states[-1],
            "state_history": [{"state": state} for state in states],
        }

    runs = [
        api_run("this", "p", "RUNNING"),
        api_run("terminating", "p", "RUNNING", "CANCELING"),
        api_run("failed", "p", "RUNNING", "FAILED"),
        api_run("terminated", "p", "RUNNING", "CANCELING", "FAILED"),
        api_run("of-another-pipeline", "q", "RUNNING", "CANCELING", "FAILED"),
    ]
    history.write_run(RunRecord(run="this", verdict="promoted"))
    if recorded:
        history.write_run(RunRecord(run="terminated", verdict="interrupted"))
    monkeypatch.setenv("CT_STORE", str(history.store.root))  # type: ignore[attr-defined]
    page = SimpleNamespace(path=str(tmp_path / "result.md"))
    with (
        web(lambda *_: (200, b"ok")) as webhook,
        web(lambda _, path: (200, runs[0] if path.endswith("/this") else {"runs": runs})) as api,
    ):
        monkeypatch.setenv("CT_WEBHOOK", webhook.url)
        monkeypatch.setenv("CT_KFP_API", api.url)
        for _ in range(2):
            in_pipeline("fence", "this", page)
    texts = [json.loads(body)["text"] for _, _, body in webhook.requests]
    announced = [] if recorded else ["fence: interrupted. the run was terminated"]
    assert texts == [*announced, "fence: promoted. "], "a repeated step announces nothing again"
    assert {record.run: record.verdict for record in history.runs()} == {
        "this": "promoted",
        "terminated": "interrupted",
    }


def test_an_unreachable_webhook_does_not_fail_the_step(
    history: RunHistory, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(f"http://127.0.0.1:{free_port()}")
    assert run("run-1", history, settings).verdict == "failed"
    assert "warning: the webhook cannot be reached" in capsys.readouterr().err


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("CT_STORE", "CT_KFP_API"):
        monkeypatch.setenv(variable, "not an address")
    with web(lambda *_: (200, b"ok")) as webhook_server:
        monkeypatch.setenv("CT_WEBHOOK", webhook_server.url)
        assert main(["--workload", "fence", "--run-id", "run-1", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "fence: failed. the run did not finish; see its log\n"
    assert len(webhook_server.requests) == 1
    assert RunHistory(FolderStore(tmp_path / "store"), "fence").run("run-1") is not None
