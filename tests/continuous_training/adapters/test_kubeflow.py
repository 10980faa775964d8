"""Read failed steps from the Kubeflow Pipelines API, with recorded responses of a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.kubeflow.in_pod_client import failed_tasks
from tests.fakes import free_port, web

RECORDED = Path(__file__).parents[4] / "shared" / "kfp-api" / "recorded.jsonl"
NAMES = ("prep-data", "train", "evaluate", "archive", "deploy-serving")


def run(*tasks: tuple[str, str | None]) -> dict[str, Any]:
    """Return the API's JSON of a run; a task that never started has no state."""
    details = [{"display_name": name, **({"state": state} if state else {})} for name, state in tasks]
    return {"run_id": "r", "state": "RUNNING", "run_details": {"task_details": details}}


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        (run(("prep-data", "SUCCEEDED"), ("train", "FAILED"), ("train", "SUCCEEDED")), ["train"]),
        (run(("train-driver", "FAILED"), ("condition-1", "FAILED"), ("prep-data", "SUCCEEDED")), []),
        (run(("train(0)", "FAILED"), ("train(1)", "FAILED"), ("exit-handler-1", "FAILED")), ["train"]),
        (run(("train(0)", "FAILED"), ("train", "SUCCEEDED"), ("train(1)", "SUCCEEDED")), []),
        (run(("train(9)", "FAILED"), ("train", "RUNNING"), ("train(10)", "FAILED")), ["train"]),
        (run(("evaluate", "FAILED"), ("prep-data", "FAILED")), ["prep-data", "evaluate"]),
        (run(("train", None), ("archive", "SKIPPED"), ("prep-data", "SUCCEEDED")), []),
        ({"run_id": "r", "state": "PENDING"}, []),
        ({"run_details": None}, []),
        ({"run_details": {"task_details": None}}, []),
        ([], []),
        (b"<html>", []),
    ],
)
def test_failed_steps_are_returned_in_pipeline_order(body: Any, failed: list[str]) -> None:
    with web(lambda *_: (200, body)) as api:
        assert failed_tasks(f"{api.url}/", "r", NAMES) == failed
    assert api.requests[0][:2] == ("GET", "/apis/v2beta1/runs/r")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_error_status_of_the_api_returns_no_steps(status: int) -> None:
    with web(lambda *_: (status, {"message": "no"})) as api:
        assert failed_tasks(api.url, "r", NAMES) == []


def test_the_token_is_sent_and_a_missing_token_file_returns_no_steps(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with web(lambda *_: (200, run(("train", "FAILED")))) as api:
        assert failed_tasks(api.url, "r", NAMES, token) == ["train"]
        assert failed_tasks(api.url, "r", NAMES) == ["train"]
        assert api.authorizations == ["Bearer secret", None]
        token.unlink()
        assert failed_tasks(api.url, "r", NAMES, token) == []


def test_an_unreachable_api_returns_no_steps() -> None:
    assert failed_tasks(f"http://127.0.0.1:{free_port()}", "r", NAMES) == []


@pytest.mark.skipif(not RECORDED.exists(), reason="no ../shared/kfp-api/recorded.jsonl next to the checkout")
def test_recorded_responses_of_a_real_server_are_parsed() -> None:
    answers: dict[str, list[tuple[int, Any]]] = {}
    for line in RECORDED.read_text(encoding="utf-8").splitlines():
        exchange = json.loads(line)
        path = exchange["request"]["path"]
        if exchange["request"]["method"] == "GET" and path.startswith("/apis/v2beta1/runs/"):
            answers.setdefault(path, []).append(
                (exchange["response"]["status"], exchange["response"]["body"])
            )
    assert len(answers) >= 3
    for path, recorded in answers.items():
        run_id = path.rpartition("/")[2]
        for answer in recorded:
            with web(lambda *_, a=answer: a) as api:
                # None of the recorded runs had failed: one was pending and two were terminating.
                assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == []
            if answer[0] == 200 and "run_details" in answer[1]:
                details = answer[1]["run_details"]["task_details"]
                failed = [{**task, "state": "FAILED"} for task in details]
                body = {**answer[1], "run_details": {"task_details": failed}}
                with web(lambda *_, b=body: (200, b)) as api:
                    assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == ["root-driver"]
