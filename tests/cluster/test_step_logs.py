"""The messages of a step from the log of its pod, on a real cluster."""

from __future__ import annotations

import secrets

import pytest

from continuous_training.adapters.kubernetes.resources import POD
from pipelines import logs

from .cluster_namespace import ClusterNamespace, image
from .polling import wait_until

PROGRAM = """
import sys
from components import step_cli
print("I1129 12:00:00 launcher_v2.go: a line of Kubeflow")
with step_cli.reported("train"):
    step_cli.tell("reading 442 rows")
    {failure}
"""


def run_step(namespace: ClusterNamespace, run_id: str, step: str, failure: str) -> str:
    """Run a pod with the labels of a step until it ends. Return its name."""
    name = f"{step}-{secrets.token_hex(3)}"
    labels = {"pipeline/runid": run_id, "continuous-training/step": step}
    pod = {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image("notify"),
                    "command": ["python", "-c", PROGRAM.format(failure=failure)],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    namespace.cluster.apply(POD, pod)

    def has_ended() -> bool:
        current = namespace.cluster.get(POD, name)
        return current is not None and current["status"].get("phase") in ("Succeeded", "Failed")

    assert wait_until(has_ended, 120)
    return name


def test_the_messages_and_the_exit_code_of_each_step_are_printed(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = "0f1e-run"
    prepared = run_step(own_namespace, run_id, "prep-data", "pass")
    trained = run_step(
        own_namespace,
        run_id,
        "train",
        "raise ConnectionAbortedError(None, 'aborted', 'the source')",
    )
    evaluated = run_step(own_namespace, run_id, "evaluate", "1 / 0")
    assert logs.main([run_id, "--namespace", own_namespace.name]) == 0
    output = capsys.readouterr().out
    kubectl = f"kubectl -n {own_namespace.name} logs"
    assert output == (
        f"prep-data: Succeeded\n  reading 442 rows\n  {kubectl} {prepared} -c main\n"
        "train: Failed\n  reading 442 rows\n  failed with exit code 2: the source: aborted\n"
        f"  {kubectl} {trained} -c main\n"
        "evaluate: Failed\n  reading 442 rows\n  failed with exit code 1: unexpected error: "
        "ZeroDivisionError: division by zero; the log contains the traceback\n"
        f"  {kubectl} {evaluated} -c main\n"
    )
    assert logs.main([run_id, "train", "--namespace", own_namespace.name]) == 0
    assert evaluated not in capsys.readouterr().out
