"""Runs on Kubeflow Pipelines 2.17.0, recorded on 2026-11-29 without the fields that are not read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from continuous_training.kubeflow.api_objects import Run
from continuous_training.kubeflow.follow_run import steps_of
from continuous_training.kubeflow.in_pod_client import is_terminated, terminated_runs
from tests.fakes import web

RUNS: dict[str, Any] = json.loads(Path(__file__).with_name("runs.json").read_text(encoding="utf-8"))

ALL_SUCCEEDED = dict.fromkeys(
    ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify"), "SUCCEEDED"
)
"""The steps of a promoting run. Superseded attempts do not count: before a Retry, or in a deleted pod."""


@pytest.mark.parametrize(
    ("name", "state", "steps"),
    [
        ("unchanged", "SUCCEEDED", {"prep-data": "SUCCEEDED", "train": "SKIPPED", "notify": "SUCCEEDED"}),
        (
            "rejected",
            "SUCCEEDED",
            {
                "prep-data": "SUCCEEDED",
                "train": "SUCCEEDED",
                "evaluate": "SUCCEEDED",
                "archive": "SKIPPED",
                "notify": "SUCCEEDED",
            },
        ),
        ("retried", "SUCCEEDED", ALL_SUCCEEDED),
        ("deleted pod", "SUCCEEDED", ALL_SUCCEEDED),
        ("terminated", "FAILED", {"prep-data": "SUCCEEDED", "train": "FAILED", "notify": "FAILED"}),
    ],
)
def test_the_states_of_the_steps(name: str, state: str, steps: dict[str, str]) -> None:
    run = Run.from_json(RUNS[name])
    assert run.state == state
    assert {step: found.state for step, found in steps_of(run).items()} == steps
    assert run.terminated is (name == "terminated")


def test_the_terminated_run_is_listed_for_the_next_run_of_its_pipeline() -> None:
    terminated = RUNS["terminated"]
    next_run = {key: terminated[key] for key in ("experiment_id", "pipeline_version_reference")}
    rows = [{**next_run, "run_id": "next", "state": "RUNNING"}, RUNS["unchanged"], terminated]

    def answer(_: str, path: str) -> tuple[int, Any]:
        return (200, rows[0]) if path.endswith("/next") else (200, {"runs": rows})

    with web(answer) as api:
        assert [run.run_id for run in terminated_runs(api.url, "next")] == [terminated["run_id"]]
    with web(lambda *_: (200, terminated)) as api:
        assert is_terminated(api.url, terminated["run_id"])
