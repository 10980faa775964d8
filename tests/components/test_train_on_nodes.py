"""The processes of a training on several nodes, started by torchrun on this machine: what they come to."""

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
from components.train.nodes.heartbeat import EVERY, SILENCE, Heartbeat
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
"""How far the accuracy of two processes may be from that of one: about a standard deviation of what 500 rows
say of an accuracy of 90 %, with the same seed and the same steps."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist") / "data"
    prep_data.run(MNIST, {"epochs": "3", "precision": "float32"}, folder)
    return folder


@pytest.fixture(scope="module")
def uri(s3_server: tuple[Path, str]) -> str:
    """The URI of a store that all of this module's trainings share."""
    from minio import Minio

    _, endpoint = s3_server
    Minio(endpoint, *s3.ACCESS, secure=False).make_bucket("nodes")
    return f"s3://nodes/ct?endpoint={endpoint}&secure=false"


@pytest.fixture(scope="module")
def store(uri: str) -> ObjectStore:
    return open_store(uri, s3.ACCESS)


def torchrun(uri: str, key: str, nodes: int = 2) -> list[subprocess.Popen[str]]:
    """Start a node's command on as many nodes, which are processes of this machine."""
    # What the Trainer's torch runtime sets in a pod.
    given = {"PET_NNODES": str(nodes), "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1"}
    given |= {"PET_MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    keys = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), s3.ACCESS, strict=True))
    given |= {"CT_STORE": uri, **keys}
    command = [sys.executable, "-m", "torch.distributed.run", "-m", "components.train.nodes"]
    return [
        subprocess.Popen(
            [*command, "--workload", "mnist", "--key", key],
            cwd=ROOT,
            env={**os.environ, **given, "PET_NODE_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(nodes)
    ]


def ended(processes: list[subprocess.Popen[str]]) -> list[str]:
    return [process.communicate(timeout=300)[0] for process in processes]


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a node as a cluster does: torchrun, and what it has started, which would outlive it."""
    if process.poll() is None:
        started = psutil.Process(process.pid).children(recursive=True)
        for one in [process, *started]:
            one.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="module")
def reaped() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        kill(process)


def accuracy(bundle: Path, data: Path) -> float:
    rows = Dataset.open(data).read("holdout")
    model = load_model(bundle)
    asked = (MNIST.request(rows.slice(i, 1)) for i in range(rows.num_rows))
    answers = [model.predict(one)["predictions"][0]["label"] for one in asked]
    return float(np.mean(np.array(answers) == rows["label"].to_numpy()))


@dataclass
class Together:
    """What two nodes have come to: the bundle, and what each of them said."""

    bundle: Path
    said: list[str]


@pytest.fixture(scope="module")
def together(
    data: Path,
    store: ObjectStore,
    uri: str,
    reaped: list[subprocess.Popen[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Together:
    exchange = Exchange(store, "trainjobs/two")
    exchange.put_data(data)
    Heartbeat(store, exchange.key).beat()
    processes = torchrun(uri, exchange.key)
    reaped += processes
    said = ended(processes)
    assert [process.returncode for process in processes] == [0, 0], said
    bundle = tmp_path_factory.mktemp("together")
    exchange.fetch_bundle(bundle)
    return Together(bundle, said)


def test_two_nodes_come_to_the_model_that_one_comes_to(
    data: Path, together: Together, tmp_path: Path
) -> None:
    description = json.loads((together.bundle / "model.json").read_text())
    assert description["notes"]["processes"] == 2
    assert description["recipe"] == Dataset.open(data).manifest.input_digest
    alone = train.run(MNIST, {}, data, tmp_path / "alone")
    one, two = accuracy(tmp_path / "alone", data), accuracy(together.bundle, data)
    print(f"accuracy {one:.4f} by one process, {two:.4f} by two")
    assert abs(one - two) < TOLERANCE
    assert [entry["step"] for entry in description["curve"]] == [entry["step"] for entry in alone["curve"]]
    for mine, theirs in zip(description["curve"], alone["curve"], strict=True):
        assert abs(mine["error"] - theirs["error"]) < TOLERANCE


def test_one_node_tells_and_writes_for_all(together: Together) -> None:
    first, second = together.said
    assert "among 2 processes" in first
    assert "epoch 3 of 3" in first
    assert "the model is in the object store" in first
    assert "epoch" not in second


def test_nodes_see_none_of_what_is_held_out(together: Together, store: ObjectStore) -> None:
    assert store.keys("trainjobs/two/data") == [
        "trainjobs/two/data/dataset.json",
        "trainjobs/two/data/train.parquet",
    ]


@pytest.mark.full
def test_nodes_that_are_killed_go_on_together_and_come_to_the_same_model(
    data: Path,
    together: Together,
    store: ObjectStore,
    uri: str,
    reaped: list[subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    for key in store.keys("checkpoints"):
        store.delete(key)
    exchange = Exchange(store, "trainjobs/killed")
    exchange.put_data(data)
    Heartbeat(store, exchange.key).beat()
    processes = torchrun(uri, exchange.key)
    reaped += processes
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
    reaped += processes
    said = ended(processes)
    assert [process.returncode for process in processes] == [0, 0], said
    assert "going on after epoch" in said[0]
    assert "epoch 1 of 3" not in said[0]
    exchange.fetch_bundle(tmp_path)
    assert digest_of_folder(tmp_path) == digest_of_folder(together.bundle)
    assert len(store.keys("checkpoints")) == 1, "it goes when the step has the model, and not before"


class TestExchange:
    """What the step and its nodes hand each other."""

    def bundle(self, folder: Path) -> Path:
        (folder / "deep").mkdir(parents=True)
        (folder / "model.json").write_text("{}")
        (folder / "deep" / "weights.onnx").write_bytes(b"w")
        return folder

    @pytest.mark.parametrize("kind", ["bucket", "folder"])
    def test_a_bundle_arrives_as_it_was(self, kind: str, uri: str, tmp_path: Path) -> None:
        store = open_store(uri, s3.ACCESS) if kind == "bucket" else open_store(str(tmp_path / "store"))
        exchange = Exchange(store, "trainjobs/exchange")
        bundle = self.bundle(tmp_path / "bundle")
        assert not exchange.has_bundle()
        exchange.put_bundle(bundle)
        exchange.put_bundle(bundle)
        assert exchange.has_bundle()
        (tmp_path / "there").mkdir()
        exchange.fetch_bundle(tmp_path / "there")
        assert digest_of_folder(tmp_path / "there") == digest_of_folder(bundle)
        exchange.remove()
        assert store.keys("trainjobs/exchange") == []

    def test_a_file_that_was_changed_is_refused(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        exchange = Exchange(store, "trainjobs/x")
        exchange.put_bundle(self.bundle(tmp_path / "bundle"))
        changed = digest_file(tmp_path / "bundle" / "deep" / "weights.onnx")
        store.write(f"trainjobs/x/files/{changed}", b"other")
        (tmp_path / "there").mkdir()
        with pytest.raises(PipelineError, match=r"weights\.onnx is not what the node wrote"):
            exchange.fetch_bundle(tmp_path / "there")

    def test_a_name_that_leads_out_is_refused(self, tmp_path: Path) -> None:
        store = open_store(str(tmp_path / "store"))
        store.write("trainjobs/x/bundle.json", b'{"../evil": "0"}')
        (tmp_path / "there").mkdir()
        with pytest.raises(PipelineError, match="leads out of the bundle"):
            Exchange(store, "trainjobs/x").fetch_bundle(tmp_path / "there")

    def test_no_bundle_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(PipelineError, match="without leaving a model"):
            Exchange(open_store(str(tmp_path)), "trainjobs/x").fetch_bundle(tmp_path)


class TestHeartbeat:
    """Whether anybody still waits."""

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
        now = {"now": 1e9}
        for name in ("time", "monotonic"):
            monkeypatch.setattr(heartbeat.time, name, lambda: now["now"])
        return now

    def test_a_step_that_is_silent_for_too_long_is_gone(
        self, tmp_path: Path, clock: dict[str, float]
    ) -> None:
        step, node = (Heartbeat(open_store(str(tmp_path)), "trainjobs/x") for _ in range(2))
        assert node.abandoned(), "it never was there"
        step.beat()
        assert not node.abandoned()
        clock["now"] += SILENCE
        assert not node.abandoned()
        clock["now"] += 1
        assert node.abandoned()
        step.beat()
        assert not node.abandoned()

    def test_it_is_written_now_and_then_however_often_it_is_asked(
        self, tmp_path: Path, clock: dict[str, float]
    ) -> None:
        step, path = Heartbeat(open_store(str(tmp_path)), "x"), tmp_path / "x" / "alive"
        step.beat()
        path.unlink()
        clock["now"] += EVERY - 1
        step.beat()
        assert not path.exists()
        clock["now"] += 1
        step.beat()
        assert path.exists()

    def test_a_store_that_is_away_ends_nothing(self) -> None:
        class Away(FolderStore):
            def read(self, key: str) -> bytes | None:
                raise TransientError("no route to it")

            def write(self, key: str, data: bytes) -> None:
                raise TransientError("no route to it")

        pulse = Heartbeat(Away(Path("/nowhere")), "x")
        pulse.beat()
        assert not pulse.abandoned()

    def test_nodes_leave_when_everything_was_taken_away(self, tmp_path: Path) -> None:
        pulse, left = Heartbeat(open_store(str(tmp_path)), "x"), threading.Event()
        pulse.beat()
        thread = pulse.watch(left.set, every=0.01)
        assert not left.is_set()
        (tmp_path / "x" / "alive").unlink()
        thread.join(30)
        assert left.is_set()

    def test_a_node_of_a_step_that_is_gone_learns_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("CT_STORE", str(tmp_path))
        with pytest.raises(SystemExit) as ended:
            main(["--workload", "mnist", "--key", "trainjobs/gone"])
        assert ended.value.code == 1
        assert "no step waits for this training any more" in capsys.readouterr().err


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 6, 128])
def test_shares_are_all_of_it_and_even(rows: int, count: int) -> None:
    from workloads.distributed import ProcessGroup

    parts = [range(rows)[ProcessGroup(rank, count).shard(rows)] for rank in range(count)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
