"""A run ends with an endpoint that serves the registry's champion, or with exit code 6.

An earlier process was killed between the move of the alias and the end of the trial.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from continuous_training.adapters.model_registry import CHAMPION
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import open_store
from continuous_training.core.digest import digest_file
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.models.model_status import ON_TRIAL, SERVING
from pipelines import rollback, run, status

from . import champions
from .champions import HALF, NAME, ROOT, ChampionState, run_json

KILLED_ROLLOUT = """
import os, signal, sys
from pathlib import Path
from continuous_training.adapters.model_registry import Registry
from continuous_training.rollout import local
from continuous_training.rollout.engine import roll_out

folder, uri, trial_seconds, name, archive, digest, expected = sys.argv[1:]
local.TRIAL_SECONDS = float(trial_seconds)
registry = Registry(uri)

def move_alias_and_die():
    registry.promote(registry.find(name, digest), expected, "the process dies", "killed")
    os.kill(os.getpid(), signal.SIGKILL)

target = local.LocalTarget(Path(folder))
with target.rollout_lock(name, print):
    roll_out(target, name, Path(archive), digest, move_alias_and_die, print)
"""

UNCHANGED = HALF
REJECTED = (*HALF, "--set", "features=age", "--set", "force=true")
FAILED = (*HALF, "--set", "source=/does/not/exist.csv")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChampionState]:
    with champions.copy_state(tmp_path_factory, "settle", run_server=True) as opened:
        yield opened


@pytest.fixture
def state(opened: ChampionState) -> Iterator[ChampionState]:
    """A state whose endpoint serves the champion, version 3."""
    yield opened
    assert rollback.main(["--workload", NAME, "--to", "3"]) == 0


def kill_rollout(state: ChampionState, phase: str) -> str:
    """Kill a rollout after the alias has moved. Return the digest of the champion.

    The version is still on trial, or the server has reverted it: `phase` is ON_TRIAL or SERVING.
    """
    registry = state.registry
    version = champions.add_another(state.folder, registry, f"killed-{time.time_ns()}")
    trial_seconds = "60" if phase == ON_TRIAL else "1"
    archive = str(state.folder / "store" / version.archive)
    arguments = (str(state.folder), registry.uri, trial_seconds, NAME, archive, version.digest)
    command = [sys.executable, "-c", KILLED_ROLLOUT, *arguments, state.aliases[CHAMPION]]
    process = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert state.aliases[CHAMPION] == version.version
    end = time.monotonic() + 60
    while phase_of(state) != phase:
        assert time.monotonic() < end
        time.sleep(0.1)
    return version.digest


def phase_of(state: ChampionState) -> str | None:
    models = LocalTarget(state.folder).endpoint.models()
    return next(model.phase for model in models if model.name == NAME)


def assert_champion_is_served(state: ChampionState, digest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (state.served_digest(), phase_of(state)) == (digest, SERVING)
    (row,) = run_json(status.main, capsys, "--workload", NAME)["workloads"]
    assert (row["agree"], row["champion"]["digest"]) == (True, digest)
    assert find(open_store(str(state.folder / "store")), NAME).digest == digest


@pytest.mark.parametrize("phase", [SERVING, ON_TRIAL])
@pytest.mark.parametrize(
    ("arguments", "verdict", "code"),
    [(UNCHANGED, "unchanged", 0), (REJECTED, "rejected", 3), (FAILED, "failed", 2)],
    ids=["unchanged", "rejected", "failed"],
)
def test_the_next_run_serves_the_champion(
    state: ChampionState,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    verdict: str,
    code: int,
    phase: str,
) -> None:
    digest = kill_rollout(state, phase)
    result = run_json(run.main, capsys, *arguments, expect=code)
    assert result["verdict"] == verdict
    assert_champion_is_served(state, digest, capsys)


def test_rollback_to_the_champion_ends_its_trial(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = kill_rollout(state, ON_TRIAL)
    result = run_json(rollback.main, capsys, "--workload", NAME, "--to", state.aliases[CHAMPION])
    assert result["verdict"] == "served again"
    assert_champion_is_served(state, digest, capsys)


@pytest.mark.parametrize("arguments", [UNCHANGED, FAILED], ids=["unchanged", "failed"])
def test_a_champion_that_cannot_be_served_is_reported(
    state: ChampionState, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    before = state.served_digest()
    digest = kill_rollout(state, SERVING)
    number = state.aliases[CHAMPION]
    # Each copy, because a run restores a lost archive from another one.
    copies = {path: path.read_bytes() for path in state.folder.rglob("*.mar") if digest_file(path) == digest}
    assert state.folder / "store" / "archives" / NAME / f"{digest}.mar" in copies
    for path in copies:
        path.unlink()
    (reason,) = run_json(run.main, capsys, *arguments, expect=6)["reasons"]
    for path, content in copies.items():
        path.write_bytes(content)
    assert f"endpoint and registry of {NAME} disagree: the registry's champion is version {number}" in reason
    assert f"but {str(before)[:12]} is served, and this could not be corrected: " in reason
    assert f"there is no archives/{NAME}/{digest}.mar" in reason
    assert reason.partition("To correct this:\n")[2].startswith(
        f"python -m pipelines.rollback --workload {NAME} --to {number}"
    )
    assert ("/does/not/exist.csv" in reason) is (arguments == FAILED)
    assert state.served_digest() == before


def test_an_alias_that_was_removed_is_reported(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    served = state.served_digest()
    state.registry.remove_alias(NAME, CHAMPION)
    for arguments, cause in ((UNCHANGED, "verdict: unchanged"), (REJECTED, "evaluate: ")):
        (reason,) = run_json(run.main, capsys, *arguments, expect=6)["reasons"]
        assert cause in reason
        assert f"{str(served)[:12]} is served, but the registry has no champion" in reason
        assert f"python -m pipelines.rollback --workload {NAME} --to 3" in reason
        assert state.served_digest() == served
    command = reason.partition("To correct this:\n")[2].splitlines()[0].split()
    assert rollback.main(command[3:]) == 0
    assert_champion_is_served(state, str(served), capsys)


def test_a_deleted_version_of_the_champion_is_reported(
    state: ChampionState, capsys: pytest.CaptureFixture[str]
) -> None:
    served = kill_rollout(state, ON_TRIAL)
    run_json(run.main, capsys, *UNCHANGED)
    body = {"name": NAME, "version": state.aliases[CHAMPION]}
    state.registry.send("DELETE", "mlflow/model-versions/delete", json=body)
    (reason,) = run_json(run.main, capsys, *REJECTED, expect=6)["reasons"]
    assert f"version {body['version']} was its champion" in reason
    assert "no model is evaluated" in reason.lower()
    assert state.served_digest() == served
    assert state.registry.champion(NAME) is None


def test_a_run_does_not_start_the_local_registry_to_compare_it(
    state: ChampionState, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from continuous_training.adapters.local_registry import LocalRegistry

    def fail(_: LocalRegistry) -> None:
        raise AssertionError("the registry was started")

    monkeypatch.setattr(LocalRegistry, "start", fail)
    result = run_json(run.main, capsys, *UNCHANGED, "--state", str(state.folder))
    assert (result["verdict"], bool(result["endpoint"])) == ("unchanged", True)
