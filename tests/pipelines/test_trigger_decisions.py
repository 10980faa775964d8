"""The trigger service approves, rejects and rolls back: on this machine, and on a simulated cluster."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHAMPION, Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.exit_codes import WAITING
from continuous_training.core.file_lock import hold_lock
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.decisions import RollbackRequest
from pipelines.trigger.decision_processes import DecisionProcesses
from tests.compatibility import kubernetes_api
from tests.compatibility.kubernetes_api import Api, ErrorResponse
from tests.kfp_server import KfpServer, kfp_server
from tests.trigger_service import TriggerService, trigger_service

from . import champions
from .champions import NAME, run_module

SPEC = {
    "pipelineInfo": {"name": NAME},
    "root": {"inputDefinitions": {"parameters": {"approval": {"parameterType": "STRING"}}}},
    "schemaVersion": "2.1.0",
}
ROLLBACK = f"/pipelines/{NAME}/rollback"


def test_a_version_is_rolled_back_over_http_once(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with champions.copy_state(tmp_path_factory, "trigger") as state:
        with trigger_service(tmp_path, "--state", str(state.folder)) as service:
            body = {"reason": "wrong labels", "champion": "3"}
            with hold_lock(state.folder / "rollouts" / f"{NAME}.lock", 0):
                during_rollout = service.request("POST", ROLLBACK, body)
            response, repeated = (service.request("POST", ROLLBACK, body) for _ in range(2))
            unknown = service.request("POST", ROLLBACK, {"version": "99"})
        assert (during_rollout.status_code, "retry-after" in during_rollout.headers) == (503, True)
        result = response.json()
        assert (response.status_code, result["verdict"]) == (200, "rolled back"), result
        assert (result["from"]["version"], result["to"]["version"], result["by"]) == ("3", "2", "ci")
        assert (repeated.status_code, unknown.status_code) == (409, 409)
        assert "version 3 of diabetes is not the champion, which is version 2" in repeated.json()["error"]
        assert state.aliases[CHAMPION] == "2"
        assert state.served_digest() == state.digests[1]
        record = RunHistory(open_store(str(state.folder / "store")), NAME).run(result["run"])
        assert record is not None
        assert record.reasons == ("wrong labels",)


@pytest.mark.parametrize(
    ("code", "status", "has_reason"),
    [(2, 409, True), (4, 409, True), (6, 502, True), (77, 403, True), (75, 503, False), (1, 502, False)],
)
def test_the_exit_code_of_a_decision_determines_the_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: int, has_reason: bool
) -> None:
    program = tmp_path / "program"
    program.write_text(
        f"""#!/bin/sh\necho '{{"verdict": "failed", "reasons": ["at http://store"]}}'\nexit {code}"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(HttpError) as raised:
        DecisionProcesses("").roll_back(NAME, RollbackRequest(), RunTrigger("ci"))
    assert (raised.value.status, "at http://store" in str(raised.value)) == (status, has_reason)


@dataclass
class ClusterService:
    """A service for runs on Kubeflow, whose API server and pipelines are simulated."""

    service: TriggerService
    kfp: KfpServer
    api: Api
    registry: Registry

    def wait_for_approval(self) -> str:
        """Start a run, and run its steps on this machine until its version waits. Return its id."""
        body = {"parameters": {"approval": "required"}}
        response = self.service.request("POST", f"/pipelines/{NAME}/runs", body)
        run = self.service.wait(response.json()["id"], "running")
        values = {"approval": "required", "test_size": 0.5, "seed": 1, "gate_superiority": False}
        values["gate_margin"] = 1.0
        arguments = (run["run"], NAME, json.dumps(values), "")
        run_module("pipelines.trigger.local_run", *arguments, expect=WAITING)
        self.kfp.runs[run["run"]]["remaining_outcome"] = [("archive", "SUCCEEDED"), ("run", "SUCCEEDED")]
        run = self.service.wait(run["id"], "ended")
        assert run["verdict"] == "waiting"
        return str(run["id"])


@pytest.fixture
def cluster(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterService]:
    """A cluster that serves nothing yet. Version 3 is the champion."""
    with ExitStack() as stack:
        state = stack.enter_context(
            champions.copy_state(tmp_path_factory, "trigger-cluster", run_server=True)
        )
        kfp = stack.enter_context(kfp_server())
        kfp.outcome = []
        kfp.create_experiment({"display_name": NAME})
        kfp.create_version(kfp.create_pipeline({"name": NAME})["pipeline_id"], "v1", "", SPEC)
        api = stack.enter_context(kubernetes_api.serve(Api(state.folder / "store" / "archives")))
        environment = {
            **os.environ,
            "HOME": str(tmp_path),
            "CT_STORE": str(state.folder / "store"),
            "KUBECONFIG": str(kubernetes_api.kubeconfig(api, tmp_path / "kubeconfig")),
            "CT_TARGET": "kubernetes",
            "CT_SERVING_STORE": "s3://models/ct?endpoint=store:9000",
            "CT_SERVING_IMAGE": "registry.example/serving@sha256:" + "cd" * 32,
        }
        arguments = ("--target", "cluster", "--host", kfp.url)
        service = stack.enter_context(trigger_service(tmp_path, *arguments, environment=environment))
        yield ClusterService(service, kfp, api, state.registry)


def test_versions_are_rolled_back_and_approved_on_a_cluster(
    cluster: ClusterService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, api, digests = cluster.service, cluster.api, _digests(cluster.registry)
    with monkeypatch.context() as patch:
        patch.setattr(Api, "handle", _forbidden)
        response = service.request("POST", ROLLBACK)
    assert response.status_code == 403
    assert f"python -m pipelines.rollback --workload {NAME} --cluster" in response.json()["error"]
    assert api.writes == []
    responses = [service.request("POST", ROLLBACK, {"champion": "3"}) for _ in range(2)]
    assert [response.status_code for response in responses] == [200, 409], responses[0].text
    assert responses[0].json()["to"]["version"] == cluster.registry.aliases(NAME)[CHAMPION] == "2"
    assert _served(api) == digests[1]

    run_id = cluster.wait_for_approval()
    assert _served(api) == digests[1]
    response = service.request("POST", f"/runs/{run_id}/approve", {"reason": "checked"})
    assert (response.status_code, response.json()["verdict"]) == (200, "promoted"), response.text
    assert cluster.registry.aliases(NAME)[CHAMPION] == "4"
    assert _served(api) == _digests(cluster.registry)[3]


def test_without_settings_of_the_cluster_a_person_decides(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "CT_STORE": str(tmp_path / "store")}
    with kfp_server() as kfp:
        arguments = ("--target", "cluster", "--host", kfp.url, "--namespace", "team-a")
        with trigger_service(tmp_path, *arguments, environment=environment) as service:
            response = service.request("POST", ROLLBACK)
    assert response.status_code == 501
    command = f"python -m pipelines.rollback --workload {NAME} --namespace team-a --cluster"
    assert command in response.json()["error"]


def _forbidden(_: Api, method: str, target: str, body: object) -> Any:
    message = f'cannot {method.lower()} resource "leases" in API group "coordination.k8s.io"'
    raise ErrorResponse(403, {"kind": "Status", "code": 403, "message": message, "path": target})


def _served(api: Api) -> str:
    service = api.objects["services", NAME]
    return str(service["metadata"]["annotations"][kubernetes_api.SERVED_ANNOTATION])


def _digests(registry: Registry) -> list[str]:
    return [version.digest for version in registry.versions(NAME)]
