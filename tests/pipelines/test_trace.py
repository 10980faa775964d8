"""The command trace: from the header of a response to the training rows."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import requests

import workloads
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts import archive_writer
from continuous_training.core.digest import code_digest, digest_file
from continuous_training.operations.formatting import format_comparison
from continuous_training.operations.lineage import read_lineage
from continuous_training.operations.source_commit import commit_of, is_current
from continuous_training.serving.process import daemon
from pipelines.trace import main
from workloads import discovery

from . import champions
from .champions import NAME, PATIENT, ROOT, ChampionState, run_command, run_json


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.copy_state(tmp_path_factory, "trace") as opened:
        yield opened


def test_the_header_of_a_response_identifies_its_version(state: ChampionState, capsys):
    running = daemon.start(state.folder)
    answer = requests.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=10)
    header = answer.headers["x-model-version"]
    result = run_json(main, capsys, header)
    assert result["digest"] == state.digests[2] == answer.headers["x-model-digest"]
    assert (result["workload"], result["version"], result["aliases"]) == (NAME, "3", ["champion"])


def test_the_origin_of_a_former_champion(state: ChampionState, capsys):
    result = run_json(main, capsys, state.digests[1][:6])
    assert (result["version"], result["aliases"]) == ("2", ["previous"])
    assert [move["became"] for move in result["champion"]] == [True, False]
    assert result["archive"]["intact"] is True
    assert result["archive"]["bytes"] == state.archive(2).stat().st_size
    assert result["run"].startswith("diabetes-2")
    assert result["code_is_here"] is True
    assert result["data"]["rows"] == {"train": 220, "holdout": 222}
    assert result["parameters"]["features"] == "all"
    assert result["parameters"]["test_size"] == 0.5
    assert "onnxruntime" in result["libraries"]
    assert result["against"]["version"] == "1"
    assert pq.read_table(result["rows_at"]).num_rows == 220
    assert Path(result["report"]).is_file()
    out, _ = run_command(main, capsys, state.digests[1].upper())
    for text in (
        state.digests[1],
        "the same as the code in this checkout",
        "220 training rows",
        "features=all",
    ):
        assert text in out


def test_the_interval_of_the_improvement_has_the_confidence_of_the_rule(state: ChampionState):
    version = state.registry.versions(NAME)[1]
    lineage = read_lineage(version, state.registry, open_store(str(state.folder / "store")))
    assert "95 % interval" in format_comparison(lineage)
    assert lineage.defeated is not None
    relaxed = replace(lineage, defeated=replace(lineage.defeated, confidence=0.9))
    assert "90 % interval" in format_comparison(relaxed)


def test_the_commit_of_the_code(state: ChampionState, capsys, tmp_path: Path, monkeypatch):
    """In a separate git repository: a copy of the workload is committed, changed and restored."""
    room = tmp_path / "workloads"
    shutil.copytree(ROOT / "workloads" / NAME, room / "twin", ignore=shutil.ignore_patterns("__pycache__"))
    code = room / "twin" / "workload.py"
    sound = code.read_text().replace(f'name = "{NAME}"', 'name = "twin"')
    code.write_text(sound)

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        command = ["git", "-C", str(room), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit() -> str:
        git("add", ".")
        git("commit", "-qm", "another state of it")
        return git("rev-parse", "HEAD")

    git("init", "-q")
    first = commit()
    code.write_text(sound + "# later\n")
    second = commit()
    monkeypatch.setattr(workloads, "__path__", [*workloads.__path__, str(room)])
    folder = discovery.find_folder("twin")
    digest = code_digest(folder)
    assert commit_of(folder, digest) == second
    code.write_text(sound)
    assert commit_of(folder, code_digest(folder)) == first
    code.write_text(sound + "# never committed\n")
    assert commit_of(folder, code_digest(folder)) is None
    assert commit_of(discovery.find_folder("gone"), digest) is None


def test_the_commit_contains_the_imported_modules(tmp_path: Path):
    """The workload's folder is the same in each commit; a module next to it changes."""
    folder, shared = tmp_path / "workloads" / "twin", tmp_path / "workloads" / "shared.py"
    folder.mkdir(parents=True)
    (folder / "workload.py").write_text("from ..shared import name\n")

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def commit(content: str) -> tuple[str, dict[str, str]]:
        shared.write_text(content)
        git("add", ".")
        git("commit", "-qm", "a change")
        files = {"workloads/shared.py": digest_file(shared), "workloads/elsewhere.py": "another repository"}
        return git("rev-parse", "HEAD"), files

    git("init", "-q")
    first, former = commit("name = 1\n")
    second, current = commit("name = 2\n")
    code = code_digest(folder)
    assert (commit_of(folder, code, former), commit_of(folder, code, current)) == (first, second)
    assert (is_current(folder, code, former), is_current(folder, code, current)) == (False, True)
    assert commit_of(folder, code) == first  # An older version recorded no modules.
    shared.write_text("never committed\n")
    assert commit_of(folder, code, {"workloads/shared.py": digest_file(shared)}) is None


def test_the_folder_of_a_workload_may_be_a_repository(tmp_path: Path):
    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "workload.py").write_text("from ..shared import name\n")
    (tmp_path / "shared.py").write_text("name = 1\n")
    git = ["git", "-C", str(folder), "-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "the workload"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    modules = {"workloads/shared.py": digest_file(tmp_path / "shared.py")}
    assert commit_of(folder, code_digest(folder), modules) == commit.strip()


def test_an_altered_archive_is_shown(state: ChampionState, capsys):
    path = state.archive(1)
    sound = path.read_bytes()
    path.write_bytes(sound + b"!")
    try:
        assert run_json(main, capsys, state.digests[0])["archive"]["intact"] is False
        assert "NOT the registered archive" in run_command(main, capsys, state.digests[0])[0]
        path.write_bytes(b"nothing of the kind")
        result = run_json(main, capsys, state.digests[0])
        assert (result["archive"]["intact"], result["data"]["rows"]["train"]) == (False, None)
        path.unlink()
        assert "missing" in run_command(main, capsys, state.digests[0])[0]
    finally:
        path.write_bytes(sound)


def test_trace_of_an_archive_that_was_never_registered(state: ChampionState, capsys, tmp_path: Path):
    manifest = archive_writer.unpack(state.archive(2), tmp_path / "bundle")
    for name in ("archive.json", "torchserve_handler.py", "MAR-INF/MANIFEST.json"):
        (tmp_path / "bundle" / name).unlink()
    written = archive_writer.write(
        tmp_path / "bundle", tmp_path, golden=manifest.golden, provenance={"code": "c0de"}
    )
    store = open_store(str(state.folder / "store"))
    store.put_if_absent(f"archives/{NAME}/{written.digest}.mar", written.path)
    result = run_json(main, capsys, written.version)
    assert (result["version"], result["code"], result["archive"]["intact"]) == (None, "c0de", True)
    assert result["data"]["rows"]["train"] == 220
    assert "never registered" in run_command(main, capsys, written.version)[0]


def test_an_ambiguous_prefix_lists_the_matches(state: ChampionState, capsys):
    twin = state.digests[0][:8] + "0" * 56
    path = state.archive(1).with_name(f"{twin}.mar")
    path.write_bytes(b"twin")
    try:
        _, error = run_command(main, capsys, twin[:7], expect=2)
        assert f"2 versions have digests that begin with {twin[:7]}" in error
        assert twin in error
        assert state.digests[0] in error
    finally:
        path.unlink()


@pytest.mark.parametrize(
    ("digest", "text"),
    [
        ("abcde", "pass 6 to 64 hexadecimal digits"),
        ("version2", "is not a digest"),
        ("0" * 65, "is not a digest"),
        ("0" * 64, "no digest of a version begins with 000"),
    ],
)
def test_an_unknown_digest_is_refused(state: ChampionState, capsys, digest, text):
    _, error = run_command(main, capsys, digest, expect=2)
    assert text in error
    assert run_json(main, capsys, digest, expect=2)["verdict"] == "failed"


def test_trace_creates_nothing_in_an_empty_state_directory(tmp_path: Path, capsys):
    _, error = run_command(main, capsys, "abcdef", "--state", str(tmp_path / "none"), expect=2)
    assert "0 are known" in error
    assert not (tmp_path / "none").exists()


def test_trace_as_a_process(state: ChampionState):
    completed = champions.run_module(
        "pipelines.trace", state.digests[2][:12], "--state", str(state.folder), "--json"
    )
    assert json.loads(completed.stdout)["version"] == "3"
