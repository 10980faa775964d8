"""The trigger service as a process: real local runs, and runs on a Kubeflow server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from continuous_training.adapters.notifications.notification import run_notification
from continuous_training.adapters.notifications.webhook_body import webhook_body
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.serving.process import daemon
from continuous_training.trigger.caller_file import token_digest
from pipelines import history
from pipelines.trigger.__main__ import main
from tests.continuous_training.trigger.payloads import (
    SLACK_SECRET,
    minio_notification,
    slack_click,
    slack_headers,
)
from tests.fakes import web
from tests.kfp_server import KfpServer, kfp_server
from tests.trigger_service import TOKEN, TriggerService, trigger_service

SPEC = {
    "pipelineInfo": {"name": "digits"},
    "root": {"inputDefinitions": {"parameters": {"seed": {"parameterType": "NUMBER_INTEGER"}}}},
    "schemaVersion": "2.1.0",
}
SECRET = "kubeflow-secret"  # noqa: S105
EVENTS = "events: {uploads: {type: s3, workload: digits, debounce: 4, parameters: {seed: 4}}}"
SLACK = """
events:
  slack:
    type: slack
    workload: diabetes
    secret_file: {folder}/slack
    approvers: [U1]
    response_url: {url}/
"""
PROMOTED = [("prep-data", "SUCCEEDED"), ("deploy-serving", "SUCCEEDED"), ("run", "SUCCEEDED")]


def start(service: TriggerService, body: object = None, status: int = 202, workload: str = "digits") -> str:
    response = service.request("POST", f"/pipelines/{workload}/runs", body)
    assert response.status_code == status, response.text
    return str(response.json().get("id"))


def test_a_local_run_survives_a_restart_and_records_its_caller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / "state"
    body = {"parameters": {"seed": 5}, "reason": "<new> rows", "key": "k"}
    try:
        with trigger_service(tmp_path, "--state", str(state)) as service:
            run_id = start(service, body, workload="diabetes")
            waiting = start(service, workload="diabetes")
            service.wait(run_id, "running")
        with trigger_service(tmp_path, "--state", str(state)) as service:
            assert start(service, body, 200, workload="diabetes") == run_id
            cancelled = service.request("POST", f"/runs/{waiting}/cancel", {"reason": "not needed"}).json()
            run = service.wait(run_id, "ended")
            log = service.log.read_text()
        assert (cancelled["state"], cancelled["verdict"]) == ("ended", "interrupted")
        assert (run["verdict"], run["steps"]["deploy-serving"]) == ("promoted", "SUCCEEDED"), run
        assert sorted(path.name for path in (state / "runs").iterdir()) == [run_id]
        record = RunHistory(open_store(str(state / "store")), "diabetes").run(run_id)
        assert record is not None
        assert record.trigger == RunTrigger("ci", "<new> rows")
        report = Path(run["links"]["report"]).read_text()
        assert "ci: &lt;new&gt; rows" in report
        assert TOKEN not in log
        assert history.main(["--workload", "diabetes", "--state", str(state)]) == 0
        assert "started by ci: <new> rows" in capsys.readouterr().out
    finally:
        daemon.stop(state)


@pytest.mark.parametrize("by_others", [False, True])
def test_a_version_is_approved_over_http(tmp_path: Path, by_others: bool) -> None:
    """The caller who started the run approves it, or must not: then a user of Slack does with a button."""
    state = tmp_path / "state"
    body = {"parameters": {"approval": "required"}}
    environment = {**os.environ, "CT_APPROVAL_BY_OTHERS": str(by_others).lower()}
    (tmp_path / "slack").write_bytes(SLACK_SECRET)
    with ExitStack() as stack:
        stack.callback(daemon.stop, state)
        slack = stack.enter_context(web(lambda *_: (200, b"ok")))
        (tmp_path / "events.yaml").write_text(SLACK.format(folder=tmp_path, url=slack.url))
        arguments = ("--state", str(state), "--events", str(tmp_path / "events.yaml"))
        service = stack.enter_context(trigger_service(tmp_path, *arguments, environment=environment))
        run_id = start(service, body, workload="diabetes")
        assert service.wait(run_id, "ended")["verdict"] == "waiting"
        if by_others:
            response = service.request("POST", f"/runs/{run_id}/approve", {"reason": "checked"})
            assert (response.status_code, "another person" in response.json()["error"]) == (409, True)
            record = RunRecord(run=run_id, verdict="waiting", version="1")
            message = webhook_body(run_notification("diabetes", record), "slack-buttons")
            click = slack_click(json.loads(message.content), "approve", f"{slack.url}/actions/1", "U1", "ana")
            headers = slack_headers(click)
            assert requests.post(f"{service.url}/events/slack", click, headers=headers, timeout=3).ok
            deadline = time.monotonic() + 300
            while not slack.requests and time.monotonic() < deadline:
                time.sleep(0.1)
            text = json.loads(slack.requests[0][2])["text"]
            assert text == "diabetes: promoted. approved by slack:ana: button in Slack"
        responses = [
            service.request("POST", f"/runs/{run_id}/{decision}", {"reason": "checked"})
            for decision in ("approve", "approve", "reject")
        ]
    assert [response.status_code for response in responses] == [200, 200, 409]
    run, person = responses[0].json(), ("slack:ana", "button in Slack") if by_others else ("ci", "checked")
    assert (run["verdict"], run["reasons"][0]) == ("promoted", "approved by {}: {}".format(*person))
    assert run["links"]["endpoint"].endswith("/predict/diabetes")
    assert "pipelines.rollback" in responses[2].json()["error"]
    stored = RunHistory(open_store(str(state / "store")), "diabetes").run(run_id)
    assert stored is not None
    assert stored.approval is not None
    assert (stored.approval.starter, stored.approval.user) == ("ci", person[0])


def test_an_active_local_run_is_cancelled(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with trigger_service(tmp_path, "--state", str(state)) as service:
        run_id = start(service)
        service.wait(run_id, "running")
        assert service.request("POST", f"/runs/{run_id}/cancel").status_code == 202
        run = service.wait(run_id, "ended")
        assert (run["verdict"], run["cancelled"]["caller"]) == ("interrupted", "ci")
        assert service.request("POST", "/pipelines/digits/runs", {"version": "digits-1"}).status_code == 400


@pytest.fixture
def kfp(tmp_path: Path) -> Iterator[KfpServer]:
    with kfp_server() as server:
        server.create_experiment({"display_name": "digits"})
        pipeline = server.create_pipeline({"name": "digits"})
        for name in ("digits-old", "digits-new"):
            server.create_version(pipeline["pipeline_id"], name, "", SPEC)
        yield server


@pytest.fixture
def service(kfp: KfpServer, tmp_path: Path) -> Iterator[TriggerService]:
    environment = {**os.environ, "HOME": str(tmp_path), "CT_STORE": str(tmp_path / "store")}
    environment["CT_KFP_TOKEN"] = kfp.token = SECRET
    (tmp_path / "events.yaml").write_text(EVENTS)
    arguments = ("--target", "cluster", "--host", kfp.url, "--events", str(tmp_path / "events.yaml"))
    with trigger_service(tmp_path, *arguments, environment=environment) as running:
        yield running


def test_a_run_on_kubeflow_uses_the_current_or_the_pinned_version(
    kfp: KfpServer, service: TriggerService, tmp_path: Path
) -> None:
    kfp.outcome = []
    run_id = start(service, {"parameters": {"seed": 3}, "reason": "drift", "key": "k"})
    run = service.wait(run_id, "running")
    (kubeflow_run,) = kfp.runs.values()
    assert start(service, {"parameters": {"seed": 3}, "key": "k"}, 200) == run_id
    assert len(kfp.runs) == 1
    names = {row["pipeline_version_id"]: row["name"] for row in kfp.versions.values()}
    assert names[kubeflow_run["pipeline_version_reference"]["pipeline_version_id"]] == "digits-new"
    assert kubeflow_run["runtime_config"]["parameters"] == {"seed": 3}
    assert (run["run"], kubeflow_run["display_name"]) == (kubeflow_run["run_id"], run_id)
    assert run["links"]["page"] == f"{kfp.url}/#/runs/details/{run['run']}"
    # The notify step of the run writes the record.
    steps_history = RunHistory(open_store(str(tmp_path / "store")), "digits")
    steps_history.write_run(RunRecord(run=run["run"], verdict="promoted", reasons=("accuracy: 0.99",)))
    kubeflow_run["remaining_outcome"] = list(PROMOTED)
    run = service.wait(run_id, "ended")
    assert (run["verdict"], run["reasons"]) == ("promoted", ["accuracy: 0.99"])
    assert run["steps"]["deploy-serving"] == "SUCCEEDED"
    record = steps_history.run(run["run"])
    assert record is not None
    assert record.trigger == RunTrigger("ci", "drift")

    pinned = start(service, {"version": "digits-old"})
    service.wait(pinned, "running")
    latest_run = list(kfp.runs.values())[-1]
    assert names[latest_run["pipeline_version_reference"]["pipeline_version_id"]] == "digits-old"
    start(service, {"version": "digits-none"}, 400)
    start(service, status=400, workload="diabetes")
    # An expired token is an error of the service, whose message is not for callers.
    kfp.token = f"{SECRET}-rotated"
    response = service.request("POST", "/pipelines/digits/runs", {"parameters": {"seed": 9}})
    assert (response.status_code, kfp.url in response.text) == (502, False)
    log = service.log.read_text()
    assert "denied access" in log
    assert SECRET not in log


def test_a_run_on_kubeflow_is_terminated_and_a_deleted_run_ends(
    kfp: KfpServer, service: TriggerService
) -> None:
    kfp.outcome = []
    first = start(service)
    service.wait(first, "running")
    second = start(service, {"parameters": {"seed": 2}})
    service.request("POST", f"/runs/{first}/cancel", {"reason": "wrong data"})
    run = service.wait(first, "ended")
    assert (run["verdict"], run["reasons"]) == ("interrupted", ["cancelled by ci"])
    run = service.wait(second, "running")
    del kfp.runs[run["run"]]
    assert service.wait(second, "ended")["verdict"] == "failed"


def test_new_files_start_one_run_on_kubeflow(kfp: KfpServer, service: TriggerService) -> None:
    kfp.outcome = []
    for number in range(10):
        notification = json.loads(minio_notification(f"labels/{number}.csv"))
        assert service.request("POST", "/events/uploads", notification).status_code == 202
    deadline = time.monotonic() + 60
    while not kfp.runs and time.monotonic() < deadline:
        time.sleep(0.1)
    (run,) = kfp.runs.values()
    assert run["runtime_config"]["parameters"] == {"seed": 4}
    reason = service.wait(run["display_name"], "running")["reason"]
    assert reason == "new object s3://data/labels/0.csv, and 9 more events"


def test_token_prints_a_token_and_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token"]) == 0
    token, digest = (line.split()[1] for line in capsys.readouterr().out.splitlines())
    assert token_digest(token) == digest


def test_a_file_that_is_missing_is_reported(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipelines.trigger", "serve", "--callers", str(tmp_path / "none")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "there is no file" in process.stderr
