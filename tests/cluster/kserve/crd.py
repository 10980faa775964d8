"""KServe's own definition of InferenceServices, on the API server that the tests run on."""

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

from ..waiting import eventually

DEFINITION = Resource(
    "apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
FILE = Path(__file__).parent / "inferenceservices.yaml.gz"


@contextmanager
def installed(cluster: Cluster) -> Iterator[None]:
    """Have the API server know InferenceServices for the while; a KServe that is there stays as it is."""
    known = is_known(cluster, INFERENCE_SERVICE)
    # The pure Python loader takes half a minute over two megabytes.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(gzip.decompress(FILE.read_bytes()), loader)  # noqa: S506
    if not known:
        cluster.apply(DEFINITION, definition)
        assert eventually(lambda: is_known(cluster, INFERENCE_SERVICE)), "the API server does not take it up"
    try:
        yield
    finally:
        if not known:
            name = definition["metadata"]["name"]
            cluster.delete(DEFINITION, name)
            # While it is going the API server lists the kind, and refuses everything of it.
            assert eventually(
                lambda: not cluster.get(DEFINITION, name) and not is_known(cluster, INFERENCE_SERVICE)
            )
