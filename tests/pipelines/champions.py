"""A state folder with a champion line: three promotions and a rejection, made once and copied."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from continuous_training.adapters.local_registry import LocalRegistry, open_registry
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts import archive
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.local import LocalTarget
from continuous_training.serving.process import daemon

ROOT = Path(__file__).parents[2]
NAME = "diabetes"
HALF = ("--workload", NAME, "--set", "test_size=0.5")
PATIENT = {"patient": dict.fromkeys(("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"), 1)}


def python(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    """Run a module as a person does."""
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == expect, done.stderr[-3000:]
    return done


@dataclass(frozen=True)
class State:
    """A state folder of a test's own, its registry, and what it looked like."""

    folder: Path
    registry: Registry

    @property
    def digests(self) -> list[str]:
        """The archives' digests by version, the first one's first."""
        return [version.digest for version in self.registry.versions(NAME)]

    @property
    def aliases(self) -> dict[str, str]:
        return self.registry.aliases(NAME)

    def served(self) -> str | None:
        """The digest in the answer to a request, as any caller sees it."""
        import requests

        running = daemon.status(self.folder)
        assert running, "no server runs"
        answer = requests.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=10)
        return answer.headers["x-model-digest"] if answer.ok else None

    def archive(self, version: int) -> Path:
        """Where a version's archive is stored."""
        return self.folder / "store" / "archives" / NAME / f"{self.digests[version - 1]}.mar"


@contextmanager
def state(factory: pytest.TempPathFactory, name: str) -> Iterator[State]:
    """Yield a copy of the line, its registry up, and the environment pointing at it; all is stopped after."""
    template, folder = _template(factory.getbasetemp() / "champion-line"), factory.mktemp(name) / "state"
    shutil.copytree(template, folder)
    models = folder / "serving" / "models.json"
    models.write_text(models.read_text().replace(str(template), str(folder)))
    registry = LocalRegistry(folder / "mlflow")
    try:
        registry.start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CT_STATE", str(folder))
            patch.setenv("MLFLOW_TRACKING_URI", registry.uri)
            patch.delenv("CT_STORE", raising=False)
            yield State(folder, Registry(registry.uri))
    finally:
        daemon.stop(folder)
        registry.close()


def call(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0
) -> tuple[str, str]:
    """Call a verb in this process; returns what it printed on standard output and on standard error."""
    capsys.readouterr()
    code = main(list(arguments))
    said = capsys.readouterr()
    assert code == expect, said.err
    return said.out, said.err


def told(
    main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str], *arguments: str, expect: int = 0
) -> dict:
    """Call a verb with --json; returns its one object."""
    out, _ = call(main, capsys, *arguments, "--json", expect=expect)
    assert out.count("\n") == 1, "one object and nothing else"
    return json.loads(out)


def _template(folder: Path) -> Path:
    if folder.is_dir():
        return folder
    beside = folder.with_name("champion-line.part")
    try:
        at = ("--state", str(beside))
        python("pipelines.run", *HALF, "--set", "features=bmi", *at)
        python("pipelines.run", *HALF, *at)
        python("pipelines.run", *HALF, "--set", "features=age", *at, expect=3)
        with open_registry(f"sqlite:///{beside}/mlflow/mlflow.db") as registry:
            promote_another(beside, registry)
    finally:
        daemon.stop(beside)
    models = beside / "serving" / "models.json"
    models.write_text(models.read_text().replace(str(beside), str(folder)))
    beside.rename(folder)
    return folder


def add_another(folder: Path, registry: Registry, note: str) -> ModelVersion:
    """Archive the newest version's model under another note, and register it; it is served by nobody."""
    store, work = open_store(str(folder / "store")), folder / "work" / note
    newest = registry.versions(NAME)[-1]
    manifest = archive.unpack(store.fetch(newest.archive, work), work / "bundle")
    for name in ("archive.json", "torchserve_handler.py", "MAR-INF/MANIFEST.json"):
        (work / "bundle" / name).unlink()
    provenance = {**manifest.provenance, "note": note}
    written = archive.write(work / "bundle", work, golden=manifest.golden, provenance=provenance)
    key = f"archives/{NAME}/{written.digest}.mar"
    store.put_if_absent(key, written.path)
    shutil.rmtree(folder / "work")
    tags = dict(newest.tags) | {
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
    records = RunHistory(store, NAME)
    metrics = next(r["metrics"] for r in reversed(records.runs()) if r["verdict"] == "promoted")
    record = {"verdict": "promoted", "reasons": ["another note"], "metrics": metrics, "recipe": note}
    records.write_run(note, record | {"version": version.version, "digest": version.digest})
    records.settle(note, record | {"run": note, "version": version.version, "digest": version.digest})
    return version
