"""The API in a pod, with made-up responses and with recorded responses of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.kubeflow.in_pod_client import failed_tasks, is_terminated, terminated_runs
from tests.fakes import free_port, web

RECORDING = Path(__file__).parents[4] / "shared" / "kfp-api" / "recorded.jsonl"
NAMES = ("prep-data", "train", "evaluate", "archive", "deploy-serving")


def run_body(*tasks: tuple[str, str | None]) -> dict[str, Any]:
    """Return the JSON of a run. A task that never started has no state."""
    details = [{"display_name": name, **({"state": state} if state else {})} for name, state in tasks]
    return {"run_id": "r", "state": "RUNNING", "run_details": {"task_details": details}}


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (run_body(("prep-data", "SUCCEEDED"), ("train", "FAILED"), ("train", "SUCCEEDED")), ["train"]),
        (run_body(("train-driver", "FAILED"), ("condition-1", "FAILED"), ("prep-data", "SUCCEEDED")), []),
        (run_body(("train(0)", "FAILED"), ("train(1)", "FAILED"), ("exit-handler-1", "FAILED")), ["train"]),
        (run_body(("train(0)", "FAILED"), ("train", "SUCCEEDED"), ("train(1)", "SUCCEEDED")), []),
        (run_body(("train(9)", "FAILED"), ("train", "RUNNING"), ("train(10)", "FAILED")), ["train"]),
        (run_body(("evaluate", "FAILED"), ("prep-data", "FAILED")), ["prep-data", "evaluate"]),
        (run_body(("train", None), ("archive", "SKIPPED"), ("prep-data", "SUCCEEDED")), []),
        ({"run_id": "r", "state": "PENDING"}, []),
        ({"run_details": None}, []),
        ({"run_details": {"task_details": None}}, []),
        ([], []),
        (b"<html>", []),
    ],
)
def test_failed_tasks_are_returned_in_the_order_of_the_names(body: Any, failed: list[str]) -> None:
    with web(lambda *_: (200, body)) as api:
        assert failed_tasks(f"{api.url}/", "r", NAMES) == failed
    assert api.requests[0][:2] == ("GET", "/apis/v2beta1/runs/r")


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_an_error_status_returns_no_tasks(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with web(lambda *_: (status, {"message": "no"})) as api:
        assert failed_tasks(api.url, "r", NAMES) == []
        assert not is_terminated(api.url, "r")
    denied = f"· Kubeflow Pipelines denies this step to read runs ({status}): in a profile, manifests/"
    assert capsys.readouterr().err.count(denied) == (2 if status in (401, 403) else 0)


def test_a_denied_list_of_runs_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """A Role that grants only `get`: the run is readable, the list of the experiment is not."""
    run = {"run_id": "r", "experiment_id": "e", "pipeline_version_reference": {"pipeline_id": "p"}}

    def respond(_method: str, path: str, *_: Any) -> tuple[int, Any]:
        return (200, run) if path.startswith("/apis/v2beta1/runs/r") else (403, {"code": 7})

    with web(respond) as api:
        assert terminated_runs(api.url, "r") == []
    assert "denies this step to read runs (403)" in capsys.readouterr().err


def test_the_token_is_sent_and_a_missing_token_file_returns_no_tasks(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with web(lambda *_: (200, run_body(("train", "FAILED")))) as api:
        assert failed_tasks(api.url, "r", NAMES, token) == ["train"]
        assert failed_tasks(api.url, "r", NAMES) == ["train"]
        assert api.authorizations == ["Bearer secret", None]
        token.unlink()
        assert failed_tasks(api.url, "r", NAMES, token) == []


def test_an_unreachable_api_returns_no_tasks() -> None:
    assert failed_tasks(f"http://127.0.0.1:{free_port()}", "r", NAMES) == []


@pytest.mark.skipif(not RECORDING.exists(), reason="no recording in ../shared/kfp-api")
def test_recorded_responses_of_a_real_server() -> None:
    responses: dict[str, list[tuple[int, Any]]] = {}
    for line in RECORDING.read_text(encoding="utf-8").splitlines():
        exchange = json.loads(line)
        path = exchange["request"]["path"]
        if exchange["request"]["method"] == "GET" and path.startswith("/apis/v2beta1/runs/"):
            response = exchange["response"]
            responses.setdefault(path, []).append((response["status"], response["body"]))
    assert len(responses) >= 3
    for path, recorded in responses.items():
        run_id = path.rpartition("/")[2]
        for response in recorded:
            with web(lambda *_, recorded_response=response: recorded_response) as api:
                # None of the recorded runs had failed: one was pending, two were being terminated.
                assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == []
            if response[0] == 200 and "run_details" in response[1]:
                details = response[1]["run_details"]["task_details"]
                failed = [{**task, "state": "FAILED"} for task in details]
                body = {**response[1], "run_details": {"task_details": failed}}
                with web(lambda *_, failed_body=body: (200, failed_body)) as api:
                    assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == ["root-driver"]
