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
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from components.dataset import Dataset
from components.prep_data.step import run as prepare
from components.train.step import run as train
from serving import archive, golden
from serving.model import load_model
from workloads import register

QUICK = {"mnist": {"epochs": "1"}}
NAMES = ("diabetes", "digits", *(["mnist"] if importlib.util.find_spec("torch") else []))

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


def write_archive(name: str, folder: Path) -> archive.Archive:
    workload = register.get(name)
    prepare(workload, QUICK.get(name, {}), folder / "data")
    train(workload, {}, folder / "data", folder / "model")
    model, holdout = load_model(folder / "model"), Dataset.open(folder / "data").read("holdout")
    requests_ = [workload.request(holdout.slice(i, 1)) for i in range(20)]
    rows = [{"request": request, "answer": model.predict(request)} for request in requests_]
    return archive.write(folder / "model", folder / "store", golden=rows, provenance={})


@pytest.fixture(scope="module")
def torchserve(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Run TorchServe over a model store with both archives; yields its ports, keys and the archives."""
    folder = tmp_path_factory.mktemp("torchserve")
    store = folder / "store"
    store.mkdir()
    archives = {name: write_archive(name, folder / name) for name in NAMES}
    for name, written in archives.items():
        shutil.copyfile(written.path, store / f"{name}.mar")
    inference, management, metrics, grpc, grpc_management, worker = free_ports(6)
    (folder / "config.properties").write_text(
        f"inference_address=http://127.0.0.1:{inference}\n"
        f"management_address=http://127.0.0.1:{management}\n"
        f"metrics_address=http://127.0.0.1:{metrics}\n"
        f"grpc_inference_port={grpc}\ngrpc_management_port={grpc_management}\n"
        f"initial_worker_port={worker}\n"
        "disable_system_metrics=true\nenable_model_api=true\n"
    )
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
        headers = {
            kind: {"Authorization": f"Bearer {keys[kind]['key']}"} for kind in ("management", "inference")
        }
        yield f"http://127.0.0.1:{inference}", f"http://127.0.0.1:{management}", headers, archives
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
def test_answers_as_our_own_server_does(torchserve: Any, name: str) -> None:
    inference, management, headers, archives = torchserve
    made = requests.post(
        f"{management}/models",
        params={"url": f"{name}.mar", "initial_workers": 1, "synchronous": "true", "batch_size": 4},
        headers=headers["management"],
        timeout=120,
    )
    assert made.ok, made.text

    def ask(request: Any) -> Any:
        answer = requests.post(
            f"{inference}/predictions/{name}", json=request, headers=headers["inference"], timeout=30
        )
        assert answer.ok, answer.text
        return answer.json()

    rows = archive.read_manifest(archives[name].path)["golden"]
    assert golden.check(rows, ask) == []
    bad = requests.post(
        f"{inference}/predictions/{name}", json={"no": 1}, headers=headers["inference"], timeout=30
    )
    assert bad.status_code == 400
    assert "send" in bad.json()["error"]
    if name == "mnist":
        picture = rows[0]["request"]["image"]
        file = io.BytesIO()
        Image.fromarray(np.array(picture, np.uint8)).save(file, "PNG")
        sent = requests.post(
            f"{inference}/predictions/{name}",
            data=file.getvalue(),
            headers=headers["inference"] | {"Content-Type": "image/png"},
            timeout=30,
        )
        assert golden.check([{"request": 0, "answer": rows[0]["answer"]}], lambda _: sent.json()) == []
    gone = requests.delete(f"{management}/models/{name}", headers=headers["management"], timeout=30)
    assert gone.ok, gone.text
