"""KServe's definition of the InferenceService kind, for the API server of the tests."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.partial_metadata import is_known
from continuous_training.adapters.kubernetes.resources import Resource
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE

from ..polling import wait_until

DEFINITION = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
FILE = Path(__file__).parent / "inferenceservices.yaml.gz"


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """Install the kind during the block; an installed KServe is not changed."""
    is_installed = is_known(cluster, INFERENCE_SERVICE)
    if is_installed:
        yield
        return
    # The pure Python loader takes half a minute for the two megabytes.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(gzip.decompress(FILE.read_bytes()), loader)  # noqa: S506
    cluster.apply(DEFINITION, definition)
    assert wait_until(lambda: is_known(cluster, INFERENCE_SERVICE)), "the API server does not serve the kind"
    try:
        yield
    finally:
        name = definition["metadata"]["name"]
        cluster.delete(DEFINITION, name)
        # During the deletion the API server still lists the kind, but refuses all requests for it.
        assert wait_until(
            lambda: not cluster.get(DEFINITION, name) and not is_known(cluster, INFERENCE_SERVICE)
        )
