"""`python -m serving.fetch`, and TorchServe with the settings that it writes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from toy_models import make_archive
from workload_archives import workload_archive

from continuous_training.adapters.object_store import FolderStore
from continuous_training.artifacts.archive_writer import Archive, read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.digest import digest_file
from continuous_training.rollout.kubernetes.serving_runtimes import TorchServe
from continuous_training.serving.process.fetch import CONFIG_FILE, main
from tests.fakes import free_port


@pytest.fixture
def stored(tmp_path: Path) -> Archive:
    archive = make_archive(tmp_path)
    FolderStore(tmp_path / "store").put_if_absent(f"archives/toy/{archive.digest}.mar", archive.path)
    return archive


def fetch(folder: Path, reference: str, *options: str) -> int:
    store, output = str(folder / "store"), str(folder / "out")
    return main(["--model-store", store, "--model", reference, "--output", output, *options])


def test_fetch_writes_the_archive_and_no_other_files(stored: Archive, tmp_path: Path) -> None:
    assert fetch(tmp_path, f"toy@{stored.digest[:12]}") == 0
    assert digest_file(tmp_path / "out/toy.mar") == stored.digest
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["toy.mar"]
    assert digest_file(tmp_path / f"store/archives/toy/{stored.digest}.mar") == stored.digest


def test_missing_and_damaged_archives_are_errors(
    stored: Archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(tmp_path, "toy@previous") == 2
    assert "the store has no toy@previous" in capsys.readouterr().err
    path = tmp_path / f"store/archives/toy/{stored.digest}.mar"
    path.write_bytes(path.read_bytes()[:-1])
    assert fetch(tmp_path, f"toy@{stored.digest}") == 2
    assert "is damaged" in capsys.readouterr().err
    assert not (tmp_path / "out/toy.mar").exists()


@pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java 17")
def test_torchserve_serves_the_archive_at_the_path_of_its_version(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install -e '.[torch]'")
    stored = workload_archive("diabetes", tmp_path)
    FolderStore(tmp_path / "store").put_if_absent(f"archives/diabetes/{stored.digest}.mar", stored.path)
    assert fetch(tmp_path, f"diabetes@{stored.digest}", "--torchserve") == 0
    program, out = Path(sys.executable).parent, tmp_path / "out"
    names = ("grpc_inference_port", "grpc_management_port", "initial_worker_port")
    text, ports = (out / CONFIG_FILE).read_text(), [free_port() for _ in range(6)]
    for usual, free in zip((8080, 8081, 8082), ports, strict=False):
        text = text.replace(f":{usual}\n", f":{free}\n")
    text += "".join(f"{name}={port}\n" for name, port in zip(names, ports[3:], strict=True))
    (out / CONFIG_FILE).write_text(text)
    start = [program / "torchserve", "--start", "--foreground"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*start, "--model-store", out, "--ts-config", out / CONFIG_FILE],
            cwd=tmp_path,
            stdout=log,
            stderr=log,
            env={**os.environ, "PATH": f"{program}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{ports[0]}"
    path = TorchServe.version_path(TorchServe, "diabetes", stored.path)  # type: ignore[arg-type]

    def ask(request: object) -> object:
        return requests.post(url + path, json=request, timeout=120).json()

    try:
        wait_until_healthy(f"{url}/ping", tmp_path / "log")
        rows = read_manifest(stored.path).golden.to_json()
        assert GoldenSet.from_json(rows).check(ask) == []
        assert requests.post(
            f"{url}{TorchServe.predict_path('diabetes')}", json=rows[0]["request"], timeout=120
        ).ok
        other = requests.post(
            f"{url}/predictions/diabetes/0123456789ab", json=rows[0]["request"], timeout=120
        )
        assert other.status_code == 404
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def wait_until_healthy(url: str, log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        try:
            if requests.get(url, timeout=5).json().get("status") == "Healthy":
                return
        except (requests.RequestException, ValueError):
            pass
        time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])
