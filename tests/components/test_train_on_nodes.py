"""Training on several nodes: the processes, which torchrun starts on this machine, and their model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from components.prep_data import step as prep_data
from components.train import step as train
from components.train.nodes import heartbeat
from components.train.nodes.__main__ import main
from components.train.nodes.heartbeat import INTERVAL, TIMEOUT, Heartbeat
from components.train.nodes.object_store_exchange import Exchange
from continuous_training.adapters.object_store import FolderStore, ObjectStore, open_store
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.digest import digest_file, digest_of_folder
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.serving.models.model import load_model
from tests import s3
from tests.fakes import free_port
from workloads import discovery

torch = pytest.importorskip("torch", reason="mnist trains with torch: make install EXTRAS=torch")
pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).parents[2]
MNIST = discovery.get("mnist")
TOLERANCE = 0.03
"""Maximum difference in accuracy between one and two processes with the same seed and number of steps:
about two standard deviations of an accuracy of 90 % that is measured on 500 rows."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist") / "data"
    prep_data.run(MNIST, {"epochs": "3", "precision": "float32"}, folder)
    return folder


@pytest.fixture(scope="module")
def uri(s3_server: tuple[Path, str]) -> str:
    """The URI of the store that all trainings of this module share."""
    from minio import Minio

    _, endpoint = s3_server
    Minio(endpoint, *s3.ACCESS, secure=False).make_bucket("nodes")
    return f"s3://nodes/ct?endpoint={endpoint}&secure=false"


@pytest.fixture(scope="module")
def store(uri: str) -> ObjectStore:
    return open_store(uri, s3.ACCESS)


def torchrun(uri: str, key: str, nodes: int = 2) -> list[subprocess.Popen[str]]:
    """Start the command of a node `nodes` times on this machine."""
    # The variables that the torch runtime of the Trainer sets in a pod.
    environment = {"PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
    environment |= {"PET_MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3.ACCESS, strict=True))
    environment |= {"CT_STORE": uri, **keys}
    command = [sys.executable, "-m", "torch.distributed.run", "-m", "components.train.nodes"]
    return [
        subprocess.Popen(
            [*command, "--workload", "mnist", "--key", key],
            cwd=ROOT,
            env={**os.environ, **environment, "PET_NODE_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(nodes)
    ]


def wait_for_output(processes: list[subprocess.Popen[str]]) -> list[str]:
    return [process.communicate(timeout=300)[0] for process in processes]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a node as a cluster does: torchrun and its child processes, which would otherwise continue."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        for member in [process, *children]:
            member.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def started_processes() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        kill(process)


def accuracy(bundle: Path, data: Path) -> float:
    rows = Dataset.open(data).read("holdout")
    model = load_model(bundle)
    requests = (MNIST.request(rows.slice(i, 1)) for i in range(rows.num_rows))
    labels = [model.predict(request)["predictions"][0]["label"] for request in requests]
    return float(np.mean(np.array(labels) == rows["label"].to_numpy()))


@dataclass
class TwoNodeTraining:
    """The result of a training on two nodes: the bundle, and the output of each node."""

    bundle: Path
    outputs: list[str]


@pytest.fixture(scope="module")
def two_nodes(
    data: Path,
    store: ObjectStore,
    uri: str,
    started_processes: list[subprocess.Popen[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> TwoNodeTraining:
    exchange = Exchange(store, "trainjobs/two")
    exchange.put_data(data)
    Heartbeat(store, exchange.key).beat()
    processes = torchrun(uri, exchange.key)
    started_processes += processes
    outputs = wait_for_output(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    bundle = tmp_path_factory.mktemp("two_nodes")
    exchange.fetch_bundle(bundle)
    return TwoNodeTraining(bundle, outputs)


def test_two_nodes_train_the_same_model_as_one_process(
    data: Path, two_nodes: TwoNodeTraining, tmp_path: Path
) -> None:
    metadata = json.loads((two_nodes.bundle / "model.json").read_text())
    assert metadata["notes"]["processes"] == 2
    assert metadata["recipe"] == Dataset.open(data).manifest.input_digest
    single = train.run(MNIST, {}, data, tmp_path / "single").to_json()
    single_accuracy, two_accuracy = accuracy(tmp_path / "single", data), accuracy(two_nodes.bundle, data)
    print(f"accuracy {single_accuracy:.4f} with one process, {two_accuracy:.4f} with two")
    assert abs(single_accuracy - two_accuracy) < TOLERANCE
    assert [entry["step"] for entry in metadata["curve"]] == [entry["step"] for entry in single["curve"]]
    for actual, expected in zip(metadata["curve"], single["curve"], strict=True):
        assert abs(actual["error"] - expected["error"]) < TOLERANCE


def test_only_the_first_node_reports_progress(two_nodes: TwoNodeTraining) -> None:
    first, second = two_nodes.outputs
    assert "in 2 processes" in first
    assert "epoch 3 of 3" in first
    assert "the model is stored in the object store" in first
    assert "epoch" not in second


def test_the_holdout_is_not_uploaded(two_nodes: TwoNodeTraining, store: ObjectStore) -> None:
    assert store.keys("trainjobs/two/data") == [
        "trainjobs/two/data/dataset.json",
        "trainjobs/two/data/train.parquet",
    ]


@pytest.mark.full
def test_killed_nodes_resume_and_train_the_same_model(
    data: Path,
    two_nodes: TwoNodeTraining,
    store: ObjectStore,
    uri: str,
    started_processes: list[subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    for key in store.keys("checkpoints"):
        store.delete(key)
    exchange = Exchange(store, "trainjobs/killed")
    exchange.put_data(data)
    Heartbeat(store, exchange.key).beat()
    processes = torchrun(uri, exchange.key)
    started_processes += processes
    first = processes[0].stdout
    assert first
    for line in first:
        if "epoch 1 of 3" in line:
            break
    for process in processes:
        kill(process)
    assert not exchange.has_bundle()
    assert len(store.keys("checkpoints")) == 1

    processes = torchrun(uri, exchange.key)
    started_processes += processes
    outputs = wait_for_output(processes)
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert "resuming after epoch" in outputs[0]
    assert "epoch 1 of 3" not in outputs[0]
    exchange.fetch_bundle(tmp_path)
    assert digest_of_folder(tmp_path) == digest_of_folder(two_nodes.bundle)
    assert len(store.keys("checkpoints")) == 1, "the step deletes the checkpoint, not the nodes"


class TestExchange:
    """The exchange of data and bundle between the step and its nodes."""

    def bundle(self, folder: Path) -> Path:
        (folder / "deep").mkdir(parents=True)
        (folder / "model.json").write_text("{}")
        (folder / "deep" / "weights.onnx").write_bytes(b"w")
        return folder

    @pytest.mark.parametrize("kind", ["bucket", "folder"])
    def test_a_bundle_is_transferred_unchanged(self, kind: str, uri: str, tmp_path: Path) -> None:
        store = open_store(uri, s3.ACCESS) if kind == "bucket" else open_store(str(tmp_path / "store"))
        exchange = Exchange(store, "trainjobs/exchange")
        bundle = self.bundle(tmp_path / "bundle")
        assert not exchange.has_bundle()
        exchange.put_bundle(bundle)
        exchange.put_bundle(bundle)
        assert exchange.has_bundle()
        (tmp_path / "download").mkdir()
        exchange.fetch_bundle(tmp_path / "download")
        assert digest_of_folder(tmp_path / "download") == digest_of_folder(bundle)
        exchange.remove()
        assert store.keys("trainjobs/exchange") == []

    def test_a_changed_file_is_rejected(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        exchange = Exchange(store, "trainjobs/x")
        exchange.put_bundle(self.bundle(tmp_path / "bundle"))
        changed = digest_file(tmp_path / "bundle" / "deep" / "weights.onnx")
        store.write(f"trainjobs/x/files/{changed}", b"other")
        (tmp_path / "download").mkdir()
        with pytest.raises(PipelineError, match=r"weights\.onnx is not the file that the node wrote"):
            exchange.fetch_bundle(tmp_path / "download")

    def test_a_file_name_outside_the_bundle_is_rejected(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        store.write("trainjobs/x/bundle.json", b'{"../evil": "0"}')
        (tmp_path / "download").mkdir()
        with pytest.raises(PipelineError, match="is outside the bundle"):
            Exchange(store, "trainjobs/x").fetch_bundle(tmp_path / "download")

    def test_a_missing_bundle_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(PipelineError, match="without leaving a model"):
            Exchange(open_store(str(tmp_path)), "trainjobs/x").fetch_bundle(tmp_path)


class TestHeartbeat:
    """The heartbeat of the step, and its expiry."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        now = {"now": 1e9}
        for name in ("time", "monotonic"):
            monkeypatch.setattr(heartbeat.time, name, lambda: now["now"])
        return now

    def test_the_heartbeat_expires_after_the_timeout(self, tmp_path: Path, clock: dict[str, float]) -> None:
        step, node = (Heartbeat(open_store(str(tmp_path)), "trainjobs/x") for _ in range(2))
        assert node.is_expired(), "no heartbeat was written"
        step.beat()
        assert not node.is_expired()
        clock["now"] += TIMEOUT
        assert not node.is_expired()
        clock["now"] += 1
        assert node.is_expired()
        step.beat()
        assert not node.is_expired()

    def test_the_heartbeat_is_written_at_most_once_per_interval(
        self, tmp_path: Path, clock: dict[str, float]
    ) -> None:
        step, path = Heartbeat(open_store(str(tmp_path)), "x"), tmp_path / "x" / "alive"
        step.beat()
        path.unlink()
        clock["now"] += INTERVAL - 1
        step.beat()
        assert not path.exists()
        clock["now"] += 1
        step.beat()
        assert path.exists()

    def test_an_unavailable_store_does_not_expire_the_heartbeat(self) -> None:
        class UnavailableStore(FolderStore):
            def read(self, key: str) -> bytes | None:
                raise TransientError("no route")

            def write(self, key: str, data: bytes) -> None:
                raise TransientError("no route")

        beats = Heartbeat(UnavailableStore(Path("/nowhere")), "x")
        beats.beat()
        assert not beats.is_expired()

    def test_the_callback_runs_when_the_heartbeat_is_deleted(self, tmp_path: Path) -> None:
        beats, expired = Heartbeat(open_store(str(tmp_path)), "x"), threading.Event()
        beats.beat()
        thread = beats.watch(expired.set, interval=0.01)
        assert not expired.is_set()
        (tmp_path / "x" / "alive").unlink()
        thread.join(30)
        assert expired.is_set()

    def test_a_node_without_a_step_does_not_train(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CT_STORE", str(tmp_path))
        with pytest.raises(SystemExit) as error:
            main(["--workload", "mnist", "--key", "trainjobs/gone"])
        assert error.value.code == 1
        assert "the train step no longer runs" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 6, 128])
def test_shards_are_complete_and_even(rows: int, count: int) -> None:
    from workloads.distributed import ProcessGroup

    parts = [range(rows)[ProcessGroup(rank, count).shard(rows)] for rank in range(count)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer"), TransientError),
        (torch.distributed.DistBackendError("NCCL communicator was aborted"), TransientError),
        (RuntimeError("the sizes of the tensors do not match"), RuntimeError),
    ],
)
def test_a_lost_connection_to_another_process_is_a_transient_error(
    error: RuntimeError, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads.distributed import process_group

    environment = {"TORCHELASTIC_RUN_ID": "a-run", "RANK": "0", "WORLD_SIZE": "1"}
    environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(expected) as raised, process_group():
        raise error
    assert type(raised.value) is expected
    assert not torch.distributed.is_initialized()
