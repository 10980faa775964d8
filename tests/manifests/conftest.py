"""The standalone overlay, installed once into a namespace of its own, for the tests that need a cluster."""

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
from .kube import Kube, make_namespace
from .rendering import MANIFESTS, beside, kubectl, render, write

NO_CLAIMS = """
- {op: remove, path: /spec/volumeClaimTemplates}
- {op: add, path: /spec/template/spec/volumes/-, value: {name: data, emptyDir: {}}}
"""
"""A cluster may have no storage provisioner; what is installed here is gone with the namespace anyway."""


SMALL = {"CT_SERVING_REPLICAS": "1", "CT_SERVING_CPU": "50m", "CT_ROLLOUT_DEADLINE": "120"}
"""For a cluster of one small node."""


@dataclass(frozen=True)
class Installed:
    """The overlay in a namespace, and what it was installed from."""

    kube: Kube
    overlay: Path


@pytest.fixture(scope="session")
def cluster() -> None:
    """Skip where there is no cluster, or none that answers."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: KUBECONFIG is not set")
    ready = [kubectl(), "get", "--raw", "/readyz", "--request-timeout=10s"]
    done = subprocess.run(ready, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the cluster of KUBECONFIG does not answer: {done.stderr.strip()[-200:]}")


@pytest.fixture(scope="session")
def kube(cluster: None) -> Iterator[Kube]:
    """A namespace that enforces Pod Security `restricted`, for this session alone."""
    made = make_namespace(f"manifests-{secrets.token_hex(3)}")
    try:
        yield made
    finally:
        made.run("delete", "namespace", made.namespace, "--wait=false")


@pytest.fixture(scope="session")
def installed(kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The standalone overlay, up: as docs/cluster.md installs it, with images that this cluster reaches."""
    folder = tmp_path_factory.mktemp("site")
    settings = {"CT_SERVING_IMAGE": building.step_image("serving")} | SMALL
    overlay = write(
        folder / "overlay",
        {
            "namespace": kube.namespace,
            "resources": [beside(folder / "overlay", MANIFESTS / "overlays/standalone")],
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
    made = subprocess.run([MANIFESTS / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    kube.run("create", "-f", "-", given=made)
    kube.apply(*render(overlay))
    for part in ("statefulset/registry-database", "statefulset/store", "deployment/registry"):
        kube.run("rollout", "status", part, "--timeout=240s")
    kube.run("wait", "--for=condition=complete", "job/store-setup", "--timeout=120s")
    return Installed(kube, overlay)


def _setting(name: str, value: str) -> dict[str, str]:
    return {"op": "replace", "path": f"/data/{name}", "value": value}


def _image(name: str, reference: str) -> dict[str, str]:
    repository, _, digest = reference.partition("@")
    return {"name": name, "newName": repository, "digest": digest}
