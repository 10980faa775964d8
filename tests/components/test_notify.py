"""notify: says what a run came to, whatever it came to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.notify.__main__ import main
from components.notify.step import run
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.adapters.webhook import Notifier
from tests.fakes import free_port, web


@pytest.fixture
def records(store: FolderStore) -> RunHistory:
    return RunHistory(store, "fence")


@pytest.mark.parametrize(
    "record",
    [
        {
            "verdict": "promoted",
            "reasons": ["accuracy 0.99 is enough", "no champion yet"],
            "version": "1",
        },
        {"verdict": "rejected", "reasons": ["accuracy 0.5 does not reach the floor of 0.6"]},
        {"verdict": "unchanged", "reasons": ["data unchanged"], "judged_by": "run-0"},
    ],
    ids=lambda record: record["verdict"],
)
def test_what_the_steps_recorded_is_told_as_it_is(records: RunHistory, record: dict[str, Any]) -> None:
    records.write_run("run-1", record)
    before, said = records.run("run-1"), []
    with web(lambda *_: (200, b"ok")) as hook:
        told = run("fence", "run-1", records, Notifier(hook.url), progress=said.append)
    text = f"fence: {record['verdict']}. {'; '.join(record['reasons'])}"
    assert said == [text]
    assert told == before == records.run("run-1")
    ((_, _, body),) = hook.requests
    assert json.loads(body) == {"text": text, "run": {"workload": "fence", **told}}


def test_a_run_without_a_record_did_not_finish(records: RunHistory) -> None:
    told = run("fence", "run-1", records, Notifier(), progress=lambda _: None)
    assert (told["verdict"], told["reasons"]) == ("failed", ["the run did not finish; see its log"])
    kept = records.run("run-1")
    assert kept is not None
    assert (kept["verdict"], kept["run"]) == ("failed", "run-1")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            (200, [("prep-data", "SUCCEEDED"), ("train(0)", "FAILED")]),
            "failed in train;",
        ),
        ((200, [("prep-data", "SUCCEEDED")]), "did not finish;"),
        ((500, []), "did not finish;"),
    ],
)
def test_the_api_is_asked_which_step_failed(
    records: RunHistory, answer: tuple[int, list[tuple[str, str]]], reason: str
) -> None:
    status, tasks = answer
    details = [{"display_name": name, "state": state} for name, state in tasks]
    with web(lambda *_: (status, {"run_details": {"task_details": details}})) as api:
        told = run("fence", "run-1", records, Notifier(), api.url, progress=lambda _: None)
    assert reason in told["reasons"][0]
    assert api.requests[0][1] == "/apis/v2beta1/runs/run-1"


def test_a_run_that_came_to_something_asks_nobody(records: RunHistory) -> None:
    records.write_run("run-1", {"verdict": "promoted", "reasons": []})
    with web(lambda *_: (500, {})) as api:
        run("fence", "run-1", records, Notifier(), api.url, progress=lambda _: None)
    assert api.requests == []


def test_a_webhook_that_is_down_fails_nothing(
    records: RunHistory, capsys: pytest.CaptureFixture[str]
) -> None:
    webhook = Notifier(f"http://127.0.0.1:{free_port()}")
    assert run("fence", "run-1", records, webhook)["verdict"] == "failed"
    assert "warning: the webhook cannot be reached" in capsys.readouterr().err


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable in ("CT_STORE", "CT_KFP_API"):
        monkeypatch.setenv(variable, "nowhere at all")
    with web(lambda *_: (200, b"ok")) as hook:
        monkeypatch.setenv("CT_WEBHOOK", hook.url)
        assert main(["--workload", "fence", "--run-id", "run-1", "--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "fence: failed. the run did not finish; see its log\n"
    assert len(hook.requests) == 1
    assert RunHistory(FolderStore(tmp_path / "store"), "fence").run("run-1") is not None
