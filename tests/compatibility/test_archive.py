"""Read, verify and serve model archives of the earlier version, and repeat their golden requests."""

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

from .earlier_version import ROOT, clean_environment, predict, read_document, run_module

DIGESTS = {
    "digits": read_document("documents/run-2.json")["digest"],
    "wine": read_document("documents/run-5.json")["digest"],
}


@pytest.fixture(scope="module")
def archives(local_runs: Path) -> dict[str, Path]:
    """The archives of the champions, by model name."""
    store = local_runs / "state" / "store" / "archives"
    return {name: store / name / f"{digest}.mar" for name, digest in DIGESTS.items()}


@pytest.fixture(scope="module")
def server(archives: dict[str, Path]) -> Iterator[str]:
    """The URL of a foreground server that serves both archives."""
    port = free_port()
    files = [part for path in archives.values() for part in ("--archive", str(path))]
    command = [sys.executable, "-m", "serving", "serve", "--port", str(port), *files]
    process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        # The server prints two lines for each model after it has loaded the model.
        lines = [process.stdout.readline() for _ in range(2 * len(archives))]
        assert all(f"http://127.0.0.1:{port}" in line for line in lines)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def manifest(path: Path) -> dict[str, Any]:
    """Read the manifest of an archive without the product's code."""
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read("archive.json")))


@pytest.mark.parametrize("name", DIGESTS)
def test_an_archive_is_read_and_verified(archives: dict[str, Path], name: str, tmp_path: Path) -> None:
    assert read_manifest(archives[name]).to_json() == manifest(archives[name])
    unpack(archives[name], tmp_path / "model", DIGESTS[name])
    assert (tmp_path / "model" / "model.json").is_file()


@pytest.mark.parametrize("name", DIGESTS)
def test_the_server_repeats_the_golden_responses(archives: dict[str, Path], server: str, name: str) -> None:
    golden = manifest(archives[name])["golden"]
    assert golden
    for row in golden:
        response = predict(server, name, row["request"])
        assert response.headers["x-model-digest"] == DIGESTS[name]
        assert is_close(response.json(), row["answer"])


def is_close(value: Any, expected: Any) -> bool:
    """Return whether two responses are equal, except for rounding differences between processors."""
    if isinstance(value, dict):
        return set(value) == set(expected) and all(is_close(value[key], expected[key]) for key in value)
    if isinstance(value, list):
        return len(value) == len(expected) and all(map(is_close, value, expected))
    return value == (pytest.approx(expected, rel=1e-3) if isinstance(expected, float) else expected)


@pytest.mark.parametrize("name", DIGESTS)
def test_the_metadata_endpoint_returns_the_recorded_metadata(server: str, name: str) -> None:
    metadata = requests.get(f"{server}/v2/models/{name}", timeout=10).json()
    assert metadata == read_document(f"documents/http-v2_models_{name}.json")


@pytest.mark.parametrize("name", DIGESTS)
def test_the_archived_code_imports_no_module_of_this_project(archives: dict[str, Path], name: str) -> None:
    """Each absolute import of the archived code is a library of the serving image."""
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


def test_serving_fetch_downloads_the_archive_for_torchserve(local_runs: Path, tmp_path: Path) -> None:
    """Running pods use the command `python -m serving.fetch`."""
    store = local_runs / "state" / "store"
    command = ("serving.fetch", "--model-store", store, "--output", tmp_path, "--torchserve")
    printed = run_module(*command, "--model", "digits@champion").stdout
    assert Path(printed.strip()) == tmp_path / "digits.mar"
    assert manifest(tmp_path / "digits.mar")["name"] == "digits"
    assert "load_models=digits.mar" in (tmp_path / "config.properties").read_text()
    previous = run_module(*command, "--model", f"digits@{read_document('documents/run-1.json')['digest']}")
    assert previous.stdout == printed


@pytest.mark.parametrize("name", DIGESTS)
def test_the_archived_torchserve_handler_repeats_the_golden_responses(
    archives: dict[str, Path], name: str, tmp_path: Path
) -> None:
    """TorchServe imports the code from the archive, under the module names in the archive."""
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
    env = clean_environment(PYTHONPATH=str(ROOT))
    process = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    for response, row in zip(json.loads(process.stdout), manifest(archives[name])["golden"], strict=True):
        assert is_close(response, row["answer"])
