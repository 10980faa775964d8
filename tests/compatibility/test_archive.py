"""A model archive of the former version is read, verified and served, and repeats its golden requests."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from continuous_training.artifacts.archive_reader import read_manifest, unpack
from tests.fakes import free_port

from .former import ROOT, ask, document, environment, python

DIGESTS = {
    "digits": document("documents/run-2.json")["digest"],
    "wine": document("documents/run-5.json")["digest"],
}


@pytest.fixture(scope="module")
def archives(local: Path) -> dict[str, Path]:
    """The archives of the champions by the names of their models."""
    store = local / "state" / "store" / "archives"
    return {name: store / name / f"{digest}.mar" for name, digest in DIGESTS.items()}


@pytest.fixture(scope="module")
def server(archives: dict[str, Path]) -> Iterator[str]:
    """The address of a server in the foreground that serves both archives."""
    port = free_port()
    files = [part for path in archives.values() for part in ("--archive", str(path))]
    command = [sys.executable, "-m", "serving", "serve", "--port", str(port), *files]
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        # The server prints two lines per model when it is loaded.
        lines = [process.stdout.readline() for _ in range(2 * len(archives))]
        assert all(f"http://127.0.0.1:{port}" in line for line in lines)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def manifest(path: Path) -> dict[str, Any]:
    """Read the archive's manifest as any program may."""
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("archive.json")))


@pytest.mark.parametrize("name", DIGESTS)
def test_it_is_read_and_verified(archives: dict[str, Path], name: str, tmp_path: Path) -> None:
    assert read_manifest(archives[name]).to_json() == manifest(archives[name])
    unpack(archives[name], tmp_path / "model", DIGESTS[name])
    assert (tmp_path / "model" / "model.json").is_file()


@pytest.mark.parametrize("name", DIGESTS)
def test_it_answers_its_golden_requests(archives: dict[str, Path], server: str, name: str) -> None:
    golden = manifest(archives[name])["golden"]
    assert golden
    for row in golden:
        answer = ask(server, name, row["request"])
        assert answer.headers["x-model-digest"] == DIGESTS[name]
        assert close(answer.json(), row["answer"])


def close(one: Any, other: Any) -> bool:
    """Compare answers; numbers may differ by what another processor rounds."""
    if isinstance(one, dict):
        return set(one) == set(other) and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return one == (pytest.approx(other, rel=1e-3) if isinstance(other, float) else other)


@pytest.mark.parametrize("name", DIGESTS)
def test_its_metadata_is_the_same(server: str, name: str) -> None:
    found = requests.get(f"{server}/v2/models/{name}", timeout=10).json()
    assert found == document(f"documents/http-v2_models_{name}.json")


@pytest.mark.parametrize("name", DIGESTS)
def test_its_code_needs_no_module_of_this_project(archives: dict[str, Path], name: str) -> None:
    """All that a handler imports absolutely is a library of the serving image."""
    with zipfile.ZipFile(archives[name]) as archive:
        sources = {member: archive.read(member) for member in archive.namelist() if member.endswith(".py")}
    assert {f"workloads/{name}/handler.py", "workloads/handler.py"} <= set(sources)
    imported = set()
    for source in sources.values():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    assert imported - set(sys.stdlib_module_names) <= {"numpy", "onnxruntime", "faiss", "PIL"}


def test_it_is_fetched_from_the_store_for_other_servers(local: Path, tmp_path: Path) -> None:
    """`python -m serving.fetch` is a command of pods that run."""
    store = local / "state" / "store"
    command = ("serving.fetch", "--model-store", store, "--output", tmp_path, "--torchserve")
    printed = python(*command, "--model", "digits@champion").stdout
    assert Path(printed.strip()) == tmp_path / "digits.mar"
    assert manifest(tmp_path / "digits.mar")["name"] == "digits"
    assert "load_models=digits.mar" in (tmp_path / "config.properties").read_text()
    previous = python(*command, "--model", f"digits@{document('documents/run-1.json')['digest']}")
    assert previous.stdout == printed


@pytest.mark.parametrize("name", DIGESTS)
def test_torchserve_s_handler_in_it_answers(archives: dict[str, Path], name: str, tmp_path: Path) -> None:
    """TorchServe imports the archive's own copy of the code, under the names that it has there."""
    with zipfile.ZipFile(archives[name]) as archive:
        archive.extractall(tmp_path)
    code = (
        "import json, sys, types\n"
        "from torchserve_handler import TorchServeHandler\n"
        "context = types.SimpleNamespace(system_properties={'model_dir': sys.argv[1]})\n"
        "handler = TorchServeHandler()\n"
        "handler.initialize(context)\n"
        "golden = json.load(open('archive.json'))['golden']\n"
        "rows = [{'body': row['request']} for row in golden]\n"
        "print(json.dumps(handler.handle(rows, context)))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    env = environment(PYTHONPATH=str(ROOT))
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for answer, row in zip(json.loads(done.stdout), manifest(archives[name])["golden"], strict=True):
        assert close(answer, row["answer"])
