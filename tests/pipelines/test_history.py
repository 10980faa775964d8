"""The command history: the events as a table and as a figure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.user import user_name
from continuous_training.evaluation.metrics import Interval
from continuous_training.operations.champion_history import ChampionHistory, ChampionMove
from continuous_training.operations.history_events import Event, list_events
from continuous_training.operations.history_plot import draw
from pipelines import rollback
from pipelines.history import main

from . import champions
from .champions import NAME, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.copy_state(tmp_path_factory, "history") as opened:
        assert rollback.main([*WORKLOAD, "--why", "to be drawn"]) == 0
        yield opened


def test_the_table_lists_promotions_rejections_and_rollbacks(state: ChampionState, capsys):
    out, _ = run_command(main, capsys, *WORKLOAD)
    lines = [line.split() for line in out.splitlines() if " UTC " in line]
    assert [line[3] for line in lines] == ["promoted", "promoted", "rejected", "promoted", "rollback"]
    assert [line[-1] for line in lines] == ["1", "2", "2", "3", "2"]
    low, high = re.search(r"R² 0\.481 +(\S+) to (\S+)", out).groups()
    assert 0.3 < float(low) < 0.481 < float(high) < 0.6
    assert f"to be drawn\n    by {user_name()}\n" in out
    events = run_json(main, capsys, *WORKLOAD)["events"]
    assert [event.get("by") for event in events] == [None] * 4 + [user_name()]


def test_the_figure_is_deterministic_and_labelled(state: ChampionState, capsys, tmp_path: Path):
    first, second = tmp_path / "one.svg", tmp_path / "two.svg"
    for path in (first, second):
        out, _ = run_command(main, capsys, *WORKLOAD, "--output", str(path))
        assert f"figure: {path}" in out
    assert first.read_bytes() == second.read_bytes()
    root = ElementTree.fromstring(first.read_text())  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "rejected" in root.attrib["aria-label"]
    text = "".join(root.itertext())
    for word in ("promoted", "rejected", "rollback", "champion", "R² on the holdout", "v3"):
        assert word in text


def test_every_kind_of_event_can_be_drawn():
    """Manual moves, a NaN, percentages, and more events than labels."""
    result = Interval(0.9, 0.8, float("nan"))
    kinds = ["promoted", "rejected", "failed", "rollback", "by hand"] * 8
    events = [
        Event(f"2026-01-{1 + at % 28:02d}T00:00:00+00:00", kind, f"r{at}", "1", result, "1", result, "")
        for at, kind in enumerate(kinds)
    ]
    events += [Event("", "by hand", "", None, None, None, None, "")]
    ElementTree.fromstring(draw("digits", "accuracy", events))  # noqa: S314


def test_moves_of_the_alias_replace_missing_records():
    moves = (
        ChampionMove("2026-01-02T00:00:00.5Z", None, "1", "promotion", "why", "run-1"),
        ChampionMove("2026-01-03T00:00:00.5Z", "1", "2", "promotion", "why", "run-2"),
        ChampionMove("2026-01-04T00:00:00.5Z", "2", "1", "rollback", "why", "back-1", "me"),
        ChampionMove("", "1", None, "by hand"),
    )
    metrics = {"r2": Interval(0.4, float("nan"), 0.5)}
    records = [
        RunRecord(run="run-2", ended="2026-01-03T00:00:01+00:00", verdict="promoted", version="2"),
        RunRecord(run="run-3", ended="2026-01-03T12:00:00+00:00", verdict="rejected", metrics=metrics),
        RunRecord(run="run-4", ended="2026-01-03T13:00:00+00:00", verdict="unchanged"),
        RunRecord(run="run-5", ended="2026-01-03T14:00:00+00:00", verdict="failed", reasons=("no disk",)),
        RunRecord(run="back-1", ended="2026-01-04T00:00:01+00:00", verdict="rolled back", version="1"),
    ]
    events = list_events(records, ChampionHistory(moves, ("1",), None), "r2")
    assert [(event.run, event.kind, event.champion) for event in events] == [
        ("run-1", "promoted", "1"),
        ("run-2", "promoted", "2"),
        ("run-3", "rejected", "2"),
        ("run-5", "failed", "2"),
        ("back-1", "rollback", "1"),
        ("", "by hand", None),
    ]


def test_the_figure_is_in_the_state_directory_by_default(state: ChampionState, capsys):
    result = run_json(main, capsys, *WORKLOAD)
    figure = state.folder / "history" / f"{NAME}.svg"
    assert result["figure"] == str(figure)
    assert "rollback" in figure.read_text()
    assert [event["champion"] for event in result["events"]] == ["1", "2", "2", "3", "2"]
    assert result["events"][0]["measured"]["value"] == pytest.approx(0.347, abs=1e-3)


def test_a_figure_of_another_format_is_refused(state: ChampionState, capsys, tmp_path: Path):
    _, error = run_command(main, capsys, *WORKLOAD, "--output", str(tmp_path / "line.png"), expect=2)
    assert "ends with .svg" in error


def test_without_an_evaluated_run_there_is_no_figure(tmp_path: Path, capsys):
    at = ("--state", str(tmp_path / "none"))
    out, _ = run_command(main, capsys, *WORKLOAD, *at)
    assert "no run of diabetes was evaluated yet" in out
    _, error = run_command(main, capsys, *WORKLOAD, *at, "--output", str(tmp_path / "line.svg"), expect=2)
    assert "no figure to draw" in error
    _, error = run_command(main, capsys, "--workload", "nothere", *at, expect=2)
    assert "registered are" in error
    assert not (tmp_path / "none").exists()


def test_history_as_a_process(state: ChampionState, tmp_path: Path):
    at = ("--state", str(state.folder), "--output", str(tmp_path / "line.svg"))
    assert "rollback" in champions.run_module("pipelines.history", *WORKLOAD, *at).stdout
    assert (tmp_path / "line.svg").is_file()
