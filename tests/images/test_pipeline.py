"""The whole pipeline in its images, as their user, with write access only to /tmp and the artifacts.

An MLflow server and an S3 server run on this machine. The model server runs in its own image.
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

from continuous_training.adapters.docker_cli import pushed_digest
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from pipelines.images import Images
from tests.load_context import LOCAL_FILES
from tests.registry import run_registry
from tests.s3 import ACCESS, Bucket
from workloads import discovery, mnist

from .conftest import HARDENED, TORCH_FREE, build
from .dag import PipelineRunner


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Registry]:
    """A registry of this test, with a real MLflow server."""
    with run_registry(tmp_path / "mlflow") as opened:
        yield opened


@pytest.fixture
def runner(
    engine: docker.DockerClient, images: Images, mlflow: Registry, bucket: Bucket, tmp_path: Path
) -> Iterator[PipelineRunner]:
    # Pushed images are selected by digest, as after `make images` and pipelines.compile.
    digests = {target: pushed_digest(images.of(target)) for target in TORCH_FREE}
    pinned = {target: digest for target, digest in digests.items() if digest}
    folder = tmp_path / "runner"
    folder.mkdir()
    environment = {
        "CT_STATE": str(folder / "state"),
        "CT_STORE": bucket.uri,
        "MLFLOW_TRACKING_URI": mlflow.uri,
        "AWS_ACCESS_KEY_ID": ACCESS[0],
        "AWS_SECRET_ACCESS_KEY": ACCESS[1],
    }
    runner = PipelineRunner(engine, Images(images.registry, images.tag, pinned), folder, environment)
    runner.create_folder("state")
    yield runner
    runner.make_files_removable()


def test_from_raw_data_to_a_served_endpoint(runner: PipelineRunner, mlflow: Registry) -> None:
    with runner.server() as url:
        runner.run("digits")
        champion = mlflow.champion("digits")
        assert champion is not None, runner.output

        samples, labels = digits(200)
        response = requests.post(f"{url}/predict/digits", json={"images": samples.tolist()}, timeout=30)
        predicted = np.array([prediction["label"] for prediction in response.json()["predictions"]])
        assert response.headers["x-model-digest"] == champion.digest
        assert (predicted == labels).mean() > 0.95

        # With unchanged data, nothing is trained and the served version does not change.
        runner.run("digits")
        assert "data unchanged" in runner.output
        assert "Executing task 'train'" not in runner.output
        assert mlflow.champion("digits") == champion


def test_a_failed_step_is_recorded(runner: PipelineRunner, bucket: Bucket) -> None:
    with pytest.raises(RuntimeError, match="prep-data"):
        runner.run("digits", source="/nowhere.csv")
    assert "step failed" in runner.output
    (record,) = RunHistory(open_store(bucket.uri, ACCESS), "digits").runs()
    assert record.verdict == "failed"


def test_remote_files_are_cached_in_a_writable_folder(engine: docker.DockerClient, images: Images) -> None:
    sample = Path(mnist.__file__).parent / "sample"
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(sample)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    source = f"http://127.0.0.1:{server.server_port}/"
    prepare = f"python -m components.prep_data --workload mnist --set source={source} --output /tmp/data"
    command = ["sh", "-ec", f"{prepare} && find $CT_STATE/cache -name '*.gz'"]
    try:
        step = engine.containers.run(
            images.of("prep-data"), command, network_mode="host", remove=True, **HARDENED
        )
    finally:
        server.shutdown()
        server.server_close()
    lines = step.decode().splitlines()
    assert "dataset: /tmp/data" in lines
    assert sum(line.endswith(".gz") for line in lines) == 4


@pytest.mark.full
def test_from_raw_data_to_a_served_endpoint_with_torch(runner: PipelineRunner, mlflow: Registry) -> None:
    build(runner.images, "train-torch", "--no-push")
    with runner.server() as url:
        runner.run("mnist", epochs=3)
        champion = mlflow.champion("mnist")
        assert champion is not None, runner.output

        workload = discovery.get("mnist")
        first = next(iter(workload.load(workload.default_source, workload.parse({}), LOCAL_FILES)))
        rows = pa.Table.from_batches([first.batch]).slice(0, 50)
        correct = 0
        for index in range(rows.num_rows):
            row = rows.slice(index, 1)
            response = requests.post(f"{url}/predict/mnist", json=workload.request(row), timeout=30)
            assert response.headers["x-model-digest"] == champion.digest
            correct += response.json()["predictions"][0]["label"] == row["label"][0].as_py()
        assert correct >= 45


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the first images of the digits dataset, shape (count, 8, 8), and their labels."""
    from sklearn.datasets import load_digits

    samples, labels = load_digits(return_X_y=True)
    return samples[:count].reshape(-1, 8, 8), labels[:count]
