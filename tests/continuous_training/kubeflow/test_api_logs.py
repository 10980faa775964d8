"""The names of the steps' pods, from the nodes of a Workflow of Kubeflow Pipelines 2.17 and Argo 4.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.kubeflow.api_logs import step_pods

TEMPLATE = "metadata-0-3-retry-system-container-impl"


@pytest.fixture
def workflow() -> dict[str, Any]:
    """The recorded nodes, without those that only group retries."""
    path = Path(__file__).parent / "workflow.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("step", "number"),
    [("prep-data", "2939658885"), ("train", "1772625265"), ("notify", "1942530303")],
)
def test_a_step_has_the_pod_that_executes_it(step: str, number: str, workflow: dict[str, Any]) -> None:
    assert step_pods(workflow, step) == [f"digits-x1-{TEMPLATE}-{number}"]


def test_the_last_attempt_is_the_last_pod(workflow: dict[str, Any]) -> None:
    nodes = workflow["status"]["nodes"]
    first = nodes["digits-x1-1772625265"]
    second = first | {"id": "digits-x1-1", "name": first["name"].replace("executor(0)", "executor(1)")}
    workflow["status"]["nodes"] = {"digits-x1-1": second | {"startedAt": "2099-01-01T00:00:00Z"}, **nodes}
    assert step_pods(workflow, "train") == [f"digits-x1-{TEMPLATE}-1772625265", f"digits-x1-{TEMPLATE}-1"]


def test_a_step_that_was_not_executed_has_no_pod(workflow: dict[str, Any]) -> None:
    assert step_pods(workflow, "unknown") == []
    assert step_pods({"metadata": {"name": "x"}, "status": {}}, "train") == []
