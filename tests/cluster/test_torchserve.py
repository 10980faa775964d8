"""The TorchServe target's objects: what a real cluster says of them; no TorchServe image is run here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD
from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.kubernetes import manifests
from continuous_training.rollout.kubernetes.manifests import DeployedVersion
from continuous_training.rollout.kubernetes.serving_runtimes import TorchServe
from tests.continuous_training.serving.toy_models import make_archive

from .place import Place, tagged


def settings(place: Place) -> ServingSettings:
    return replace(place.settings, torchserve_image=tagged("torchserve", "some-tag"))


def test_a_restricted_namespace_takes_its_objects(shared: Place, tmp_path: Path) -> None:
    archive = make_archive(tmp_path, name="torch")
    version, server = DeployedVersion("torch", archive.digest), TorchServe(settings(shared))
    pod = server.pod(version)
    shared.cluster.apply(DEPLOYMENT, manifests.deployment(version, 1, pod), dry_run=True)
    # A Deployment is taken whatever its pods are; a pod is held to the standard.
    shared.cluster.apply(POD, {"metadata": {"name": "torch"}, "spec": pod}, dry_run=True)


def test_its_init_container_fetches_the_archive_and_writes_the_settings(
    shared: Place, tmp_path: Path
) -> None:
    archive = shared.keep(make_archive(tmp_path, name="fetched"))
    pod = TorchServe(settings(shared)).pod(DeployedVersion("fetched", archive.digest))
    (fetch,) = pod["initContainers"]
    show = "import pathlib; p = pathlib.Path('/models'); print(sorted(f.name for f in p.iterdir())); "
    show += "print((p / 'config.properties').read_text())"
    server = {**pod["containers"][0], "image": fetch["image"], "command": ["python", "-c", show]}
    for key in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        server.pop(key)
    pod |= {"containers": [server], "restartPolicy": "Never"}
    shared.cluster.create(POD, {"metadata": {"name": "fetched"}, "spec": pod})
    path = "--for=jsonpath={.status.phase}=Succeeded"
    shared.kubectl("wait", path, "pod/fetched", "--timeout=90s")
    said = "\n".join(shared.cluster.logs("fetched", "server", lines=100))
    assert "['config.properties', 'fetched.mar']" in said
    assert "inference_address=http://0.0.0.0:8080" in said
    assert "management_address=http://127.0.0.1:8081" in said
    assert "load_models=fetched.mar" in said


def test_a_canary_is_refused(shared: Place) -> None:
    with pytest.raises(UserError, match="TorchServe does not count that"):
        TorchServe(replace(settings(shared), canary=10))
