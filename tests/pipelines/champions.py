"""A state directory with three promotions and a rejection, which is created once and copied for each test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts import archive_writer
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.core import file_lock
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon
from tests.registry import run_registry

ROOT = Path(__file__).parents[2]
NAME = "diabetes"
HALF = ("--workload", NAME, "--set", "test_size=0.5")
PATIENT = {"patient": dict.fromkeys(("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"), 1)}

TEMPLATE_TIMEOUT = 600
"""Seconds within which another process must have created the template."""

Main = Callable[[list[str]], int]


def run_module(
    *arguments: str, expect: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with the arguments in a process. `expect` is the exit code.

    `environment` is added to the environment of this process.
    """
    command, env = [sys.executable, "-m", *arguments], {**os.environ, **(environment or {})}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, env=env)
    assert process.returncode == expect, process.stderr[-3000:]
    return process


@dataclass(frozen=True)
class ChampionState:
    """A copy of the state directory, and its registry."""

    folder: Path
    registry: Registry

    @property
    def digests(self) -> list[str]:
        """The digests of the archives in the order of their versions."""
        return [version.digest for version in self.registry.versions(NAME)]

    @property
    def aliases(self) -> dict[str, str]:
        return self.registry.aliases(NAME)

    def served_digest(self) -> str | None:
        """Return the digest in the response to a prediction, or None if the response is an error."""
        running = daemon.status(self.folder)
        assert running, "no server runs"
        response = requests.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=10)
        return response.headers["x-model-digest"] if response.ok else None

    def archive(self, version: int) -> Path:
        """Return the path of a version's archive in the store."""
        return self.folder / "store" / "archives" / NAME / f"{self.digests[version - 1]}.mar"


@contextmanager
def copy_state(
    factory: pytest.TempPathFactory, name: str, *, run_server: bool = False
) -> Iterator[ChampionState]:
    """Yield a copy of the state directory, to which the environment refers.

    With `run_server`, the environment refers to an MLflow server for its registry.
    """
    temporary, folder = factory.getbasetemp(), factory.mktemp(name) / "state"
    # The processes of pytest-xdist share the template; each of them has a folder in the shared one.
    shared = temporary.parent if "PYTEST_XDIST_WORKER" in os.environ else temporary
    with file_lock.hold_lock(shared / "champions.lock", TEMPLATE_TIMEOUT) as acquired:
        assert acquired, "another process did not finish the template"
        template = _template(shared / "champions")
    shutil.copytree(template, folder)
    models = folder / "serving" / "models.json"
    models.write_text(models.read_text().replace(str(template), str(folder)))
    uri = f"sqlite:///{folder}/mlflow/mlflow.db"
    with run_registry(folder / "mlflow") if run_server else open_registry(uri) as registry:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CT_STATE", str(folder))
                patch.setenv("MLFLOW_TRACKING_URI", registry.uri if run_server else uri)
                patch.delenv("CT_STORE", raising=False)
                yield ChampionState(folder, registry)
        finally:
            daemon.stop(folder)


def run_command(
    main: Main, capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0
) -> tuple[str, str]:
    """Run a command in this process. Return its standard output and its standard error."""
    capsys.readouterr()
    code = main(list(arguments))
    captured = capsys.readouterr()
    assert code == expect, captured.err
    return captured.out, captured.err


def run_json(
    main: Main, capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0
) -> dict[str, Any]:
    """Run a command with --json in this process. Return the object that it prints."""
    output, _ = run_command(main, capsys, *arguments, "--json", expect=expect)
    assert output.count("\n") == 1, "standard output is one JSON object and nothing else"
    result: dict[str, Any] = json.loads(output)
    return result


def _template(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f"{folder.name}.part")
    run = ("pipelines.run", *HALF, "--state", str(temporary))
    try:
        run_module(*run, "--set", "features=bmi")
        run_module(*run)
        run_module(*run, "--set", "features=age", expect=3)
        with open_registry(f"sqlite:///{temporary}/mlflow/mlflow.db") as registry:
            promote_another(temporary, registry)
    finally:
        daemon.stop(temporary)
    models = temporary / "serving" / "models.json"
    models.write_text(models.read_text().replace(str(temporary), str(folder)))
    temporary.rename(folder)
    return folder


def add_another(folder: Path, registry: Registry, note: str) -> ModelVersion:
    """Archive the latest version's model again with a note, and register it. It is not served."""
    store, temporary = open_store(str(folder / "store")), folder / "work" / note
    newest = registry.versions(NAME)[-1]
    bundle = temporary / "bundle"
    manifest = archive_writer.unpack(store.fetch(newest.archive, temporary), bundle)
    for name in ("archive.json", "torchserve_handler.py", "MAR-INF/MANIFEST.json"):
        (bundle / name).unlink()
    provenance = {**manifest.provenance, "note": note}
    written = archive_writer.write(bundle, temporary, golden=manifest.golden, provenance=provenance)
    key = f"archives/{NAME}/{written.digest}.mar"
    store.put_if_absent(key, written.path)
    shutil.rmtree(folder / "work")
    tags = {
        **newest.tags,
        "archive_digest": written.digest,
        "archive_key": key,
        "recipe": note,
        "pipeline_run": note,
    }
    return registry.register(NAME, registry.run(NAME, note), tags)


def promote_another(folder: Path, registry: Registry, note: str = "by-another-note") -> ModelVersion:
    """Register another version, serve it and make it the champion, as deploy-serving does."""
    champion = registry.champion(NAME)
    version = add_another(folder, registry, note)
    expected = champion.version if champion else None
    store = open_store(str(folder / "store"))

    def make_champion() -> None:
        registry.promote(version, expected, "another note", note)

    path = store.fetch(version.archive, folder)
    roll_out(LocalTarget(folder), NAME, path, version.digest, make_champion, lambda _: None)
    history = RunHistory(store, NAME)
    metrics = next(r.metrics for r in reversed(history.runs()) if r.verdict == "promoted")
    record = RunRecord(
        run=note,
        verdict="promoted",
        reasons=("another note",),
        metrics=metrics,
        input_digest=note,
        version=version.version,
        digest=version.digest,
    )
    history.write_run(record)
    history.record_processed(note, ProcessedInputs(record))
    return version
