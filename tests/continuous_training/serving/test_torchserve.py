"""TorchServe serves the same archives, and its predictions are equal to our server's."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from workload_archives import workload_archive

from continuous_training.artifacts.archive_writer import Archive, read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.fetch import TORCHSERVE_SETTINGS
from tests.fakes import free_port

TRAINING_VALUES = {"mnist": {"epochs": "1"}}
NAMES = ("diabetes", "digits", "nsmc", *(["mnist"] if importlib.util.find_spec("torch") else []))

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java 17"),
    pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="needs torchserve: make test"),
]


@dataclass(frozen=True)
class TorchServe:
    """A running TorchServe: its inference and management addresses and its keys."""

    inference: str
    management: str
    keys: dict[str, str]

    def manage(self, method: str, path: str, key: str | None = "management", **params: Any) -> Any:
        """Send a request to the management port, with the given key or without a key."""
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        url = f"{self.management}/{path}"
        return requests.request(method, url, params=params, headers=headers, timeout=120)

    def predict(self, model: str, request: Any, key: str | None = "inference") -> Any:
        """Send a prediction request, with the given key or without a key."""
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        url = f"{self.inference}/predictions/{model}"
        return requests.post(url, json=request, headers=headers, timeout=60)

    def describe(self, model: str) -> dict[str, Any]:
        """Return the description of a model."""
        (description,) = self.manage("GET", f"models/{model}").json()
        assert isinstance(description, dict)
        return description

    def workers(self, model: str) -> list[str]:
        """Return the status of each worker of a model."""
        return [worker["status"] for worker in self.describe(model)["workers"]]


@pytest.fixture(scope="module")
def trained_archives(
    tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Archive]
) -> dict[str, Archive]:
    """Archives of the workloads. mnist is included if torch is installed."""
    folder = tmp_path_factory.mktemp("archives")
    return {
        name: archives[name]
        if name in archives
        else workload_archive(name, folder / name, **TRAINING_VALUES.get(name, {}))
        for name in NAMES
    }


@pytest.fixture(scope="module")
def server_url(
    tmp_path_factory: pytest.TempPathFactory, trained_archives: dict[str, Archive]
) -> Iterator[str]:
    """The address of our server with the same archives."""
    folder = tmp_path_factory.mktemp("server")
    endpoint = ServerClient(daemon.start(folder, 0))
    for name, archive in trained_archives.items():
        endpoint.load(name, archive.path, archive.digest)
    yield endpoint.running.url
    daemon.stop(folder)


@pytest.fixture(scope="module")
def torchserve(
    tmp_path_factory: pytest.TempPathFactory, trained_archives: dict[str, Archive]
) -> Iterator[TorchServe]:
    """Run TorchServe with torchserve.properties on free ports, and a model store with the archives."""
    folder = tmp_path_factory.mktemp("torchserve")
    store = folder / "store"
    store.mkdir()
    for name in NAMES:
        shutil.copyfile(trained_archives[name].path, store / f"{name}.mar")
    inference, management, metrics, grpc, grpc_management, worker = (free_port() for _ in range(6))
    settings = TORCHSERVE_SETTINGS.read_text(encoding="utf-8")
    for default, free in ((8080, inference), (8081, management), (8082, metrics)):
        assert f"http://127.0.0.1:{default}\n" in settings
        settings = settings.replace(f"http://127.0.0.1:{default}\n", f"http://127.0.0.1:{free}\n")
    ports = f"grpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
    (folder / "config.properties").write_text(f"{settings}{ports}initial_worker_port={worker}\n")
    command = [str(Path(sys.executable).parent / "torchserve"), "--start", "--foreground", "--model-store"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(store), "--ts-config", "config.properties"],
            cwd=folder,
            stdout=log,
            stderr=log,
            # The pid file is in TMPDIR. Another TorchServe on this machine must not be affected.
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TMPDIR": str(folder),
            },
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not _is_reachable(f"http://127.0.0.1:{inference}/ping"):
            assert process.poll() is None, (folder / "log.txt").read_text()[-3000:]
            assert time.monotonic() < deadline, (folder / "log.txt").read_text()[-3000:]
            time.sleep(0.2)
        keys = json.loads((folder / "key_file.json").read_text())
        yield TorchServe(
            f"http://127.0.0.1:{inference}",
            f"http://127.0.0.1:{management}",
            {kind: keys[kind]["key"] for kind in ("management", "inference")},
        )
    finally:
        # The launcher, the JVM and the workers are one process group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _is_reachable(url: str) -> bool:
    """Return True if a server responds, even with an error."""
    try:
        requests.get(url, timeout=2)
    except requests.RequestException:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_register_predict_scale_and_unregister(
    torchserve: TorchServe, server_url: str, trained_archives: dict[str, Archive], name: str
) -> None:
    response = torchserve.manage("POST", "models", url=f"{name}.mar", initial_workers=1, synchronous="true")
    assert response.ok, response.text

    def differences() -> list[str]:
        """Compare the predictions of both servers for each golden request, to 1e-5."""
        requests_ = [row["request"] for row in read_manifest(trained_archives[name].path).golden.to_json()]
        url = f"{server_url}/predict/{name}"
        responses = [requests.post(url, json=request, timeout=30) for request in requests_]
        rows = [
            {"request": request, "answer": response.json()}
            for request, response in zip(requests_, responses, strict=True)
        ]
        assert all(response.ok for response in responses)
        return GoldenSet.from_json(rows).check(lambda request: torchserve.predict(name, request).json())

    assert differences() == []
    if name == "mnist":
        assert _picture_has_the_same_prediction(torchserve, trained_archives[name])
    scaled = torchserve.manage("PUT", f"models/{name}", min_worker=2, max_worker=2, synchronous="true")
    assert scaled.ok, scaled.text
    assert torchserve.workers(name) == ["READY", "READY"]
    assert differences() == []
    scaled = torchserve.manage("PUT", f"models/{name}", min_worker=1, max_worker=1, synchronous="true")
    assert scaled.ok, scaled.text
    assert torchserve.workers(name) == ["READY"]
    invalid = torchserve.predict(name, {"no": 1})
    assert invalid.status_code == 400
    assert "send" in invalid.json()["error"]
    deleted = torchserve.manage("DELETE", f"models/{name}")
    assert deleted.ok, deleted.text
    assert torchserve.manage("GET", f"models/{name}").status_code == 404
    assert torchserve.predict(name, {}).status_code == 404


def _picture_has_the_same_prediction(torchserve: TorchServe, archive: Archive) -> bool:
    """Send a picture file instead of its pixels, and compare the predictions."""
    (row, *_) = read_manifest(archive.path).golden.to_json()
    file = io.BytesIO()
    Image.fromarray(np.array(row["request"]["image"], np.uint8)).save(file, "PNG")
    headers = {"Authorization": f"Bearer {torchserve.keys['inference']}", "Content-Type": "image/png"}
    url = f"{torchserve.inference}/predictions/{archive.name}"
    response = requests.post(url, data=file.getvalue(), headers=headers, timeout=30)
    return GoldenSet.from_json([row]).check(lambda _: response.json()) == []


def test_invalid_request_does_not_affect_the_others_of_its_batch(
    torchserve: TorchServe, archives: dict[str, Archive]
) -> None:
    options = {"initial_workers": 1, "synchronous": "true", "batch_size": 8, "max_batch_delay": 500}
    assert torchserve.manage("POST", "models", url="diabetes.mar", **options).ok
    (row, *_) = read_manifest(archives["diabetes"].path).golden.to_json()
    batch = [row["request"], {"no": 1}] * 4
    with ThreadPoolExecutor(len(batch)) as pool:
        responses = list(pool.map(lambda request: torchserve.predict("diabetes", request), batch))
    assert [response.status_code for response in responses] == [200, 400] * 4
    assert all(
        GoldenSet.from_json([row]).check(lambda _, a=answer: a.json()) == [] for answer in responses[::2]
    )
    assert torchserve.manage("DELETE", "models/diabetes").ok


@pytest.mark.parametrize("key", [None, "inference"])
def test_management_requires_its_key(torchserve: TorchServe, key: str | None) -> None:
    for method, path in (("GET", "models"), ("POST", "models"), ("DELETE", "models/digits")):
        response = torchserve.manage(method, path, key=key, url="digits.mar")
        assert (response.status_code, response.json()["type"]) == (400, "InvalidKeyException")


@pytest.mark.parametrize("key", [None, "management"])
def test_prediction_requires_its_key(torchserve: TorchServe, key: str | None) -> None:
    response = torchserve.predict("digits", {}, key=key)
    assert (response.status_code, response.json()["type"]) == (400, "InvalidKeyException")


def test_models_outside_the_model_store_are_not_loaded(
    torchserve: TorchServe, archives: dict[str, Archive], tmp_path: Path
) -> None:
    """Neither a file outside the model store nor a URL is loaded, although both exist."""
    other_file = shutil.copyfile(archives["digits"].path, tmp_path / "elsewhere.mar")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{files.server_port}/elsewhere.mar"
        assert requests.get(address, timeout=10).ok
        for url in (address, other_file.as_uri(), str(other_file), "../config.properties"):
            response = torchserve.manage("POST", "models", url=url)
            assert response.status_code >= 400, (url, response.text)
        files.shutdown()
    assert torchserve.manage("GET", "models").json() == {"models": []}
