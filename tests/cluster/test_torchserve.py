"""The objects of the TorchServe runtime on a real cluster; no TorchServe image runs here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD
from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kubernetes import serving_objects
from continuous_training.rollout.kubernetes.serving_runtimes import TorchServe
from continuous_training.rollout.trial import DeployedVersion
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ClusterNamespace, tagged_image

LIST_MODELS = (
    "import pathlib; folder = pathlib.Path('/models'); print(sorted(f.name for f in folder.iterdir())); "
    "print((folder / 'config.properties').read_text())"
)


def torchserve_settings(namespace: ClusterNamespace) -> ServingSettings:
    return replace(namespace.settings, torchserve_image=tagged_image("torchserve", "some-tag"))


def test_restricted_namespace_accepts_the_objects(shared_namespace: ClusterNamespace, tmp_path: Path) -> None:
    cluster, archive = shared_namespace.cluster, make_archive(tmp_path, name="torch")
    version = DeployedVersion("torch", archive.digest)
    pod = TorchServe(torchserve_settings(shared_namespace)).pod(version)
    cluster.apply(DEPLOYMENT, serving_objects.deployment(version, 1, pod), dry_run=True)
    # The API server checks the security standard of a pod, but not of a Deployment.
    cluster.apply(POD, {"metadata": {"name": "torch"}, "spec": pod}, dry_run=True)


def test_init_container_downloads_the_archive_and_writes_the_configuration(
    shared_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    namespace = shared_namespace
    archive = namespace.store_archive(make_archive(tmp_path, name="fetched"))
    runtime = TorchServe(torchserve_settings(namespace))
    pod = runtime.pod(DeployedVersion("fetched", archive.digest))
    (init_container,) = pod["initContainers"]
    command = ["python", "-c", LIST_MODELS]
    container = {**pod["containers"][0], "image": init_container["image"], "command": command}
    for key in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        container.pop(key)
    pod |= {"containers": [container], "restartPolicy": "Never"}
    namespace.cluster.create(POD, {"metadata": {"name": "fetched"}, "spec": pod})
    namespace.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/fetched", "--timeout=90s")
    log = "\n".join(namespace.cluster.logs("fetched", "server", lines=100))
    assert "['config.properties', 'fetched.mar']" in log
    assert "inference_address=http://0.0.0.0:8080" in log
    assert "management_address=http://127.0.0.1:8081" in log
    assert "load_models=fetched.mar" in log


def test_canary_is_a_user_error(shared_namespace: ClusterNamespace) -> None:
    with pytest.raises(UserError, match="CT_CANARY"):
        TorchServe(replace(torchserve_settings(shared_namespace), canary=10))
