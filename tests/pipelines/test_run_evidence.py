"""The result of a run on a cluster without access to the store, from the logs of its pods."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.messages import RESULT
from pipelines import run
from tests.fakes import web, write_kubeconfig
from tests.kfp_server import KfpServer, kfp_server

from .test_cluster import FAILED, PROMOTED, UNCHANGED

RECORD = RunRecord(
    run="RUN",
    verdict="promoted",
    reasons=("R²: 0.48 instead of 0.41",),
    metrics={"r2": Interval(0.48, 0.36, 0.58)},
    version="7",
    digest="ab" * 32,
    endpoint="http://diabetes.kubeflow.svc/predict/diabetes",
)
LOG = f"I1129 launcher\n· promoted\n{RESULT}{json.dumps(RECORD.to_json())}\nI1129 exit\n"


@pytest.fixture
def kfp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KfpServer]:
    """A server, and the environment of a laptop without a store and a kubeconfig."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("CT_STORE", raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a-key-of-no-store")
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as server:
        server.outcome = PROMOTED
        yield server


@pytest.fixture
def follow(kfp: KfpServer, capsys: pytest.CaptureFixture[str]) -> Callable[[int], dict[str, object]]:
    """A function that follows a run to its end, and returns the JSON object of the command."""

    def follow(code: int) -> dict[str, object]:
        images = ("--registry", "registry.example/ct", "--no-preflight")
        workload = ("--target", "cluster", "--workload", "diabetes")
        assert run.main([*workload, "--host", kfp.url, *images, "--json"]) == code
        return dict(json.loads(capsys.readouterr().out))

    return follow


@pytest.mark.parametrize("store", ["", "s3://models?endpoint=127.0.0.1:9&secure=false"])
def test_the_result_is_read_through_the_api(
    store: str, kfp: KfpServer, follow: Callable[[int], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_STORE", store)
    kfp.logs = {"prep-data": "· reading\n", "notify": LOG}
    result = follow(0)
    (run_id,) = kfp.runs
    expected = RECORD.to_json() | {"run": run_id}
    assert {name: result[name] for name in expected} == expected


def test_the_result_is_read_from_kubernetes_if_the_api_has_no_logs(
    kfp: KfpServer,
    follow: Callable[[int], dict[str, object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = {"name": "notify-pod", "labels": {"continuous-training/step": "notify"}}
    metadata["creationTimestamp"] = "2026-11-29T10:00:00Z"
    pods = [{"metadata": metadata, "status": {"phase": "Succeeded"}}]

    def answer(_: str, path: str) -> tuple[int, object]:
        if path.startswith("/api/v1/namespaces/kubeflow/pods/notify-pod/log"):
            return 200, LOG.replace("RUN", next(iter(kfp.runs))).encode()
        return 200, {"metadata": {"resourceVersion": "1"}, "items": pods}

    with web(answer) as cluster:
        write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        result = follow(0)
    assert (result["version"], result["reasons"]) == ("7", list(RECORD.reasons))


@pytest.mark.parametrize(
    "log", ["· promoted\n", LOG.replace("RUN", "another-run"), f"{RESULT}{{}}\n", f"{RESULT}cut off"]
)
def test_without_a_result_in_the_log_the_verdict_is_that_of_the_executed_steps(
    log: str, kfp: KfpServer, follow: Callable[[int], dict[str, object]]
) -> None:
    kfp.logs, kfp.outcome = {"notify": log}, UNCHANGED
    result = follow(0)
    assert (result["verdict"], result["metrics"], result["version"]) == ("unchanged", {}, None)


@pytest.mark.parametrize("store", ["", "s3://models?endpoint=127.0.0.1:9&secure=false"])
def test_a_failed_step_is_explained_through_the_api(
    store: str, kfp: KfpServer, follow: Callable[[int], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CT_STORE", store)
    kfp.outcome = FAILED
    kfp.logs = {"train": '· reading\nstep failed: {"exit_code": 75, "error": "the source is away"}\n'}
    result = follow(75)
    assert result["verdict"] == "failed"
    (reason,) = result["reasons"]
    assert "train: the source is away; kubectl -n kubeflow logs digits-x1-train-0 -c main" in reason
