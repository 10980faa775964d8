"""Every command that another command recommends runs, and corrects what it is recommended for."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from pipelines import rollback, status

from . import champions
from .champions import NAME, ROOT, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "recommendations") as opened:
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
    commands = re.findall(r"^python -m .*$", "\n".join(errors), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        execute(command)
    assert state.served_digest() == state.digests[1]
