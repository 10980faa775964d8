"""A version that needs approval: it waits, and a person approves or rejects it with the commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from components.deploy_serving import reevaluate, review
from components.deploy_serving import step as deploy_serving
from components.prep_data.__main__ import unchanged_record
from components.prep_data.earlier_run import find_earlier_run
from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, Registry
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.exit_codes import DONE, REJECTED, REVERTED, USER_ERROR, WAITING, exit_code_of
from continuous_training.core.user import user_name
from continuous_training.operations.approvals import read_approvals, write_approval
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from pipelines import approve, prune, reject, status
from tests.fakes import free_port

from .conftest import Line
from .test_deploy_serving import archive_wrong_golden

STARTER = "the-starter"
Main = Callable[[list[str]], int]


@dataclass
class Approvals:
    """The steps of a workload, and the commands on the same state directory."""

    line: Line
    state: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def name(self) -> str:
        return self.line.workload.name

    @property
    def history(self) -> RunHistory:
        return RunHistory(self.line.store, self.name)

    def deploy(self, run: str, starter: str = STARTER) -> deploy_serving.DeployedModel:
        folder = self.line.folder / run
        arguments = (folder / "archive", folder / "deployed.json", self.line.registry, self.line.store)
        return deploy_serving.run(*arguments, LocalTarget(self.state), print, folder / "data", starter)

    def promote(self, run: str, **parameters: str) -> deploy_serving.DeployedModel:
        """Run all steps without approval."""
        self.line.up_to_archive(run, **parameters)
        return self.deploy(run)

    def wait(self, run: str, starter: str = STARTER, **parameters: str) -> deploy_serving.DeployedModel:
        """Run all steps with approval."""
        self.line.up_to_archive(run, approval="required", **parameters)
        deployed = self.deploy(run, starter)
        assert deployed.verdict == "waiting"
        return deployed

    def command(self, main: Main, *arguments: str, expect: int = DONE) -> dict[str, Any]:
        """Run a command with --json, and return the object that it prints."""
        self.capsys.readouterr()
        code = main(["--workload", self.name, *arguments, "--json"])
        output = self.capsys.readouterr()
        assert code == expect, output.err
        result: dict[str, Any] = json.loads(output.out)
        return result

    def error(self, main: Main, *arguments: str) -> str:
        """Run a command that ends with a user error, and return its message."""
        return str(self.command(main, *arguments, expect=USER_ERROR)["reasons"][0])

    def alias(self, alias: str) -> str | None:
        version = self.line.registry.aliased(self.name, alias)
        return version and version.version

    def served(self) -> str | None:
        return LocalTarget(self.state).served_digest(self.name)

    def record(self, run: str) -> RunRecord:
        record = self.history.run(run)
        assert record is not None
        return record

    def approval(self, run: str) -> Approval:
        approvals = read_approvals(self.line.registry, self.name)
        return next(entry.approval for entry in approvals if entry.approval.run == run)

    def expire(self) -> None:
        """Let the time of the version that waits expire."""
        entry = read_approvals(self.line.registry, self.name)[-1]
        past = (datetime.now(UTC) - timedelta(minutes=1)).isoformat(timespec="seconds")
        write_approval(self.line.registry, entry.version, replace(entry.approval, until=past))

    def waiting(self) -> dict[str, Any] | None:
        """Return the version that waits, as the command status shows it."""
        (workload,) = self.command(status.main)["workloads"]
        waiting: dict[str, Any] | None = workload.get("waiting")
        return waiting


@pytest.fixture
def approvals(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Approvals]:
    state = tmp_path / "state"
    monkeypatch.setattr(reevaluate.discovery, "get", lambda _: line.workload)
    monkeypatch.setenv("CT_STATE", str(state))
    monkeypatch.setenv("CT_STORE", str(line.store.root))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", line.registry.uri)
    monkeypatch.delenv("CT_APPROVAL_BY_OTHERS", raising=False)
    daemon.start(state, free_port())
    yield Approvals(line, state, capsys)
    daemon.stop(state)


def test_a_version_waits_until_a_person_approves_it(approvals: Approvals) -> None:
    deployed = approvals.wait("run-1", approval_days="3")
    assert (deployed.version, deployed.digest, deployed.endpoint) == ("", "", "")
    assert json.loads((approvals.line.folder / "run-1/deployed.json").read_text())["waiting"] is True
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER), approvals.served()) == (None, "1", None)
    record, approval = approvals.record("run-1"), approvals.approval("run-1")
    assert (record.verdict, record.version, record.endpoint) == ("waiting", "1", None)
    assert exit_code_of(record.verdict) == WAITING == 5
    assert record.approval == approval
    assert record.reasons[0].startswith("the version waits for approval until ")
    assert approval.starter == STARTER
    since, until = map(datetime.fromisoformat, (approval.since, approval.until))
    assert until - since == timedelta(days=3)
    waiting = approvals.waiting()
    assert waiting is not None
    assert (waiting["version"], waiting["run"], waiting["started_by"]) == ("1", "run-1", STARTER)
    assert (waiting["since"], waiting["until"], waiting["expired"]) == (approval.since, approval.until, False)
    assert waiting["command"] == f"python -m pipelines.approve --workload {approvals.name}"

    result = approvals.command(approve.main, "--why", "the errors are in rare cases")
    assert (result["verdict"], result["version"], result["run"]) == ("promoted", "1", "run-1")
    assert (result["by"], result["why"]) == (user_name(), "the errors are in rare cases")
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == ("1", None)
    assert approvals.served() == result["digest"] == record.digest
    decided = approvals.record("run-1")
    assert (decided.verdict, decided.endpoint) == ("promoted", result["endpoint"])
    assert decided.reasons == (
        f"approved by {user_name()}: the errors are in rare cases",
        *record.reasons[1:],
    )
    assert decided.approval == approvals.approval("run-1")
    assert decided.metrics == record.metrics
    processed = approvals.history.find_processed(str(decided.input_digest))
    assert processed is not None
    assert (processed.record.verdict, processed.record.version) == ("promoted", "1")
    (move,) = [m for m in approvals.line.registry.alias_history(approvals.name) if m.alias == CHAMPION]
    assert (move.user, move.kind, move.run) == (user_name(), "", "run-1")
    assert approvals.line.store.keys("approvals") == []
    assert approvals.waiting() is None

    repeated = approvals.command(approve.main)
    assert (repeated["verdict"], repeated["version"]) == (review.UNCHANGED, "1")
    assert approvals.record("run-1") == decided
    assert "pipelines.rollback" in approvals.error(reject.main)


def test_a_rejected_version_is_never_served(approvals: Approvals) -> None:
    first = approvals.promote("run-1", fence="70")
    waiting = approvals.wait("run-2")
    assert (waiting.version, waiting.endpoint) == ("1", first.endpoint)
    result = approvals.command(reject.main, "--why", "the slice of new shops is missing")
    assert (result["verdict"], result["version"], result["by"]) == ("rejected", "2", user_name())
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == ("1", None)
    assert approvals.served() == first.digest
    record = approvals.record("run-2")
    assert record.verdict == "rejected"
    assert record.reasons[0] == f"rejected by {user_name()}: the slice of new shops is missing"
    assert record.approval == approvals.approval("run-2")
    assert approvals.line.store.keys("approvals") == []
    repeated = approvals.command(reject.main, "--why", "another reason")
    assert (repeated["verdict"], repeated["why"]) == (review.UNCHANGED, "the slice of new shops is missing")
    assert approvals.record("run-2") == record
    assert "rejected by" in approvals.error(approve.main)
    assert approvals.alias(CHAMPION) == "1"


@pytest.mark.parametrize("main", [approve.main, reject.main])
def test_without_a_version_that_waits_the_command_is_an_error(approvals: Approvals, main: Main) -> None:
    approvals.promote("run-1")
    assert f"no version of {approvals.name} waits for approval" in approvals.error(main)
    assert approvals.alias(CHAMPION) == "1"


@pytest.mark.parametrize(("other_fence", "promoted"), [("60", True), ("50", False)])
def test_a_version_is_evaluated_again_if_the_champion_has_changed(
    approvals: Approvals, other_fence: str, promoted: bool
) -> None:
    other = approvals.line.up_to_archive("run-1", fence=other_fence)
    approvals.wait("run-2", fence="49.99")
    version = approvals.line.registry.find(approvals.name, other.digest)
    assert version is not None
    approvals.line.registry.promote(version, None, "moved by hand", "no run")
    result = approvals.command(approve.main, expect=DONE if promoted else REJECTED)
    assert result["verdict"] == ("promoted" if promoted else "rejected")
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == ("2" if promoted else "1", None)
    assert approvals.served() == (result["digest"] if promoted else None)
    record = approvals.record("run-2")
    assert record.verdict == result["verdict"]
    assert record.champion is not None
    assert record.champion.version == "1"
    assert any("against champion 1 on the same rows" in reason for reason in record.reasons)
    assert record.reasons[-1] == "evaluated again: the first evaluation was against no champion"
    assert approvals.approval("run-2").state == ("approved" if promoted else "rejected")


def test_a_version_without_its_holdout_is_not_evaluated_again(approvals: Approvals) -> None:
    other = approvals.line.up_to_archive("run-1", fence="60")
    approvals.wait("run-2")
    version = approvals.line.registry.find(approvals.name, other.digest)
    assert version is not None
    approvals.line.registry.promote(version, None, "moved by hand", "no run")
    approvals.line.store.delete(f"approvals/{approvals.name}/run-2/dataset.json")
    assert "pipelines.run --workload" in approvals.error(approve.main)
    assert approvals.alias(CHAMPION) == "1"


def test_an_expired_version_cannot_be_approved(approvals: Approvals) -> None:
    first = approvals.promote("run-1", fence="70")
    approvals.wait("run-2")
    approvals.expire()
    message = approvals.error(approve.main)
    assert f"python -m pipelines.run --workload {approvals.name}" in message
    assert (approvals.alias(CHAMPION), approvals.served()) == ("1", first.digest)
    waiting = approvals.waiting()
    assert waiting is not None
    assert (waiting["version"], waiting["expired"]) == ("2", True)
    assert waiting["command"] == f"python -m pipelines.run --workload {approvals.name}"
    assert approvals.command(reject.main)["verdict"] == "rejected"


def test_the_inputs_of_an_expired_version_are_new(approvals: Approvals) -> None:
    approvals.wait("run-1")
    record, workload = approvals.record("run-1"), approvals.line.workload
    inputs = Dataset.open(approvals.line.folder / "run-1/data").manifest.inputs
    assert inputs is not None
    assert inputs.digest == record.input_digest, "approval is no input of the training"

    def earlier() -> Any:
        return find_earlier_run(approvals.history, workload, workload.parse({}), inputs)

    assert earlier().record == replace(record, ended="")
    unchanged = unchanged_record("run-2", earlier().record)
    assert "(waiting by run run-1)" in unchanged.reasons[0]
    assert record.approval is not None
    past = replace(record.approval, until="2025-01-01T00:00:00+00:00")
    processed = approvals.history.find_processed(inputs.digest)
    assert processed is not None
    expired = replace(processed, record=replace(record, approval=past))
    approvals.history.record_processed(inputs.digest, expired)
    assert earlier().record is None
    assert earlier().reasons == ("the version of run run-1 no longer waits for approval",)


@pytest.mark.parametrize("approval", ["required", ""])
def test_a_later_run_replaces_the_version_that_waits(approvals: Approvals, approval: str) -> None:
    approvals.wait("run-1", fence="70")
    approvals.line.up_to_archive("run-2", approval=approval)
    assert approvals.deploy("run-2").verdict == ("waiting" if approval else "promoted")
    replaced = approvals.approval("run-1")
    assert (replaced.state, replaced.user) == ("replaced", "run run-2")
    record = approvals.record("run-1")
    assert (record.verdict, record.approval) == ("waiting", replaced)
    assert record.reasons[0] == "replaced by run run-2: version 2"
    stored = approvals.line.store.keys("approvals")
    assert all("/run-2/" in key for key in stored)
    assert bool(stored) is bool(approval)
    if approval:
        assert approvals.command(approve.main)["version"] == "2"
    else:
        assert "replaced by run run-2" in approvals.error(approve.main)
    assert approvals.alias(CHAMPION) == "2"


def test_the_repeated_step_keeps_the_time_and_the_decision(approvals: Approvals) -> None:
    first = approvals.wait("run-1")
    approval = approvals.approval("run-1")
    assert approvals.deploy("run-1", starter="someone-else") == first
    assert approvals.approval("run-1") == approval
    approvals.command(reject.main)
    assert approvals.deploy("run-1").verdict == "rejected"
    assert approvals.approval("run-1").state == "rejected"
    assert approvals.alias(CHAMPION) is None


def test_the_starter_of_a_run_cannot_approve_its_version(
    approvals: Approvals, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals.wait("run-1", starter=user_name())
    monkeypatch.setenv("CT_APPROVAL_BY_OTHERS", "true")
    message = approvals.error(approve.main)
    assert "CT_APPROVAL_BY_OTHERS" in message
    assert user_name() in message
    assert approvals.alias(CHAMPION) is None
    monkeypatch.setenv("CT_APPROVAL_BY_OTHERS", "yes")
    assert "must be true or false" in approvals.error(approve.main)
    monkeypatch.setenv("CT_APPROVAL_BY_OTHERS", "false")
    assert approvals.command(approve.main)["verdict"] == "promoted"


def test_another_person_can_approve_the_version(
    approvals: Approvals, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals.wait("run-1", starter="the-starter")
    monkeypatch.setenv("CT_APPROVAL_BY_OTHERS", "true")
    assert approvals.command(approve.main)["verdict"] == "promoted"


class Killed(BaseException):
    """The end of a process at some statement."""


def kill(*_: object, **__: object) -> None:
    raise Killed


@pytest.mark.parametrize(
    ("owner", "function", "champion"),
    [
        (review, "roll_out_version", None),
        # promote() removes the alias challenger, and then moves the alias champion.
        (Registry, "move_alias", None),
        (review, "record_result", "1"),
        (review, "write_approval", "1"),
        (review, "remove_holdout", "1"),
    ],
)
def test_a_repeated_command_completes_an_interrupted_approval(
    approvals: Approvals,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    function: str,
    champion: str | None,
) -> None:
    approvals.wait("run-1")

    with monkeypatch.context() as patch:
        patch.setattr(owner, function, kill)
        with pytest.raises(Killed):
            approve.main(["--workload", approvals.name])
    assert approvals.alias(CHAMPION) == champion
    decided = function == "remove_holdout"
    result = approvals.command(approve.main)
    assert result["verdict"] == (review.UNCHANGED if decided else "promoted")
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == ("1", None)
    assert approvals.served() == result["digest"]
    assert approvals.record("run-1").verdict == "promoted"
    assert approvals.approval("run-1").state == "approved"
    assert approvals.line.store.keys("approvals") == []


@pytest.mark.parametrize("function", ["record_result", "write_approval", "remove_holdout"])
def test_a_repeated_command_completes_an_interrupted_rejection(
    approvals: Approvals, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    approvals.wait("run-1")

    with monkeypatch.context() as patch:
        patch.setattr(review, function, kill)
        with pytest.raises(Killed):
            reject.main(["--workload", approvals.name])
    approvals.command(reject.main)
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == (None, None)
    assert approvals.record("run-1").verdict == "rejected"
    assert approvals.approval("run-1").state == "rejected"
    assert approvals.line.store.keys("approvals") == []


def test_a_version_whose_rollout_fails_continues_to_wait(approvals: Approvals) -> None:
    first = approvals.promote("run-1", fence="70")
    archive_wrong_golden(approvals.line, "run-2", approval="required")
    approvals.deploy("run-2")
    result = approvals.command(approve.main, expect=REVERTED)
    assert result["verdict"] == "reverted"
    assert (approvals.alias(CHAMPION), approvals.alias(CHALLENGER)) == ("1", "2")
    assert approvals.served() == first.digest
    waiting = approvals.waiting()
    assert waiting is not None
    assert waiting["version"] == "2"
    assert approvals.command(reject.main)["verdict"] == "rejected"


def test_prune_keeps_a_version_that_waits(approvals: Approvals) -> None:
    """An interrupted approval may have removed the alias, which also protects a version."""
    approvals.promote("run-1", fence="70")
    approvals.wait("run-2", fence="60")
    approvals.line.registry.remove_alias(approvals.name, CHALLENGER)
    for run, fence in (("run-3", "55"), ("run-4", "52")):
        approvals.line.up_to_archive(run, fence=fence)
    removed = approvals.command(prune.main, "--keep", "1")["removed"]
    assert [item["version"] for item in removed] == ["3"]
    approvals.expire()
    removed = approvals.command(prune.main, "--keep", "1")["removed"]
    assert [item["version"] for item in removed] == ["2"]


def test_a_record_that_is_lost_leads_to_a_new_run(approvals: Approvals) -> None:
    approvals.wait("run-1")
    approvals.line.store.delete(f"records/{approvals.name}/runs/run-1.json")
    assert "--set force=true" in approvals.error(approve.main)
    assert approvals.alias(CHAMPION) is None
