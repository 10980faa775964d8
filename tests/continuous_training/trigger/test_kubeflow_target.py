"""Runs of the trigger service whose Workflow was deleted: a real server never reports their end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import TransientError
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.connection import resolve_connection
from continuous_training.trigger import kubeflow_target
from continuous_training.trigger.kubeflow_target import KubeflowTarget
from continuous_training.trigger.queued_run import QueuedRun, StartedRun
from tests.kfp_server import ApiError, KfpServer, kfp_server

SPEC = {"pipelineInfo": {"name": "digits"}, "root": {}, "schemaVersion": "2.1.0"}
RUN = QueuedRun("digits-1", "digits", 1, "2026-11-30T03:00:00+00:00", RunTrigger("ci"))


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    with kfp_server() as server:
        pipeline = server.create_pipeline({"name": "digits"})
        server.create_version(pipeline["pipeline_id"], "digits-new", "", SPEC)
        server.outcome = []
        yield server


@pytest.fixture
def target(kfp: KfpServer, tmp_path: Path) -> KubeflowTarget:
    return KubeflowTarget(
        KubeflowClient(resolve_connection({}, kfp.url), backoff=0), open_store(str(tmp_path))
    )


@pytest.fixture
def started(kfp: KfpServer, target: KubeflowTarget) -> StartedRun:
    """A run whose Workflow was deleted."""
    run = target.start(RUN, repeated=False)
    kfp.without_workflow.add(run.run)
    return run


def test_a_cancelled_run_without_a_workflow_ends_after_the_limit(
    target: KubeflowTarget, started: StartedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert target.status(RUN, started).verdict == ""
    target.cancel(RUN, started)
    # The server would reject a second request.
    target.cancel(RUN, started)
    assert target.status(RUN, started).verdict == ""
    monkeypatch.setattr(kubeflow_target, "TERMINATION_LIMIT", 0)
    status = target.status(RUN, started)
    assert status.verdict == "interrupted"
    assert "its Workflow was deleted" in status.reasons[0]


def test_a_run_that_was_not_terminated_is_an_error(
    kfp: KfpServer, target: KubeflowTarget, started: StartedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str, path: str) -> None:
        if path.endswith(":terminate"):
            raise ApiError(503, {"code": 14, "message": "unavailable", "details": []})

    monkeypatch.setattr(kfp, "fail", fail)
    monkeypatch.setattr(kubeflow_target, "TERMINATION_LIMIT", 0)
    with pytest.raises(TransientError, match="terminate"):
        target.cancel(RUN, started)
    assert target.status(RUN, started).verdict == ""
