"""The whole pipeline in its images: as their own user, with nothing to write to but /tmp and the artifacts.

The registry is MLflow's server and the store an S3 server, both of this machine; the model server runs in
its own image.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import docker
import numpy as np
import pyarrow as pa
import pytest
import requests

from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from pipelines import build_images
from pipelines.images import Images
from tests.s3 import ACCESS, Bucket
from workloads import discovery, mnist

from .conftest import HARDENED, TORCH_FREE, make
from .dag import Machine


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Registry]:
    """A registry of this test's own, behind a real MLflow server."""
    with open_registry(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}") as opened:
        yield opened


@pytest.fixture
def machine(
    engine: docker.DockerClient, images: Images, mlflow: Registry, bucket: Bucket, tmp_path: Path
) -> Iterator[Machine]:
    # Those that were pushed are run by digest, as `make images` and then pipelines.compile would have it.
    digests = {target: build_images.pushed_digest(images.of(target)) for target in TORCH_FREE}
    pinned = {target: digest for target, digest in digests.items() if digest}
    folder = tmp_path / "machine"
    folder.mkdir()
    environment = {
        "CT_STATE": str(folder / "state"),
        "CT_STORE": bucket.uri,
        "MLFLOW_TRACKING_URI": mlflow.uri,
        "AWS_ACCESS_KEY_ID": ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": ACCESS[1],
    }
    made = Machine(engine, Images(images.registry, images.tag, pinned), folder, environment)
    made.open_folder("state")
    yield made
    made.hand_over()


def test_raw_data_to_an_answering_endpoint(machine: Machine, mlflow: Registry) -> None:
    with machine.server() as url:
        machine.run("digits")
        champion = mlflow.champion("digits")
        assert champion is not None, machine.said

        pictures, labels = digits(200)
        answer = requests.post(f"{url}/predict/digits", json={"images": pictures.tolist()}, timeout=30)
        told = np.array([one["label"] for one in answer.json()["predictions"]])
        assert answer.headers["x-model-digest"] == champion.digest
        assert (told == labels).mean() > 0.95

        # A quiet day: nothing is trained again, and what is served stays.
        machine.run("digits")
        assert "data unchanged" in machine.said
        assert "Executing task 'train'" not in machine.said
        assert mlflow.champion("digits") == champion


def test_a_step_that_fails_is_told_as_such(machine: Machine, bucket: Bucket) -> None:
    with pytest.raises(RuntimeError, match="prep-data"):
        machine.run("digits", source="/nowhere.csv")
    assert "step failed" in machine.said
    (record,) = RunHistory(open_store(bucket.uri, ACCESS), "digits").runs()
    assert record["verdict"] == "failed"


def test_remote_files_are_kept_where_one_may_write(engine: docker.DockerClient, images: Images) -> None:
    sample = Path(mnist.__file__).parent / "sample"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(sample)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f"http://127.0.0.1:{server.server_port}/"
    prepare = f"python -m components.prep_data --workload mnist --set source={source} --output /tmp/data"
    command = ["sh", "-ec", f"{prepare} && find $CT_STATE/cache -name '*.gz'"]
    try:
        prepared = engine.containers.run(
            images.of("prep-data"), command, network_mode="host", remove=True, **HARDENED
        )
    finally:
        server.shutdown()
        server.server_close()
    told = prepared.decode().splitlines()
    assert "dataset: /tmp/data" in told
    assert sum(line.endswith(".gz") for line in told) == 4


@pytest.mark.full
def test_the_same_with_torch(machine: Machine, mlflow: Registry) -> None:
    make(machine.images, "train-torch", "--no-push")
    with machine.server() as url:
        machine.run("mnist", epochs=3)
        champion = mlflow.champion("mnist")
        assert champion is not None, machine.said

        workload = discovery.get("mnist")
        first = next(iter(workload.load(workload.default_source, workload.parse({}))))
        rows = pa.Table.from_batches([first.batch]).slice(0, 50)
        right = 0
        for index in range(rows.num_rows):
            row = rows.slice(index, 1)
            answer = requests.post(f"{url}/predict/mnist", json=workload.request(row), timeout=30)
            assert answer.headers["x-model-digest"] == champion.digest
            right += answer.json()["predictions"][0]["label"] == row["label"][0].as_py()
        assert right >= 45


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first pictures that scikit-learn has, and what they are of."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    return pictures[:count].reshape(-1, 8, 8), labels[:count]
