"""Versions that prove themselves: served under load without a failed answer, and nothing left over."""

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
from continuous_training.rollout.kubernetes.manifests import (
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    DeployedVersion,
)
from tests.continuous_training.serving.toy_models import make_archive

from .callers import calling
from .place import Place


def test_a_better_version_takes_over_under_load(shared: Place, tmp_path: Path) -> None:
    one, two = make_archive(tmp_path, name="better"), make_archive(tmp_path, name="better", scale=3)
    cluster, champions = shared.cluster, []
    target = shared.deploy(one)
    assert shared.answers(one)
    assert target.url("better") == f"http://better.{shared.namespace}.svc/predict/better"
    with calling(shared, "better", {"x": [1.0]}) as called:
        shared.deploy(two, lambda: champions.append("two"))
        assert shared.answers(two)
        shared.wait_until_gone(one)
    assert called.faults == []
    assert set(called.answered) == {one.digest, two.digest}
    assert champions == ["two"]

    old, new = DeployedVersion("better", one.digest), DeployedVersion("better", two.digest)
    assert cluster.get(DEPLOYMENT, old.deployment_name) is None
    made = cluster.get(DEPLOYMENT, new.deployment_name)
    assert made is not None
    scaler, service = cluster.get(AUTOSCALER, new.deployment_name), cluster.get(SERVICE, "better")
    assert scaler is not None
    assert service is not None
    assert scaler["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert cluster.get(SERVICE, "better-trial") is None
    annotations = service["metadata"]["annotations"]
    assert annotations[SERVED_ANNOTATION] == annotations[CONFIRMED_ANNOTATION] == two.digest
    assert service["spec"]["selector"] == new.pod_labels
    budget = cluster.get(DISRUPTION_BUDGET, "better")
    assert budget is not None
    assert budget["spec"]["selector"]["matchLabels"].items() <= new.pod_labels.items()


def test_the_same_version_again_changes_nothing(shared: Place, tmp_path: Path) -> None:
    archive = make_archive(tmp_path, name="again")
    shared.deploy(archive)
    version = DeployedVersion("again", archive.digest)

    def pods() -> set[str]:
        return {pod["metadata"]["uid"] for pod in shared.cluster.find(POD, "continuous-training/model=again")}

    before, generation = pods(), _generation(shared, version)
    shared.deploy(archive)
    assert shared.answers(archive)
    assert (pods(), _generation(shared, version)) == (before, generation)


def _generation(place: Place, version: DeployedVersion) -> int:
    found = place.cluster.get(DEPLOYMENT, version.deployment_name)
    assert found is not None
    return int(found["metadata"]["generation"])


def test_a_changed_setting_of_the_served_version_replaces_its_pods_under_load(
    shared: Place, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="changed")
    shared.deploy(archive)
    with calling(shared, "changed", {"x": [1.0]}) as called:
        shared.deploy(archive, memory="300Mi")
    assert called.faults == []
    (pod,) = [
        pod
        for pod in shared.cluster.find(POD, "continuous-training/model=changed")
        if not pod["metadata"].get("deletionTimestamp")
    ]
    assert pod["spec"]["containers"][0]["resources"]["limits"]["memory"] == "300Mi"


def test_half_of_the_servers_may_go_at_once(shared: Place, tmp_path: Path) -> None:
    archive = make_archive(tmp_path, name="half")
    shared.deploy(archive, replicas=2)
    with calling(shared, "half", {"x": [1.0]}) as called:
        pod, *_ = shared.cluster.find(POD, "continuous-training/model=half")
        shared.kubectl("delete", "pod", pod["metadata"]["name"], "--wait=true")
        shared.kubectl(
            "rollout", "status", "deployment", DeployedVersion("half", archive.digest).deployment_name
        )
    assert called.faults == []
    assert set(called.answered) == {archive.digest}


@pytest.mark.parametrize("name", ["Upper", "under_score", "x" * 51])
def test_a_name_that_no_service_may_have_is_told(shared: Place, tmp_path: Path, name: str) -> None:
    archive = make_archive(tmp_path, name=name)
    with pytest.raises(ValueError, match="cannot be served on Kubernetes: a Service's name is small letters"):
        shared.deploy(archive)
