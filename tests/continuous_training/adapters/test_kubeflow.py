"""The Kubeflow API, by what a real one said."""

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
    """A run's JSON as the API has it; a task that never started has no state."""
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
def test_the_steps_that_failed_are_named_in_their_order(body: Any, failed: list[str]) -> None:
    with web(lambda *_: (200, body)) as api:
        assert failed_tasks(f"{api.url}/", "r", NAMES) == failed
    assert api.requests[0][:2] == ("GET", "/apis/v2beta1/runs/r")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_an_api_that_does_not_tell_is_no_failure(status: int) -> None:
    with web(lambda *_: (status, {"message": "no"})) as api:
        assert failed_tasks(api.url, "r", NAMES) == []


def test_a_token_lets_it_in_and_a_lost_one_is_no_failure(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    with web(lambda *_: (200, run(("train", "FAILED")))) as api:
        assert failed_tasks(api.url, "r", NAMES, token) == ["train"]
        assert failed_tasks(api.url, "r", NAMES) == ["train"]
        assert api.authorizations == ["Bearer secret", None]
        token.unlink()
        assert failed_tasks(api.url, "r", NAMES, token) == []


def test_an_api_that_is_down_is_no_failure() -> None:
    assert failed_tasks(f"http://127.0.0.1:{free_port()}", "r", NAMES) == []


@pytest.mark.skipif(not RECORDED.exists(), reason="no ../shared/kfp-api/recorded.jsonl beside the checkout")
def test_the_answers_of_a_real_server_are_understood() -> None:
    answers: dict[str, list[tuple[int, Any]]] = {}
    for line in RECORDED.read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        path = said["request"]["path"]
        if said["request"]["method"] == "GET" and path.startswith("/apis/v2beta1/runs/"):
            answers.setdefault(path, []).append((said["response"]["status"], said["response"]["body"]))
    assert len(answers) >= 3
    for path, recorded in answers.items():
        run_id = path.rpartition("/")[2]
        for answer in recorded:
            with web(lambda *_, a=answer: a) as api:
                # None of the recorded runs had failed: one was pending, two were being ended.
                assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == []
            if answer[0] == 200 and "run_details" in answer[1]:
                details = answer[1]["run_details"]["task_details"]
                ended = [{**task, "state": "FAILED"} for task in details]
                body = {**answer[1], "run_details": {"task_details": ended}}
                with web(lambda *_, b=body: (200, b)) as api:
                    assert failed_tasks(api.url, run_id, [*NAMES, "root-driver"]) == ["root-driver"]
