"""The HTTP interface of the trigger service: statuses, rights, limits and hostile input."""

from __future__ import annotations

import json
import logging

import pytest
import requests

from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.decisions import RollbackRequest

from .running_service import Service


def test_a_run_is_started_read_and_cancelled(service: Service) -> None:
    response = service.post("/pipelines/digits/runs", {"parameters": {"seed": 7}, "reason": "new data"})
    run = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == run["links"]["self"] == f"/runs/{run['id']}"
    assert (run["state"], run["caller"], run["reason"]) == ("waiting", "ci", "new data")
    service.dispatcher.process()
    run = service.get(f"/runs/{run['id']}").json()
    assert (run["state"], run["run"], run["steps"]) == (
        "running",
        f"run-of-{run['id']}",
        {"prep-data": "RUNNING"},
    )
    assert run["links"]["page"] == "http://pipelines.example/run"
    assert service.post(f"/runs/{run['id']}/cancel", {"reason": "wrong data"}).status_code == 202
    service.dispatcher.process()
    run = service.get(f"/runs/{run['id']}").json()
    assert (run["state"], run["verdict"]) == ("ended", "interrupted")
    assert run["cancelled"] == {"caller": "ci", "reason": "wrong data"}
    assert service.post(f"/runs/{run['id']}/cancel").json()["verdict"] == "interrupted"
    assert len(service.target.cancelled) == 1


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_the_version_of_a_run_needs_the_right_to_approve(service: Service, decision: str) -> None:
    run_id = service.post("/pipelines/digits/runs").json()["id"]
    path = f"/runs/{run_id}/{decision}"
    assert service.post(path, caller="owner").status_code == 409, "the run has not started"
    service.dispatcher.process()
    assert service.post(path, caller="owner").status_code == 409, "the run has not ended"
    service.target.verdicts[run_id] = "waiting"
    service.dispatcher.process()
    # The caller ci may start and cancel runs, but not approve them.
    assert [service.post(path, caller=caller).status_code for caller in ("ci", "reader")] == [404, 404]
    assert service.post("/runs/digits-99/approve", caller="owner").status_code == 404
    assert service.post(path, {"why": "x"}, "owner").status_code == 400
    assert service.decisions.reviews == []
    response = service.post(path, {"reason": "checked"}, "owner")
    assert (response.status_code, response.json()["verdict"]) == (200, "waiting")
    person = RunTrigger("owner", "checked")
    assert service.decisions.reviews == [(decision, "digits", f"run-of-{run_id}", person)]

    # The record of the run contains the decision, also if a person used the command.
    verdict = {"approve": "promoted", "reject": "rejected"}[decision]
    history = RunHistory(service.dispatcher.queue.store, "digits")
    history.write_run(RunRecord(run=f"run-of-{run_id}", verdict=verdict, reasons=("by a person",)))
    run = service.get(f"/runs/{run_id}").json()
    assert (run["state"], run["verdict"], run["reasons"]) == ("ended", verdict, ["by a person"])


def test_the_version_of_a_run_that_does_not_wait_is_not_approved(service: Service) -> None:
    run_id = service.post("/pipelines/digits/runs").json()["id"]
    service.dispatcher.process()
    service.target.verdicts[run_id] = "promoted"
    service.dispatcher.process()
    service.decisions.failure = HttpError(409, "no version waits for approval")
    assert service.post(f"/runs/{run_id}/approve", caller="owner").status_code == 409
    assert service.decisions.reviews == []


def test_a_rollback_needs_its_right_and_returns_the_versions(service: Service) -> None:
    path = "/pipelines/digits/rollback"
    assert [service.post(path, caller=caller).status_code for caller in ("ci", "reader")] == [403, 403]
    assert service.post("/pipelines/none/rollback", caller="owner").status_code == 404
    for body in ({"key": "k"}, {"version": 2}, {"reason": "a\nb"}, [], {"champion": "1" * 201}):
        assert service.post(path, body, "owner").status_code == 400, body
    assert service.decisions.rollbacks == []

    body = {"reason": "wrong labels", "champion": "3"}
    response, repeated = (service.post(path, body, "owner") for _ in range(2))
    assert (response.status_code, repeated.status_code) == (200, 409)
    result = response.json()
    assert (result["workload"], result["verdict"], result["reasons"]) == (
        "digits", "rolled back", ["wrong labels"],
    )  # fmt: skip
    assert (result["from"]["version"], result["to"]["version"], result["by"]) == ("3", "2", "owner")
    assert service.post(path, {"version": "1"}, "owner").json()["to"]["version"] == "1"
    assert service.decisions.rollbacks == [
        ("digits", RollbackRequest(champion="3"), RunTrigger("owner", "wrong labels")),
        ("digits", RollbackRequest(version="1"), RunTrigger("owner", "")),
    ]


def test_a_repeated_request_returns_the_same_run(service: Service) -> None:
    body = {"parameters": {"seed": 7}, "key": "build-12"}
    first, second = (service.post("/pipelines/digits/runs", body) for _ in range(2))
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert service.post("/pipelines/digits/runs", {**body, "parameters": {}}).status_code == 422


def test_a_second_waiting_run_is_rejected(service: Service) -> None:
    statuses = [
        service.post("/pipelines/digits/runs", {"parameters": {"seed": seed}}).status_code
        for seed in (1, 2, 3, 2)
    ]
    assert statuses == [202, 202, 409, 200]


def test_train_starts_the_only_permitted_pipeline(service: Service) -> None:
    response = service.post("/train")
    assert (response.status_code, response.json()["workload"]) == (202, "digits")
    assert service.post("/train", {"workload": "mnist"}, "owner").json()["workload"] == "mnist"
    assert service.post("/train", caller="owner").status_code == 400
    assert service.post("/train", {"workload": "mnist"}).status_code == 403


def test_pipelines_lists_the_readable_pipelines_with_their_schemas(service: Service) -> None:
    (entry,) = service.get("/pipelines").json()["pipelines"]
    assert entry["name"] == "digits"
    properties = entry["parameters"]["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == {
        "seed": "integer", "share": "number", "source": "string", "accept": "string", "fast": "boolean",
    }  # fmt: skip
    assert (properties["share"]["minimum"], properties["share"]["maximum"]) == (0, 1)
    assert len(service.get("/pipelines", "reader").json()["pipelines"]) == 3


def test_rights_are_enforced(service: Service) -> None:
    assert service.post("/pipelines/mnist/runs").status_code == 403
    assert service.post("/pipelines/digits/runs", caller="reader").status_code == 403
    run = service.post("/pipelines/digits/runs").json()
    assert service.get(f"/runs/{run['id']}", "reader").status_code == 200
    assert service.post(f"/runs/{run['id']}/cancel", caller="reader").status_code == 404
    assert service.get(f"/runs/{run['id']}", "owner").status_code == 404
    assert service.get("/runs/digits-20261129T000000-0099").status_code == 404
    accepted = {"parameters": {"accept": "new scanner"}}
    assert service.post("/pipelines/digits/runs", accepted).status_code == 403
    assert service.post("/pipelines/digits/runs", accepted, "owner").status_code == 202
    assert service.post("/pipelines/none/runs", caller="owner").status_code == 404


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", "Basic {token}", "Bearer {token}x", "Bearer ctt_é", "{token}"]
)
def test_a_request_without_a_valid_token_is_rejected(service: Service, header: str) -> None:
    headers = {"authorization": header.format(token=service.tokens["ci"]).encode("latin-1")} if header else {}
    for method, path in (("GET", "/pipelines"), ("POST", "/train"), ("GET", "/runs/digits-1-1")):
        response = requests.request(method, service.url + path, headers=headers, timeout=30)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert service.dispatcher.queue.unfinished() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"1", b"null", b"\xff", b'{"x": 1}', b'{"parameters": []}', b'{"reason": 1}',
        b'{"reason": "a\\nb"}', b'{"key": null}', b'{"parameters": {"seed": "1"}}',
        b'{"parameters": {"seed": 1.5}}', b'{"parameters": {"seed": true}}', b'{"parameters": {"seed": -1}}',
        b'{"parameters": {"share": 2}}', b'{"parameters": {"share": NaN}}', b'{"parameters": {"other": 1}}',
        b'{"parameters": {"source": "a\\nb=c"}}', b'{"parameters": {"fast": "yes"}}', b'{"version": "v2"}',
        b'{"parameters": {"source": null}}', b'{"key": "' + b"k" * 201 + b'"}',
    ],
)  # fmt: skip
def test_an_invalid_body_starts_nothing(service: Service, body: bytes) -> None:
    headers = {"authorization": f"Bearer {service.tokens['ci']}", "content-type": "application/json"}
    response = requests.post(f"{service.url}/pipelines/digits/runs", body, headers=headers, timeout=30)
    assert response.status_code == 400
    assert response.json()["error"]
    assert service.dispatcher.queue.unfinished() == {}


def test_other_content_types_and_large_bodies_are_rejected(service: Service) -> None:
    headers = {"authorization": f"Bearer {service.tokens['ci']}"}
    url = f"{service.url}/pipelines/digits/runs"
    assert requests.post(url, {"reason": "form"}, headers=headers, timeout=30).status_code == 415
    headers["content-type"] = "application/json"
    large = json.dumps({"reason": "x" * 70_000})
    assert requests.post(url, large, headers=headers, timeout=30).status_code == 413


def test_too_many_requests_are_rejected_with_a_time(service: Service) -> None:
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < 200:
        response = service.post("/pipelines/digits/runs", {"key": "k"})
        statuses.append(response.status_code)
    assert (statuses[:2], statuses[-1]) == ([202, 200], 429)
    assert len(statuses) > 40
    assert int(response.headers["retry-after"]) >= 1
    assert service.post("/train", {"workload": "mnist"}, "owner").status_code == 202
    assert len(service.dispatcher.queue.unfinished()["digits"]) == 1


def test_no_token_is_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        service.post("/pipelines/digits/runs", {"reason": "r"})
        service.get("/runs/x")
        headers = {"authorization": f"Bearer {service.tokens['ci']}wrong"}
        requests.get(f"{service.url}/pipelines", headers=headers, timeout=30)
    assert "ci requested digits-" in caplog.text
    assert service.tokens["ci"] not in caplog.text


def test_the_openapi_document_is_valid_and_complete(service: Service) -> None:
    validate = pytest.importorskip("openapi_spec_validator").validate
    document = requests.get(f"{service.url}/openapi.json", timeout=30).json()
    validate(document)
    paths = requests.get(service.url, timeout=30).json()["paths"]
    documented = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    operations = {path for path in paths if path.split()[1] not in ("/", "/healthz", "/openapi.json")}
    assert {path for path in documented if not path.startswith("PARAMETERS")} == operations
