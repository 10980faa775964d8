"""Every command that another command recommends runs, and corrects what it is recommended for."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import TransientError, UnsettledError
from continuous_training.core.file_lock import hold_lock
from continuous_training.core.settings import Settings
from continuous_training.operations import rollback as operations_rollback
from continuous_training.operations import settle
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from pipelines import rollback, run, status
from tests.recommended_commands import commands

from . import champions
from .champions import HALF, NAME, ROOT, ChampionState, run_command, run_json, run_module

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "recommendations", run_server=True) as opened:
        yield opened


@pytest.fixture
def state(opened: ChampionState) -> Iterator[ChampionState]:
    """A state that serves its champion, version 3."""
    daemon.start(opened.folder)
    yield opened
    opened.registry.move_alias(NAME, CHAMPION, "3", "a test ends", "test")
    assert rollback.main([*WORKLOAD, "--to", "3"]) == 0


def execute(command: str) -> None:
    """Run a recommended command, in a shell's words."""
    program, *arguments = shlex.split(command)
    assert program == "python"
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return the status of the workload."""
    workload: dict[str, Any] = run_json(status.main, capsys, *WORKLOAD)["workloads"][0]
    return workload


def stop_the_server(state: ChampionState) -> None:
    daemon.stop(state.folder)


def serve_another_version(state: ChampionState) -> None:
    target, digest = LocalTarget(state.folder), state.digests[0]
    target.begin_trial(NAME, state.archive(1), digest)
    target.confirm(NAME, digest)


def remove_the_alias(state: ChampionState) -> None:
    state.registry.remove_alias(NAME, CHAMPION)


@pytest.mark.parametrize("problem", [stop_the_server, serve_another_version, remove_the_alias])
def test_the_remedy_of_status_corrects_the_problem(
    state: ChampionState, capsys: pytest.CaptureFixture[str], problem: Any
) -> None:
    problem(state)
    before = read(capsys)
    assert before["trouble"]
    execute(before["mend"])
    after = read(capsys)
    assert (after["agree"], after["trouble"], after["mend"]) == (True, None, None)
    assert after["served"]["digest"] == after["champion"]["digest"]


def test_status_recommends_no_run_if_the_registry_is_lost(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{state.folder}/lost/mlflow.db")
    result = read(capsys)
    assert (result["agree"], result["mend"]) == (False, None)
    assert "run by-another-note promoted a version that the registry does not contain" in result["trouble"]


def test_the_commands_in_errors_of_a_rollback_run(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "1")
    errors = [
        run_command(rollback.main, capsys, *arguments, expect=2)[1]
        for arguments in (WORKLOAD, (*WORKLOAD, "--to", "9"))
    ]
    serve_another_version(state)
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")
    serve_another_version(state)
    errors.append(run_command(rollback.main, capsys, *WORKLOAD, expect=2)[1])
    recommended = commands("\n".join(errors))
    assert len(recommended) == 2
    for command in recommended:
        execute(command)
    assert state.served_digest() == state.digests[1]


def test_the_command_in_the_message_about_the_lock_runs_while_it_is_held(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold_lock(state.folder / "rollouts" / f"{NAME}.lock", 0) as acquired:
        assert acquired
        error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2", expect=75)[1]
        assert "is in progress" in error
        (command,) = commands(error)
        execute(command)
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")
    assert state.served_digest() == state.digests[1]


def fail(*_: object) -> None:
    raise TransientError("the store does not answer")


def test_the_command_that_completes_a_rollback_runs(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations_rollback, "mirror_aliases", fail)
    error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2", expect=75)[1]
    assert "To complete the rollback" in error
    (command,) = commands(error)
    execute(command)
    assert read(capsys)["agree"] is True
    assert (state.served_digest(), state.aliases[CHAMPION]) == (state.digests[1], "2")
    alias = json.loads((state.folder / "store" / "aliases" / NAME / "champion.json").read_text())
    assert alias["digest"] == state.digests[1]


def test_the_commands_after_a_trial_that_did_not_end_run(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "confirm", fail)
    error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2", expect=6)[1]
    recommended = commands(error)
    assert [shlex.split(command)[2] for command in recommended] == ["pipelines.status", "pipelines.rollback"]
    for command in recommended:
        execute(command)
    workload = read(capsys)
    assert (workload["agree"], workload["served"]["phase"]) == (True, "serving")
    assert state.served_digest() == state.digests[1]


def test_the_command_after_another_version_became_champion_runs(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    roll_out = operations_rollback.roll_out

    def overtaken(*arguments: Any) -> None:
        state.registry.move_alias(NAME, CHAMPION, "1", "a test", "test")
        roll_out(*arguments)

    monkeypatch.setattr(operations_rollback, "roll_out", overtaken)
    error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2", expect=75)[1]
    assert "the champion of diabetes is now version 1" in error
    (command,) = commands(error)
    execute(command)


def test_the_commands_after_an_interrupt_run(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(operations_rollback, "roll_out", interrupt)
        error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2", expect=130)[1]
    assert "Run the same command again to complete it" in error
    (command,) = commands(error)
    execute(command)
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")
    assert state.served_digest() == state.digests[1]


def test_the_same_command_records_a_rollback_whose_record_failed(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    history = RunHistory(open_store(str(state.folder / "store")), NAME)
    before = len(history.runs())
    with monkeypatch.context() as patch:
        patch.setattr(operations_rollback, "record_rollback", fail)
        error = run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")[1]
    assert "Run the same command again to record it" in error
    assert len(history.runs()) == before
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")
    assert [record.verdict for record in history.runs()[before:]] == ["rolled back"]


def test_the_command_in_the_error_of_a_run_that_cannot_serve_the_champion_runs(
    state: ChampionState, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_another_version(state)
    monkeypatch.setattr(settle, "roll_out", fail)
    settings = Settings.from_environment({"MLFLOW_TRACKING_URI": state.registry.uri}, state.folder)
    with pytest.raises(UnsettledError) as error:
        settle.settle(NAME, settings, "test", lambda _: None)
    (command,) = commands(str(error.value))
    execute(command)
    assert state.served_digest() == state.digests[2]


def test_the_command_in_the_error_of_a_run_without_champion_corrects_the_problem(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    remove_the_alias(state)
    error = run_command(run.main, capsys, *HALF, "--set", "force=true", expect=6)[1]
    assert "To make version 3 the champion again" in error
    (command,) = set(commands(error))
    execute(command)
    assert (read(capsys)["agree"], state.aliases[CHAMPION]) == (True, "3")


def test_the_command_to_prepare_the_data_again_runs(tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    run_module("components.prep_data", *WORKLOAD, "--output", str(data))
    train = ("components.train", *WORKLOAD, "--data", str(data), "--output", str(model))
    error = run_module(*train, "--set", "test_size=0.5", expect=2).stderr
    execute(error.partition("prepare it again: ")[2].strip())
    assert Dataset.open(data).manifest.parameters["test_size"] == 0.5
