"""Damaged records and alias files in the store stop neither a run nor a rollback nor a read-only command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from pipelines import history, rollback, run, status

from . import champions
from .champions import HALF, NAME, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "damaged-store") as opened:
        yield opened


@pytest.fixture
def state(opened: ChampionState) -> Iterator[ChampionState]:
    """A state whose champion is version 3."""
    yield opened
    assert rollback.main([*WORKLOAD, "--to", "3"]) == 0


def empty_files(folder: Path) -> list[Path]:
    """Empty every file below a folder, as a power cut does. Return their paths."""
    files = [path for path in folder.rglob("*.json") if path.is_file()]
    assert files
    for path in files:
        path.write_bytes(b"")
    return files


def test_commands_continue_without_damaged_records(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    records = state.folder / "store/records" / NAME
    runs = empty_files(records / "runs")
    empty_files(records)
    for command in (status.main, history.main):
        _, error = run_command(command, capsys, *WORKLOAD)
        assert "Traceback" not in error
        assert all(path.name in error for path in runs)
    result = run_json(rollback.main, capsys, *WORKLOAD)
    assert (result["verdict"], result["to"]["version"]) == ("rolled back", "2")
    assert state.served_digest() == state.digests[1]
    empty_files(state.folder / "store/aliases" / NAME)
    run_command(run.main, capsys, *HALF, "--set", "features=age", expect=3)
    store = FolderStore(state.folder / "store")
    assert find(store, NAME).digest == state.digests[1] == state.served_digest()
    verdicts = [record.verdict for record in RunHistory(store, NAME, lambda _: None).runs()]
    assert verdicts == ["rolled back", "rejected"]


def test_a_rollback_replaces_damaged_alias_files(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FolderStore(state.folder / "store")
    empty_files(state.folder / "store/aliases" / NAME)
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "1")
    assert state.aliases[CHAMPION] == "1"
    assert find(store, NAME).digest == state.digests[0] == state.served_digest()


def test_a_damaged_evaluation_is_reported_by_status(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(rollback.main, capsys, *WORKLOAD, "--to", "2")
    (run_id,) = {v.run_id for v in state.registry.versions(NAME) if v.version == state.aliases[CHAMPION]}
    (evaluation,) = state.folder.glob(f"mlflow/artifacts/*/{run_id}/artifacts/evaluation.json")
    content = evaluation.read_bytes()
    evaluation.write_bytes(b"")
    try:
        out, error = run_command(status.main, capsys, *WORKLOAD)
    finally:
        evaluation.write_bytes(content)
    assert "endpoint and registry agree" in out
    assert "warning: the evaluation of version 2 of diabetes is unknown" in error


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def test_status_and_history_work_on_a_read_only_file_system(state: ChampionState) -> None:
    unshare = ("unshare", "-rm", "bash", "-c", READ_ONLY, "bash", str(state.folder))
    try:
        available = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        available = False
    if not available:
        pytest.skip("this system does not permit a mount in a user namespace")
    options = ("--state", str(state.folder), *WORKLOAD)
    for module in ("pipelines.status", "pipelines.history"):
        command = [*unshare, sys.executable, "-m", module, *options]
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=champions.ROOT, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "version 3" in done.stdout
    assert "the figure was not written" in done.stderr
