"""Events of other systems, in their formats and with real signatures."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from continuous_training.core.errors import UserError
from continuous_training.trigger.events.event_source import read_event_sources

from .payloads import (
    GITHUB_SECRET,
    MLFLOW_SECRET,
    SLACK_SECRET,
    eventbridge_event,
    github_headers,
    github_push,
    minio_notification,
    mlflow_webhook,
    s3_notification,
)
from .running_service import Service, running_service

EVENTS = """
events:
  labels:
    type: cloudevents
    workload: digits
    event_types: com.example.labels
    parameters: {{seed: 7}}
  uploads:
    type: s3
    workload: digits
    bucket: data
    prefix: new labels/
    suffix: .csv
    debounce: {debounce}
  code:
    type: github
    workload: digits
    secret_file: {folder}/github
    repository: octo-org/models
    ref: refs/heads/main
    paths: ["workloads/digits/*"]
  registry:
    type: mlflow
    workload: digits
    secret_file: {folder}/mlflow
    event_types: [model_version_alias.created]
"""
CLOUD_EVENT = {
    "specversion": "1.0",
    "type": "com.example.labels",
    "source": "/labels/tool",
    "id": "A234-1234-1234",
    "time": "2026-04-05T17:31:00Z",
    "datacontenttype": "application/json",
    "data": {"rows": 12},
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    for name, secret in (("github", GITHUB_SECRET), ("mlflow", MLFLOW_SECRET), ("slack", SLACK_SECRET)):
        (tmp_path / name).write_bytes(secret + b"\n")
    with running_service(tmp_path, EVENTS.format(folder=tmp_path, debounce=0.3)) as running:
        yield running


def send(
    service: Service, name: str, body: bytes, headers: dict[str, str], caller: str = "ci"
) -> requests.Response:
    token = {"authorization": f"Bearer {service.tokens[caller]}"} if caller else {}
    return requests.post(f"{service.url}/events/{name}", body, headers=token | headers, timeout=30)


def queued(service: Service) -> list[tuple[str, str, str]]:
    runs = service.dispatcher.queue.unfinished().get("digits", [])
    return [(run.trigger.caller, run.trigger.reason, run.id) for run in runs]


def structured(**changes: object) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({**CLOUD_EVENT, **changes}).encode()
    return body, {"content-type": "application/cloudevents+json; charset=utf-8"}


def test_a_cloud_event_in_both_modes_starts_one_run(service: Service) -> None:
    response = send(service, "labels", *structured())
    assert (response.status_code, response.json()["parameters"]) == (202, {"seed": 7})
    binary = {f"ce-{name}": CLOUD_EVENT[name] for name in ("specversion", "type", "source", "id", "time")}
    repeated = send(service, "labels", b'{"rows": 12}', {**binary, "content-type": "application/json"})
    assert (repeated.status_code, repeated.json()["id"]) == (200, response.json()["id"])
    ((caller, reason, _),) = queued(service)
    assert (caller, reason) == ("ci", "event com.example.labels from /labels/tool")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"type": "com.example.other"}, 200),
        ({"specversion": "0.3"}, 400),
        ({"id": ""}, 400),
        ({"id": 5}, 400),
        ({"source": None}, 400),
    ],
)
def test_other_cloud_events_start_nothing(service: Service, changes: dict[str, object], status: int) -> None:
    assert send(service, "labels", *structured(**changes)).status_code == status
    assert queued(service) == []


def test_a_batch_or_no_event_is_rejected(service: Service) -> None:
    batch = {"content-type": "application/cloudevents-batch+json"}
    assert send(service, "labels", b"[]", batch).status_code == 415
    for body in (b"", b"[]", b"{", b"\xff"):
        assert send(service, "labels", body, {"content-type": "application/json"}).status_code == 400
        assert send(service, "labels", body, structured()[1]).status_code == 400
    assert send(service, "none", *structured()).status_code == 404
    assert queued(service) == []


@pytest.mark.parametrize(("caller", "status"), [("", 401), ("reader", 403)])
def test_an_event_needs_the_token_of_a_caller_who_may_start_runs(
    service: Service, caller: str, status: int
) -> None:
    assert send(service, "labels", *structured(), caller).status_code == status
    assert send(service, "uploads", s3_notification("new labels/a.csv"), {}, caller).status_code == status
    for task in service.dispatcher.tasks:
        task()
    assert queued(service) == []


def test_a_hundred_files_start_one_run(service: Service) -> None:
    json_type = {"content-type": "application/json"}
    bodies = [s3_notification(f"new labels/{number}.csv") for number in range(98)]
    bodies += [minio_notification("new labels/98.csv"), eventbridge_event("new labels/99.csv")]
    # S3 delivers an event at least once.
    for body in (*bodies, bodies[0]):
        response = send(service, "uploads", body, json_type)
        assert (response.status_code, response.json()["state"]) == (202, "collected")
    _, task, *_ = service.dispatcher.tasks
    task()
    deadline = time.monotonic() + 30
    while not queued(service) and time.monotonic() < deadline:
        time.sleep(0.1)
        task()
    task()
    ((caller, reason, _),) = queued(service)
    assert (caller, reason) == ("ci", "new object s3://data/new labels/0.csv, and 99 more events")
    assert service.dispatcher.queue.store.keys("trigger-events") == []


@pytest.mark.parametrize(
    "body",
    [
        s3_notification("new labels/a.txt"),
        s3_notification("other/a.csv"),
        s3_notification("new labels/a.csv", name="ObjectRemoved:Delete"),
        s3_notification("new labels/a.csv").replace(b'"data"', b'"other"'),
        b'{"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "data"}',
    ],
)
def test_other_objects_start_nothing(service: Service, body: bytes) -> None:
    response = send(service, "uploads", body, {})
    assert (response.status_code, response.json()) == (200, {"state": "ignored"})


def test_events_wait_while_another_run_waits_and_survive_a_restart(service: Service, tmp_path: Path) -> None:
    for seed in (1, 2):
        service.post("/pipelines/digits/runs", {"parameters": {"seed": seed}})
    body = github_push()
    # No run can wait now. GitHub does not repeat a delivery, so the event is kept.
    assert send(service, "code", body, github_headers(body), "").json()["state"] == "collected"
    service.dispatcher.process()
    service.target.verdicts[queued(service)[0][2]] = "promoted"
    service.dispatcher.process()
    for task in service.dispatcher.tasks:
        task()
    assert [caller for caller, _, _ in queued(service)] == ["ci", "github:octocat"]


def test_a_damaged_event_stops_only_its_source(service: Service) -> None:
    service.dispatcher.queue.store.write("trigger-events/labels/damaged.json", b"{")
    send(service, "uploads", s3_notification("new labels/a.csv"), {})
    time.sleep(0.4)
    for task in service.dispatcher.tasks:
        task()
    assert [reason for _, reason, _ in queued(service)] == ["new object s3://data/new labels/a.csv"]


def test_a_push_to_github_starts_a_run_once(service: Service) -> None:
    body = github_push()
    response = send(service, "code", body, github_headers(body), "")
    assert response.status_code == 202, response.text
    reason = "push of 1481a2de7b2a to refs/heads/main of octo-org/models"
    assert [entry[:2] for entry in queued(service)] == [("github:octocat", reason)]
    # The signature does not cover the id of the delivery: a replay with another id starts nothing.
    replay = {**github_headers(body), "x-github-delivery": "another"}
    assert send(service, "code", body, replay, "").status_code == 200
    assert len(queued(service)) == 1


def test_the_signature_of_github_is_that_of_its_documentation() -> None:
    signature = github_headers(b"Hello, World!")["x-hub-signature-256"]
    assert signature == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (github_push(), github_headers(github_push(), b"another secret")),
        (github_push(), github_headers(github_push() + b" ")),
        (github_push(), {"x-github-event": "push"}),
        (github_push(), {**github_headers(github_push()), "x-hub-signature-256": "é".encode("latin-1")}),
    ],
)
def test_a_wrong_signature_is_rejected(
    service: Service, body: bytes, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert send(service, "code", body, headers, "").status_code == 401
        # A token does not replace the signature.
        assert send(service, "code", body, headers).status_code == 401
    assert queued(service) == []
    assert GITHUB_SECRET.decode() not in caplog.text


def test_other_pushes_and_events_start_nothing(service: Service) -> None:
    for body in (
        github_push(ref="refs/heads/try"),
        github_push(path="docs/index.md"),
        github_push().replace(b"octo-org/models", b"octo-org/fork"),
        github_push().replace(b'"deleted": false', b'"deleted": true'),
    ):
        assert send(service, "code", body, github_headers(body), "").json() == {"state": "ignored"}
    ping = b'{"zen": "Design for failure.", "hook_id": 1}'
    assert send(service, "code", ping, github_headers(ping, event="ping"), "").status_code == 200
    assert queued(service) == []


def test_secrets_are_rotated_without_a_restart(service: Service, tmp_path: Path) -> None:
    body = github_push()
    (tmp_path / "github").write_bytes(GITHUB_SECRET + b"\nnew secret\n")
    assert send(service, "code", body, github_headers(body, b"new secret"), "").status_code == 202
    (tmp_path / "github").write_bytes(b"new secret\n")
    assert send(service, "code", body, github_headers(body), "").status_code == 401
    (tmp_path / "github").unlink()
    assert send(service, "code", body, github_headers(body), "").status_code == 503


def test_a_webhook_of_mlflow_starts_a_run_once(service: Service) -> None:
    delivery = pytest.importorskip("mlflow.webhooks.delivery")
    body = mlflow_webhook()

    def headers(timestamp: int, identity: str = "d-1") -> dict[str, str]:
        signature = delivery._generate_hmac_signature(
            MLFLOW_SECRET.decode(), identity, str(timestamp), body.decode()
        )
        return {
            "content-type": "application/json",
            "x-mlflow-signature": signature,
            "x-mlflow-timestamp": str(timestamp),
            "x-mlflow-delivery-id": identity,
        }

    now = int(time.time())
    statuses = [send(service, "registry", body, headers(now), "").status_code for _ in range(2)]
    assert statuses == [202, 200]
    assert send(service, "registry", body, headers(now - 301), "").status_code == 401
    altered = {**headers(now), "x-mlflow-delivery-id": "d-2"}
    assert send(service, "registry", body, altered, "").status_code == 401
    assert [entry[:2] for entry in queued(service)] == [
        ("mlflow", "model_version_alias.created of the model digits")
    ]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{type: smoke, workload: digits}", "a type of cloudevents"),
        ("{type: s3, workload: none}", "no workload 'none'"),
        ("{type: s3, workload: digits, paths: [a]}", "no field 'paths'"),
        ("{type: s3, workload: digits, parameters: {seed: x}}", "parameter seed"),
        ("{type: s3, workload: digits, parameters: {accept: yes please}}", "cannot set the parameter accept"),
        ("{type: s3, workload: digits, debounce: -1}", "from 0 to 86400"),
        ("{type: github, workload: digits}", "needs secret_file"),
        ("{type: github, workload: digits, secret_file: /none}", "cannot be read"),
        ("{type: github, workload: digits, secret_file: /dev/null}", "is empty"),
        ("{type: s3, workload: digits, secret_file: /dev/null}", "has no secret_file"),
    ],
)
def test_an_invalid_source_is_an_error(tmp_path: Path, service: Service, source: str, message: str) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(f"events: {{a: {source}}}")
    pipelines = service.pipelines
    with pytest.raises(UserError, match=message):
        read_event_sources(path, pipelines)
