"""Failed rollouts on Kubernetes: the previous version answers again, and the error states the cause."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD, SERVICE
from continuous_training.artifacts.archive_writer import Archive
from continuous_training.core.errors import (
    PipelineError,
    RolloutReverted,
    TransientError,
    UnsettledError,
    UserError,
)
from continuous_training.rollout.kubernetes.readiness import pods_of
from continuous_training.rollout.kubernetes.serving_objects import (
    CONFIRMED_ANNOTATION,
    MODEL_LABEL,
    SERVED_ANNOTATION,
    deployment,
    pod_labels,
)
from continuous_training.rollout.trial import DeployedVersion
from tests.continuous_training.serving.toy_models import make_archive

from .cluster_namespace import MISSING_IMAGE, QUOTA, ClusterNamespace, shipped_rules
from .policies import POLICY_MESSAGE, denied_changes
from .quotas import limit_pods, lose_a_pod

pytestmark = pytest.mark.usefixtures("short_grace_periods")


def failed_rollout(namespace: ClusterNamespace, archive: Archive, previous: Archive, **changes: Any) -> str:
    """Deploy an archive that must fail; return the error message after the check of the previous state."""
    with pytest.raises(RolloutReverted) as raised:
        namespace.deploy(archive, pytest.fail, **changes)
    message = str(raised.value)
    print(message)
    check_previous_state(namespace, previous, archive)
    assert f"the previous version {previous.digest[:12]} answers again, as before" in message
    return message


def check_previous_state(namespace: ClusterNamespace, previous: Archive, archive: Archive) -> None:
    """Assert that the previous version is served, and that no object of the failed version is left."""
    assert namespace.serves(previous)
    service = namespace.cluster.get(SERVICE, previous.name)
    assert service is not None
    annotations = service["metadata"]["annotations"]
    assert annotations[SERVED_ANNOTATION] == annotations[CONFIRMED_ANNOTATION] == previous.digest
    assert namespace.cluster.get(SERVICE, f"{previous.name}-trial") is None
    failed = DeployedVersion(archive.name, archive.digest)
    assert namespace.cluster.get(DEPLOYMENT, failed.deployment_name) is None


def test_previous_version_without_all_of_its_pods_is_not_reported_as_restored(
    own_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    """A pod of the previous version is lost during the rollout, and a quota prevents its replacement."""
    served, archive = make_archive(tmp_path, name="lossy"), make_archive(tmp_path, name="lossy", scale=3)
    own_namespace.deploy(served, replicas=2)

    def lose_a_pod() -> None:
        own_namespace.cluster.apply(QUOTA, {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}})
        labels = pod_labels(DeployedVersion(served.name, served.digest))
        pod = pods_of(own_namespace.cluster, labels)[0]["metadata"]["name"]
        own_namespace.kubectl("delete", "pod", pod, "--now")
        raise PipelineError("the registry failed")

    with pytest.raises(UnsettledError, match=r"was not verified to answer again: .*exceeded quota") as raised:
        own_namespace.deploy(archive, lose_a_pod)
    assert raised.value.exit_code == 6
    own_namespace.cluster.delete(QUOTA, "tight")
    # Kubernetes itself would try again late, because its last attempt failed.
    wrong = make_archive(tmp_path, name="lossy", scale=4, wrong=True)
    failed_rollout(own_namespace, wrong, served)


def test_previous_version_gets_the_room_of_the_failed_version(
    own_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    """A pod of the previous version is lost, and the quota has no room for it while the new version runs."""
    served, archive = make_archive(tmp_path, name="lossy"), make_archive(tmp_path, name="lossy", scale=3)
    own_namespace.deploy(served, replicas=2)

    def lose_room() -> None:
        limit_pods(own_namespace, 2)
        lose_a_pod(own_namespace, served)
        raise RolloutReverted("the registry failed")

    with pytest.raises(RolloutReverted, match=r"the previous version \w+ answers again, as before"):
        own_namespace.deploy(archive, lose_room, replicas=2)
    check_previous_state(own_namespace, served, archive)


def test_missing_image_reverts_the_rollout(
    shared_namespace: ClusterNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="steady", scale=3)
    message = failed_rollout(shared_namespace, archive, served, image=MISSING_IMAGE)
    assert "did not become ready: " in message
    assert "; pod steady-" in message
    assert "ImagePull" in message
    assert MISSING_IMAGE in message
    assert "last events: " in message


def test_crash_because_of_wrong_golden_responses_reverts_the_rollout(
    shared_namespace: ClusterNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="steady", scale=4, wrong=True)
    message = failed_rollout(shared_namespace, archive, served)
    assert " ended " in message
    assert "exit code 4" in message or "exit code 2" in message or "exit code 1" in message
    assert "last log lines: " in message
    assert "golden request 1" in message


def test_wrong_responses_of_a_ready_version_revert_the_rollout(
    shared_namespace: ClusterNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="steady", scale=5, drifts_after=8)
    message = failed_rollout(shared_namespace, archive, served)
    assert "its golden requests failed" in message
    assert "expected 5" in message


def test_pod_that_cannot_be_scheduled_reverts_the_rollout(
    shared_namespace: ClusterNamespace, served: Archive, tmp_path: Path
) -> None:
    archive = make_archive(tmp_path, name="steady", scale=6)
    message = failed_rollout(shared_namespace, archive, served, cpu="1000", deadline=10)
    assert "did not become ready within the 10 s of CT_ROLLOUT_DEADLINE: " in message
    assert "pod steady-" in message
    assert "Insufficient cpu" in message


def test_wrong_setting_of_the_served_version_is_reverted(
    shared_namespace: ClusterNamespace, served: Archive
) -> None:
    """Both settings use the same Deployment, so the rollout applies its previous manifest again."""
    version = DeployedVersion("steady", served.digest)
    before = shared_namespace.cluster.get(DEPLOYMENT, version.deployment_name)
    with pytest.raises(RolloutReverted, match="ImagePull"):
        shared_namespace.deploy(served, pytest.fail, image=MISSING_IMAGE)
    after = shared_namespace.cluster.get(DEPLOYMENT, version.deployment_name)
    assert before is not None
    assert after is not None
    assert after["spec"]["template"] == before["spec"]["template"]
    assert shared_namespace.serves(served)


def test_failed_first_version_leaves_no_objects(shared_namespace: ClusterNamespace, tmp_path: Path) -> None:
    archive = make_archive(tmp_path, name="first", wrong=True)
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is served now"):
        shared_namespace.deploy(archive, pytest.fail)
    for kind in (DEPLOYMENT, SERVICE):
        assert shared_namespace.cluster.find(kind, f"{MODEL_LABEL}=first") == []


def test_unavailable_registry_reverts_the_switch(
    shared_namespace: ClusterNamespace, served: Archive, tmp_path: Path
) -> None:
    """The alias cannot be set after the traffic has moved."""
    archive = make_archive(tmp_path, name="steady", scale=7)

    def fail() -> None:
        assert shared_namespace.serves(archive)
        raise TransientError("the registry is unavailable")

    with pytest.raises(TransientError, match=r"unavailable; the previous version \w+ answers again"):
        shared_namespace.deploy(archive, fail)
    check_previous_state(shared_namespace, served, archive)


@pytest.fixture
def served_in_own_namespace(
    own_namespace: ClusterNamespace, tmp_path: Path
) -> tuple[ClusterNamespace, Archive]:
    """A namespace for one test, with the version that it serves."""
    archive = make_archive(tmp_path, name="small")
    own_namespace.deploy(archive)
    return own_namespace, archive


def test_requests_that_the_api_server_denies_revert_the_rollout(
    served_in_own_namespace: tuple[ClusterNamespace, Archive], tmp_path: Path
) -> None:
    """A quota, an admission policy and missing permissions, one after the other in one namespace."""
    namespace, previous = served_in_own_namespace
    archive = make_archive(tmp_path, name="small", scale=3)

    namespace.cluster.apply(QUOTA, {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}})
    message = failed_rollout(namespace, archive, previous)
    assert "pods cannot be created: " in message
    assert "exceeded quota: tight" in message
    namespace.cluster.delete(QUOTA, "tight")

    with denied_deployments(namespace, archive):
        message = failed_rollout(namespace, archive, previous)
    assert "apply Deployment small-" in message
    assert POLICY_MESSAGE in message

    for missing_verb, resource, expected in (
        ("patch", "deployments", "verb patch on deployments of API group 'apps'"),
        ("patch", "horizontalpodautoscalers", "verb patch on horizontal"),
    ):
        target = namespace.target(cluster_without(namespace, missing_verb, resource))
        with pytest.raises(RolloutReverted) as raised:
            namespace.deploy(archive, pytest.fail, target=target)
        assert expected in str(raised.value)
        assert "manifests/base/role.yaml" in str(raised.value)
        check_previous_state(namespace, previous, archive)

    target = namespace.target(cluster_without(namespace, "", "leases"))
    with pytest.raises(UserError, match="verb get on leases"):
        namespace.deploy(archive, pytest.fail, target=target)
    check_previous_state(namespace, previous, archive)
    namespace.deploy(archive, target=namespace.target(cluster_without(namespace, "", "")))
    assert namespace.serves(archive)
    pods = namespace.cluster.find(POD, f"{MODEL_LABEL}=small")
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods)


def denied_deployments(namespace: ClusterNamespace, archive: Archive) -> AbstractContextManager[None]:
    """Deny Deployments in the namespace with an admission policy."""
    version = DeployedVersion("small", archive.digest)
    manifest = deployment(version, 1, namespace.target().runtime.pod(version))
    return denied_changes(
        namespace, DEPLOYMENT, lambda: namespace.cluster.apply(DEPLOYMENT, manifest, dry_run=True)
    )


def cluster_without(namespace: ClusterNamespace, missing_verb: str, resource: str) -> Cluster:
    """Return the cluster with the permissions of the shipped Role, without a verb (or all) on a resource.

    This process is not in the cluster, so it also needs the API server's proxy to Services and pods.
    """
    rules = []
    for rule in shipped_rules():
        is_reduced = resource in rule["resources"]
        allowed_verbs = [
            name for name in rule["verbs"] if not is_reduced or (missing_verb and name != missing_verb)
        ]
        rules += [{**rule, "verbs": allowed_verbs}] if allowed_verbs else []
    rules.append({"apiGroups": [""], "resources": ["services/proxy", "pods/proxy"], "verbs": ["create"]})
    namespace.create_account(rules, "limited")
    token = namespace.kubectl("create", "token", "limited").strip()
    admin = namespace.cluster.transport.api.configuration
    configuration = Configuration()
    configuration.host, configuration.ssl_ca_cert = admin.host, admin.ssl_ca_cert
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return Cluster(ApiClient(configuration), namespace.name, caller="the service account limited")
