"""A local run that needs approval, from the raw data to the served version, with the commands of a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from continuous_training.core.exit_codes import WAITING
from continuous_training.serving.process import daemon
from pipelines import approve, history, reject, status
from pipelines.run import main

from .champions import HALF, NAME, run_command, run_json


def test_a_local_run_waits_for_approval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    location = ("--workload", NAME, "--state", str(state))
    try:
        run = (*HALF, "--state", str(state))
        first = ("--set", "approval=required", "--set", "features=bmi")
        waiting = run_json(main, capsys, *run, *first, expect=WAITING)
        assert (waiting["verdict"], waiting["version"], waiting["endpoint"]) == ("waiting", "1", None)
        assert waiting["approve"] == f"python -m pipelines.approve --workload {NAME} --state {state}"
        assert waiting["reasons"][0].startswith("the version waits for approval until ")

        again = run_json(main, capsys, *run, *first)
        assert again["verdict"] == "unchanged"
        assert f"waiting by run {waiting['run']}" in again["reasons"][0]

        (shown,) = run_json(status.main, capsys, *location)["workloads"]
        assert (shown["served"], shown["champion"], shown["agree"]) == (None, None, True)
        assert (shown["waiting"]["version"], shown["waiting"]["run"]) == ("1", waiting["run"])
        table, _ = run_command(status.main, capsys, *location)
        assert waiting["approve"] in table

        approved = run_json(approve.main, capsys, *location, "--why", "checked by hand")
        assert (approved["verdict"], approved["version"], approved["why"]) == (
            "promoted",
            "1",
            "checked by hand",
        )
        (shown,) = run_json(status.main, capsys, *location)["workloads"]
        assert "waiting" not in shown
        assert (shown["served"]["version"], shown["champion"]["by"]["who"]) == ("1", approved["by"])
        events = run_json(history.main, capsys, *location)["events"]
        (event,) = [event for event in events if event["run"] == waiting["run"]]
        assert (event["kind"], event["champion"]) == ("promoted", "1")
        assert f"approved by {approved['by']}: checked by hand" in event["why"]
        repeated, _ = run_command(approve.main, capsys, *location)
        assert "): nothing to do" in repeated

        second = run_json(main, capsys, *run, "--set", "approval=required", expect=WAITING)
        text, _ = run_command(reject.main, capsys, *location, "--why", "too early")
        assert f"version {second['version']} " in text
        assert "rejected by " in text
        events = run_json(history.main, capsys, *location)["events"]
        assert (events[-1]["kind"], events[-1]["run"], events[-1]["champion"]) == (
            "rejected",
            second["run"],
            "1",
        )
        record = json.loads((state / f"store/records/{NAME}/runs/{second['run']}.json").read_text())
        assert (record["approval"]["state"], record["approval"]["why"]) == ("rejected", "too early")
    finally:
        daemon.stop(state)
