"""The standalone overlay, installed once in a separate namespace, for the tests that need a cluster."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from . import building
from .kube import Kube, create_namespace
from .rendering import MANIFESTS, kubectl, relative_path, render, write

NO_CLAIMS = """
- {op: remove, path: /spec/volumeClaimTemplates}
- {op: add, path: /spec/template/spec/volumes/-, value: {name: data, emptyDir: {}}}
"""
"""Replaces volume claims, because the cluster may have no storage provisioner and the data is temporary."""


SMALL_CLUSTER_SETTINGS = {"CT_SERVING_REPLICAS": "1", "CT_SERVING_CPU": "50m", "CT_ROLLOUT_DEADLINE": "120"}
"""Settings for a cluster with one small node."""


@dataclass(frozen=True)
class Installation:
    """The overlay in a namespace, and the folder of its kustomization."""

    kube: Kube
    overlay: Path


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip the test if no cluster is configured or it does not answer."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: KUBECONFIG is not set")
    ready = [kubectl(), "get", "--raw", "/readyz", "--request-timeout=10s"]
    process = subprocess.run(ready, capture_output=True, text=True, check=False)
    if process.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {process.stderr.strip()[-200:]}")


@pytest.fixture(scope="session")
def kube(cluster: None) -> Iterator[Kube]:
    """A namespace for this session that enforces Pod Security `restricted`."""
    kube = create_namespace(f"manifests-{secrets.token_hex(3)}")
    try:
        yield kube
    finally:
        kube.run("delete", "namespace", kube.namespace, "--wait=false")


@pytest.fixture(scope="session")
def installed(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """The standalone overlay, installed as in docs/cluster.md, with images that the cluster can pull."""
    folder = tmp_path_factory.mktemp("site")
    settings = {"CT_SERVING_IMAGE": building.step_image("serving")} | SMALL_CLUSTER_SETTINGS
    overlay = write(
        folder / "overlay",
        {
            "namespace": kube.namespace,
            "resources": [relative_path(folder / "overlay", MANIFESTS / "overlays/standalone")],
            "images": [
                _image("registry", building.registry_image()),
                _image("postgres", building.postgres_image()),
                _image("versity/versitygw", building.store_image(folder)),
            ],
            "patches": [
                {"target": {"kind": "StatefulSet"}, "patch": NO_CLAIMS},
                {
                    "target": {"kind": "ConfigMap", "name": "continuous-training"},
                    "patch": yaml.safe_dump([_setting(name, value) for name, value in settings.items()]),
                },
            ],
        },
    )
    secret_objects = subprocess.run(
        [MANIFESTS / "secrets.sh"], capture_output=True, text=True, check=True
    ).stdout
    kube.run("create", "-f", "-", stdin=secret_objects)
    kube.apply(*render(overlay))
    for workload in ("statefulset/registry-database", "statefulset/store", "deployment/registry"):
        kube.run("rollout", "status", workload, "--timeout=240s")
    kube.run("wait", "--for=condition=complete", "job/store-setup", "--timeout=120s")
    return Installation(kube, overlay)


def _setting(name: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": f"/data/{name}", "value": value}


def _image(name: str, reference: str) -> dict[str, str]:
    repository, _, digest = reference.partition("@")
    return {"name": name, "newName": repository, "digest": digest}
