"""A rollout never changes a Service or a PodDisruptionBudget of another owner, regardless of its name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.object_store import FolderStore
from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.kubeflow.preflight.configuration import check_model_name
from continuous_training.kubeflow.preflight.finding import State
from continuous_training.rollout.kubernetes.serving_objects import disruption_budget, endpoint_service
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.kubernetes.target import KubernetesTarget
from continuous_training.rollout.trial import DeployedVersion
from tests.compatibility import kubernetes_api
from tests.compatibility.kubernetes_api import Api

DIGEST = "ab" * 32
SETTINGS = ServingSettings(image="registry.example/serving@sha256:" + "cd" * 32, store="s3://models/ct")


def stored(kind: str, manifest: dict[str, object]) -> dict[str, object]:
    metadata = {**manifest["metadata"], "uid": "1", "resourceVersion": "1"}  # type: ignore[dict-item]
    return {"kind": kind, **manifest, "metadata": metadata}


OTHER_SERVICE = {"metadata": {"name": "mysql", "labels": {"app": "mysql"}}, "spec": {}}
REGISTRY = {
    "metadata": {"name": "mysql", "labels": {"app.kubernetes.io/part-of": "continuous-training"}},
    "spec": {},
}
OTHER_TRIAL = {"metadata": {"name": "mysql-trial"}, "spec": {}}
OTHER_BUDGET = {"metadata": {"name": "mysql"}, "spec": {}}


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    api = Api(tmp_path / "archives")
    with kubernetes_api.serve(api):
        yield api


@pytest.fixture
def cluster(api: Api, tmp_path: Path) -> Cluster:
    return connect("models", str(kubernetes_api.kubeconfig(api, tmp_path / "kubeconfig.json")), "")


@pytest.fixture
def target(cluster: Cluster, tmp_path: Path) -> KubernetesTarget:
    return KubernetesTarget(cluster, SETTINGS, FolderStore(tmp_path), print, ModelServer(SETTINGS))


@pytest.mark.parametrize(
    ("kind", "manifest", "text"),
    [
        ("Service", OTHER_SERVICE, "Service mysql of another owner"),
        ("Service", REGISTRY, "Service mysql of another owner"),
        ("Service", OTHER_TRIAL, "Service mysql-trial of another owner"),
        ("PodDisruptionBudget", OTHER_BUDGET, "PodDisruptionBudget mysql of another owner"),
    ],
)
def test_an_object_of_another_owner_is_not_changed(
    api: Api, target: KubernetesTarget, kind: str, manifest: dict[str, object], text: str
) -> None:
    api.load([stored(kind, manifest)])
    before = api.snapshot()
    with pytest.raises(UserError, match=text) as raised, target.rollout_lock("mysql", print):
        pytest.fail("the lock was acquired")
    assert "Nothing was changed. Rename the workload" in str(raised.value)
    assert (api.writes, api.snapshot()) == ([], before)
    finding = check_model_name(target.cluster, "mysql")
    assert finding.state == State.MISSING
    assert text.replace(" of another owner", " has another owner") in finding.advice


def test_objects_of_rollouts_are_accepted(api: Api, target: KubernetesTarget) -> None:
    version = DeployedVersion("mysql", DIGEST)
    api.load(
        [
            stored("Service", endpoint_service(version, DIGEST)),
            stored("PodDisruptionBudget", disruption_budget("mysql")),
        ]
    )
    assert check_model_name(target.cluster, "mysql").state == State.OK
    with target.rollout_lock("mysql", print):
        assert target.served_digest("mysql") == DIGEST
    assert check_model_name(target.cluster, "unused").state == State.OK
