"""The same archive under real TorchServe: registered, asked, and answering as our own server does."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import socket
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

from continuous_training import serving
from continuous_training.artifacts.archive import Archive, read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient

QUICK = {"mnist": {"epochs": "1"}}
NAMES = ("diabetes", "digits", "nsmc", *(["mnist"] if importlib.util.find_spec("torch") else []))
SETTINGS = Path(serving.__file__).parent / "torchserve.properties"

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="TorchServe needs Java 17"),
    pytest.mark.skipif(importlib.util.find_spec("ts") is None, reason="needs torchserve: make test"),
]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass(frozen=True)
class TorchServe:
    """A running TorchServe: its two addresses and its keys."""

    inference: str
    management: str
    keys: dict[str, str]

    def manage(self, method: str, path: str, key: str | None = "management", **params: Any) -> Any:
        """Ask the management port, with one of the keys or without any."""
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        url = f"{self.management}/{path}"
        return requests.request(method, url, params=params, headers=headers, timeout=120)

    def ask(self, model: str, request: Any, key: str | None = "inference") -> Any:
        """Ask a model, with one of the keys or without any."""
        headers = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        url = f"{self.inference}/predictions/{model}"
        return requests.post(url, json=request, headers=headers, timeout=60)

    def describe(self, model: str) -> dict[str, Any]:
        """Return what it says of a model."""
        (described,) = self.manage("GET", f"models/{model}").json()
        assert isinstance(described, dict)
        return described

    def workers(self, model: str) -> list[str]:
        """List what its workers are doing, one of them each."""
        return [worker["status"] for worker in self.describe(model)["workers"]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Archive]) -> dict[str, Archive]:
    """Archives of the workloads, a quick one of mnist among them where it can be trained."""
    folder = tmp_path_factory.mktemp("served")
    return {
        name: archives[name]
        if name in archives
        else workload_archive(name, folder / name, **QUICK.get(name, {}))
        for name in NAMES
    }


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory, served: dict[str, Archive]) -> Iterator[str]:
    """The address of our own server of the same archives."""
    folder = tmp_path_factory.mktemp("ours")
    endpoint = ServerClient(daemon.start(folder, 0))
    for name, written in served.items():
        endpoint.load(name, written.path, written.digest)
    yield endpoint.running.url
    daemon.stop(folder)


@pytest.fixture(scope="module")
def torchserve(tmp_path_factory: pytest.TempPathFactory, served: dict[str, Archive]) -> Iterator[TorchServe]:
    """Run TorchServe with the settings that we give out, on free ports, over a store of both archives."""
    folder = tmp_path_factory.mktemp("torchserve")
    store = folder / "store"
    store.mkdir()
    for name in NAMES:
        shutil.copyfile(served[name].path, store / f"{name}.mar")
    inference, management, metrics, grpc, grpc_management, worker = free_ports(6)
    given = SETTINGS.read_text(encoding="utf-8")
    for usual, free in ((8080, inference), (8081, management), (8082, metrics)):
        assert f"http://127.0.0.1:{usual}\n" in given
        given = given.replace(f"http://127.0.0.1:{usual}\n", f"http://127.0.0.1:{free}\n")
    ports = f"grpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
    (folder / "config.properties").write_text(f"{given}{ports}initial_worker_port={worker}\n")
    command = [str(Path(sys.executable).parent / "torchserve"), "--start", "--foreground", "--model-store"]
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, str(store), "--ts-config", "config.properties"],
            cwd=folder,
            stdout=log,
            stderr=log,
            # Its pid file is in TMPDIR: another TorchServe on this machine is not ours.
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TMPDIR": str(folder),
            },
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not _answers(f"http://127.0.0.1:{inference}/ping"):
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
        # The launcher, the JVM and its workers are one group.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def _answers(url: str) -> bool:
    """Tell whether anything answers there, if only to say that it wants a token."""
    try:
        requests.get(url, timeout=2)
    except requests.RequestException:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_registers_answers_scales_and_unregisters(
    torchserve: TorchServe, ours: str, served: dict[str, Archive], name: str
) -> None:
    made = torchserve.manage("POST", "models", url=f"{name}.mar", initial_workers=1, synchronous="true")
    assert made.ok, made.text

    def answers() -> list[str]:
        """Compare what both servers answer to every golden request, to 1e-5."""
        asked = [row["request"] for row in read_manifest(served[name].path).golden.to_json()]
        given = [requests.post(f"{ours}/predict/{name}", json=request, timeout=30) for request in asked]
        rows = [
            {"request": request, "answer": answer.json()}
            for request, answer in zip(asked, given, strict=True)
        ]
        assert all(answer.ok for answer in given)
        return GoldenSet.from_json(rows).check(lambda request: torchserve.ask(name, request).json())

    assert answers() == []
    if name == "mnist":
        assert _picture_is_answered(torchserve, served[name])
    scaled = torchserve.manage("PUT", f"models/{name}", min_worker=2, max_worker=2, synchronous="true")
    assert scaled.ok, scaled.text
    assert torchserve.workers(name) == ["READY", "READY"]
    assert answers() == []
    scaled = torchserve.manage("PUT", f"models/{name}", min_worker=1, max_worker=1, synchronous="true")
    assert scaled.ok, scaled.text
    assert torchserve.workers(name) == ["READY"]
    bad = torchserve.ask(name, {"no": 1})
    assert bad.status_code == 400
    assert "send" in bad.json()["error"]
    gone = torchserve.manage("DELETE", f"models/{name}")
    assert gone.ok, gone.text
    assert torchserve.manage("GET", f"models/{name}").status_code == 404
    assert torchserve.ask(name, {}).status_code == 404


def _picture_is_answered(torchserve: TorchServe, written: Archive) -> bool:
    """Ask with a picture's file instead of its pixels; the answer must be the same."""
    (row, *_) = read_manifest(written.path).golden.to_json()
    file = io.BytesIO()
    Image.fromarray(np.array(row["request"]["image"], np.uint8)).save(file, "PNG")
    headers = {"Authorization": f"Bearer {torchserve.keys['inference']}", "Content-Type": "image/png"}
    url = f"{torchserve.inference}/predictions/{written.name}"
    sent = requests.post(url, data=file.getvalue(), headers=headers, timeout=30)
    return GoldenSet.from_json([row]).check(lambda _: sent.json()) == []


def test_a_bad_request_harms_no_other_in_its_batch(
    torchserve: TorchServe, archives: dict[str, Archive]
) -> None:
    batched = {"initial_workers": 1, "synchronous": "true", "batch_size": 8, "max_batch_delay": 500}
    assert torchserve.manage("POST", "models", url="diabetes.mar", **batched).ok
    (row, *_) = read_manifest(archives["diabetes"].path).golden.to_json()
    given = [row["request"], {"no": 1}] * 4
    with ThreadPoolExecutor(len(given)) as pool:
        found = list(pool.map(lambda request: torchserve.ask("diabetes", request), given))
    assert [answer.status_code for answer in found] == [200, 400] * 4
    assert all(GoldenSet.from_json([row]).check(lambda _, a=answer: a.json()) == [] for answer in found[::2])
    assert torchserve.manage("DELETE", "models/diabetes").ok


@pytest.mark.parametrize("key", [None, "inference"])
def test_managing_needs_the_management_key(torchserve: TorchServe, key: str | None) -> None:
    for method, path in (("GET", "models"), ("POST", "models"), ("DELETE", "models/digits")):
        refused = torchserve.manage(method, path, key=key, url="digits.mar")
        assert (refused.status_code, refused.json()["type"]) == (400, "InvalidKeyException")


@pytest.mark.parametrize("key", [None, "management"])
def test_asking_needs_the_inference_key(torchserve: TorchServe, key: str | None) -> None:
    refused = torchserve.ask("digits", {}, key=key)
    assert (refused.status_code, refused.json()["type"]) == (400, "InvalidKeyException")


def test_models_come_from_the_model_store_alone(
    torchserve: TorchServe, archives: dict[str, Archive], tmp_path: Path
) -> None:
    """Neither a file elsewhere on this machine nor an address is fetched, though both are there."""
    elsewhere = shutil.copyfile(archives["digits"].path, tmp_path / "elsewhere.mar")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as files:
        threading.Thread(target=files.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{files.server_port}/elsewhere.mar"
        assert requests.get(address, timeout=10).ok
        for url in (address, elsewhere.as_uri(), str(elsewhere), "../config.properties"):
            refused = torchserve.manage("POST", "models", url=url)
            assert refused.status_code >= 400, (url, refused.text)
        files.shutdown()
    assert torchserve.manage("GET", "models").json() == {"models": []}
