"""Successful rollouts on Kubernetes: no request fails under load, and no old objects remain."""

from __future__ import annotations

from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.resources import (
    AUTOSCALER,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    POD,
    SERVICE,
)
from continuous_training.core.errors import UserError
from continuous_training.rollout.kubernetes.serving_objects import (
    CONFIRMED_ANNOTATION,
    MODEL_LABEL,
    SERVED_ANNOTATION,
    pod_labels,
)
from continuous_training.rollout.trial import DeployedVersion
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import ClusterNamespace
from .load_generator import generate_load

REQUEST = {"x": [1.0]}


def test_new_version_replaces_the_previous_one_under_load(
    shared_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    namespace, name = shared_namespace, "better"
    first, second = make_archive(tmp_path, name=name), make_archive(tmp_path, name=name, scale=3)
    champions: list[str] = []
    target = namespace.deploy(first)
    assert namespace.serves(first)
    assert target.url(name) == f"http://better.{namespace.name}.svc/predict/better"
    with generate_load(namespace, name, REQUEST) as load:
        namespace.deploy(second, lambda: champions.append("second"))
        assert namespace.serves(second)
        namespace.wait_until_pods_are_deleted(first)
    assert load.errors == []
    assert set(load.digests) == {first.digest, second.digest}
    assert champions == ["second"]
    check_objects(namespace, DeployedVersion(name, first.digest), DeployedVersion(name, second.digest))


def check_objects(namespace: ClusterNamespace, previous: DeployedVersion, served: DeployedVersion) -> None:
    """Assert that the objects of the served version exist and the previous version has no objects."""
    cluster, name = namespace.cluster, served.name
    assert cluster.get(DEPLOYMENT, previous.deployment_name) is None
    deployment = cluster.get(DEPLOYMENT, served.deployment_name)
    assert deployment is not None
    autoscaler, service = cluster.get(AUTOSCALER, served.deployment_name), cluster.get(SERVICE, name)
    assert autoscaler is not None
    assert service is not None
    assert autoscaler["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"]
    assert cluster.get(SERVICE, f"{name}-trial") is None
    annotations = service["metadata"]["annotations"]
    assert annotations[SERVED_ANNOTATION] == annotations[CONFIRMED_ANNOTATION] == served.digest
    assert service["spec"]["selector"] == pod_labels(served)
    budget = cluster.get(DISRUPTION_BUDGET, name)
    assert budget is not None
    assert budget["spec"]["selector"]["matchLabels"].items() <= pod_labels(served).items()


def test_deploying_the_same_version_twice_changes_nothing(
    shared_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    namespace, archive = shared_namespace, make_archive(tmp_path, name="again")
    namespace.deploy(archive)
    version = DeployedVersion("again", archive.digest)

    def pod_uids() -> set[str]:
        return {pod["metadata"]["uid"] for pod in namespace.cluster.find(POD, f"{MODEL_LABEL}=again")}

    before = pod_uids(), generation(namespace, version)
    namespace.deploy(archive)
    assert namespace.serves(archive)
    assert (pod_uids(), generation(namespace, version)) == before


def generation(namespace: ClusterNamespace, version: DeployedVersion) -> int:
    """Return the generation of a version's Deployment."""
    deployment = namespace.cluster.get(DEPLOYMENT, version.deployment_name)
    assert deployment is not None
    return int(deployment["metadata"]["generation"])


def test_changed_setting_of_the_served_version_replaces_its_pods_under_load(
    shared_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    namespace, archive = shared_namespace, make_archive(tmp_path, name="changed")
    namespace.deploy(archive)
    with generate_load(namespace, "changed", REQUEST) as load:
        namespace.deploy(archive, memory="300Mi")
    assert load.errors == []
    (pod,) = [
        pod
        for pod in namespace.cluster.find(POD, f"{MODEL_LABEL}=changed")
        if not pod["metadata"].get("deletionTimestamp")
    ]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "300Mi"


def test_deleted_pod_fails_no_request(shared_namespace: ClusterNamespace, tmp_path: Path) -> None:
    namespace, archive = shared_namespace, make_archive(tmp_path, name="half")
    namespace.deploy(archive, replicas=2)
    version = DeployedVersion("half", archive.digest)
    with generate_load(namespace, "half", REQUEST) as load:
        pod, *_ = namespace.cluster.find(POD, f"{MODEL_LABEL}=half")
        namespace.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=true")
        namespace.kubectl("rollout", "status", "deployment", version.deployment_name)
    assert load.errors == []
    assert set(load.digests) == {archive.digest}


@pytest.mark.parametrize("name", ["Upper", "under_score", "x" * 51])
def test_invalid_service_name_is_a_user_error(
    shared_namespace: ClusterNamespace, tmp_path: Path, name: str
) -> None:
    archive = make_archive(tmp_path, name=name)
    with pytest.raises(UserError, match="cannot be served on Kubernetes"):
        shared_namespace.deploy(archive)
