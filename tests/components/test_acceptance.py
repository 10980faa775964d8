"""A person accepts a challenger that the gate rejected: only what a run reported, and never below a floor."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Line, Make
from .test_population import champion, digits, evaluate, images

REASON = "the customers asked for it"
NOTE = "no earlier run reported this comparison; a further run with accept promotes the model"


@pytest.fixture
def tie(line: Line) -> dict[str, str]:
    """Return the parameters of a model that predicts exactly like the champion, which exists."""
    line.promote("first")
    return {"fence": "49.99"}


def test_a_challenger_is_accepted_after_a_run_rejected_it(line: Line, tie: dict[str, str]) -> None:
    unseen = evaluate(line, "run-2", **tie, accept=REASON)
    assert (unseen.verdict, unseen.accepted) == ("rejected", REASON), "no run has reported it before"
    assert unseen.reasons[-1] == f"accept: {NOTE}"
    assert not line.evaluate("run-2").promoted, "a repeated step decides like the first one"

    accepted = evaluate(line, "run-3", **tie, accept=REASON)
    assert accepted.verdict == "promoted"
    improvement, test = (reason for reason in accepted.reasons if reason.startswith("accepted"))
    prefix = f"accepted comparison: {REASON} ("
    assert improvement.startswith(f"{prefix}accuracy against champion 1 on the same rows: ")
    assert test.startswith(f"{prefix}McNemar's exact test: ")
    folder = line.folder / "run-3/evaluation"
    assert REASON in (folder / "report.html").read_text()
    assert f"comparison with the champion:** {REASON}" in (folder / "card.md").read_text()
    archived = line.archive("run-3")
    assert (archived.accepted, improvement in archived.reasons) == (REASON, True)


def test_without_the_parameter_the_challenger_is_rejected_again(line: Line, tie: dict[str, str]) -> None:
    assert evaluate(line, "run-2", **tie).verdict == "rejected"
    again = evaluate(line, "run-3", **tie)
    assert again.verdict == "rejected"
    assert not any(reason.startswith("accept") for reason in again.reasons)


def test_another_champion_is_another_comparison(line: Line, tie: dict[str, str]) -> None:
    worse = {"fence": "70"}
    assert evaluate(line, "run-2", **worse).verdict == "rejected"
    line.promote("run-3", **tie, gate_superiority="false", gate_margin="0.05", gate_rows="73")
    assert evaluate(line, "run-4", **worse, accept=REASON).verdict == "rejected"
    accepted = evaluate(line, "run-5", **worse, accept=REASON)
    assert accepted.champion is not None
    assert (accepted.verdict, accepted.champion.version) == ("promoted", "2")


def test_a_floor_cannot_be_accepted(line: Line) -> None:
    line.promote("first")
    first = evaluate(line, "run-2", fence="5", accept=REASON)
    assert not any(NOTE in reason for reason in first.reasons), "a further run would not accept it either"
    evaluation = evaluate(line, "run-3", fence="5", accept=REASON)
    assert evaluation.verdict == "rejected"
    assert evaluation.reasons[0].startswith("accuracy: ")
    assert any(reason.startswith(f"accepted comparison: {REASON} (") for reason in evaluation.reasons)


def test_data_are_accepted_before_the_comparison_on_them(line: Line, make: Make, tmp_path: Path) -> None:
    line.workload = make("digits")
    champion(line)
    today = {"source": digits(tmp_path, images(lambda pictures: 16 - pictures)), "gate_size_ratio": "0.01"}
    assert evaluate(line, "run-2", **today).verdict == "rejected"
    data = evaluate(line, "run-3", **today, accept=REASON)
    assert data.verdict == "rejected"
    assert data.reasons[0].startswith("model size against champion 1: ")
    assert any(reason.startswith(f"accepted data: {REASON} (") for reason in data.reasons)
    both = evaluate(line, "run-4", **today, accept=REASON)
    assert both.verdict == "promoted"
    notes = [reason.split(":")[0] for reason in both.reasons if reason.startswith("accepted")]
    assert notes == ["accepted comparison", "accepted data"]
