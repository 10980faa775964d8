"""After the clock is set back: rollback, history, status, trace and prune use the order of the moves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo

import pytest

from continuous_training.adapters import alias_history, run_history
from continuous_training.adapters.model_registry import CHAMPION, PREVIOUS
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core import run_id
from pipelines import history, prune, rollback, status, trace

from . import champions
from .champions import NAME, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)
BACK = timedelta(days=400)


class ClockSetBack(datetime):
    """The clock of a machine whose time was set back by more than a year."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz) - BACK


class StoppedClock(datetime):
    """A clock that always returns the same time, before all other times."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime(2020, 1, 1, tzinfo=tz)


def remove_positions(state: ChampionState) -> None:
    """Store the records as the former version did, without positions."""
    for move in state.registry.alias_history(NAME):
        value = {key: value for key, value in move.to_json().items() if key != "position"}
        tag = {"name": NAME, "key": f"moved.{move.time}", "value": json.dumps(value)}
        state.registry.post("registered-models/set-tag", tag)
    for path in (state.folder / "store" / "records" / NAME / "runs").glob("*.json"):
        record = json.loads(path.read_text())
        del record["position"], record["checksum"]
        path.write_text(json.dumps(record))


@pytest.fixture(
    params=[(ClockSetBack, False), (ClockSetBack, True), (StoppedClock, False)],
    ids=["set back", "set back after the former version", "stopped"],
)
def state(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChampionState]:
    """Three champions. The clock is set back afterwards."""
    clock, is_former = request.param
    with champions.copy_state(tmp_path_factory, "clock") as opened:
        if is_former:
            remove_positions(opened)
        for module in (alias_history, run_history, run_id):
            monkeypatch.setattr(module, "datetime", clock)
        yield opened


def kinds(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str]]:
    events = run_json(history.main, capsys, *WORKLOAD)["events"]
    return [(event["kind"], event["champion"]) for event in events]


def test_rollbacks_after_the_clock_was_set_back(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three = state.digests
    promoted = [("promoted", "1"), ("promoted", "2"), ("rejected", "2"), ("promoted", "3")]
    first = run_json(rollback.main, capsys, *WORKLOAD)
    assert (first["verdict"], first["to"]["version"]) == ("rolled back", "2")
    assert (state.served_digest(), state.aliases) == (two, {CHAMPION: "2", PREVIOUS: "1"})
    assert kinds(capsys) == [*promoted, ("rollback", "2")]

    second = run_json(rollback.main, capsys, *WORKLOAD)
    assert (second["verdict"], second["to"]["version"]) == ("rolled back", "1")
    assert (state.served_digest(), state.aliases) == (one, {CHAMPION: "1"})
    _, error = run_command(rollback.main, capsys, *WORKLOAD, expect=2)
    assert "has no champion before version 1" in error

    assert run_json(rollback.main, capsys, *WORKLOAD, "--to", "3")["verdict"] == "rolled back"
    assert state.served_digest() == three
    assert kinds(capsys) == [*promoted, ("rollback", "2"), ("rollback", "1"), ("rollback", "3")]

    (row,) = run_json(status.main, capsys, *WORKLOAD)["workloads"]
    assert (row["agree"], row["champion"]["by"]["kind"]) == (True, "rollback")
    assert row["champion"]["since"] < "2026"
    assert [run["verdict"] for run in row["runs"]] == ["rolled back"] * 3 + ["promoted", "rejected"]
    moves = run_json(trace.main, capsys, three[:12])["champion"]
    assert [(move["kind"], move["became"]) for move in moves] == [
        ("promotion", True),
        ("rollback", False),
        ("rollback", True),
    ]


def test_prune_after_the_clock_was_set_back(state: ChampionState, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder of the latest run has a name that is before all other names."""
    records = RunHistory(open_store(str(state.folder / "store")), NAME)
    newest = state.folder / "runs" / run_id.new_run_id(NAME)
    newest.mkdir()
    records.write_run(RunRecord(run=newest.name, verdict="rejected"))
    folders = sorted(path.name for path in newest.parent.iterdir())
    assert folders[0] == newest.name
    run_command(prune.main, capsys, "--keep", "1")
    assert newest.is_dir()
    assert len(list(newest.parent.iterdir())) < len(folders)
