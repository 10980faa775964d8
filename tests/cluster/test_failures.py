"""Versions that do not come up or do not prove themselves: the former one answers, and the cause is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, POD, SERVICE, Resource
from continuous_training.artifacts.archive import Archive
from continuous_training.core.errors import PipelineError, RolloutReverted, TransientError, UserError
from continuous_training.rollout.kubernetes import pod_diagnostics
from continuous_training.rollout.kubernetes.manifests import (
    CONFIRMED_ANNOTATION,
    SERVED_ANNOTATION,
    DeployedVersion,
    deployment,
)
from tests.continuous_training.serving.toy_models import make_archive

from .place import Place, shipped_rules, tagged
from .waiting import eventually

QUOTA = Resource("v1", "ResourceQuota", "resourcequotas")
POLICY = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)
BINDING = Resource(
    "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding",
    "validatingadmissionpolicybindings",
    namespaced=False,
)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up on a trouble that will not end sooner than in the field."""
    monkeypatch.setattr(pod_diagnostics, "IMAGE_GRACE", 5.0)
    monkeypatch.setattr(pod_diagnostics, "CRASH_GRACE", 3.0)
    monkeypatch.setattr(pod_diagnostics, "CREATION_GRACE", 3.0)


def refused(place: Place, archive: Archive, former: Archive, **changes: Any) -> str:
    """Roll out what must fail; returns the error's words once all is seen to be as it was."""
    with pytest.raises(RolloutReverted) as told:
        place.deploy(archive, pytest.fail, **changes)
    message = str(told.value)
    print(message)
    as_it_was(place, former, archive)
    assert f"the former version {former.digest[:12]} answers again, as it did before" in message
    return message


def as_it_was(place: Place, former: Archive, archive: Archive) -> None:
    assert place.answers(former)
    service = place.cluster.get(SERVICE, former.name)
    assert service is not None
    annotations = service["metadata"]["annotations"]
    assert annotations[SERVED_ANNOTATION] == annotations[CONFIRMED_ANNOTATION] == former.digest
    assert place.cluster.get(SERVICE, f"{former.name}-trial") is None
    assert (
        place.cluster.get(DEPLOYMENT, DeployedVersion(archive.name, archive.digest).deployment_name) is None
    )


def test_an_image_that_is_not_there(shared: Place, served: Archive, tmp_path: Path) -> None:
    new = make_archive(tmp_path, name="steady", scale=3)
    missing = tagged("serving", "no-such-tag")
    message = refused(shared, new, served, image=missing)
    assert "it did not come up: pod steady-" in message
    assert "ImagePull" in message
    assert missing in message
    assert "the last events: " in message


def test_a_pod_that_crashes_since_its_golden_answers_are_others(
    shared: Place, served: Archive, tmp_path: Path
) -> None:
    new = make_archive(tmp_path, name="steady", scale=4, wrong=True)
    message = refused(shared, new, served)
    assert "has ended " in message
    assert "exit code 4" in message or "exit code 2" in message or "exit code 1" in message
    assert "the last lines of its log: " in message
    assert "golden request 1" in message


def test_a_version_that_answers_wrongly_once_it_is_up(shared: Place, served: Archive, tmp_path: Path) -> None:
    new = make_archive(tmp_path, name="steady", scale=5, drifts_after=8)
    message = refused(shared, new, served)
    assert "its golden requests are answered wrongly" in message
    assert "expected 5" in message


def test_a_pod_that_no_node_takes(shared: Place, served: Archive, tmp_path: Path) -> None:
    new = make_archive(tmp_path, name="steady", scale=6)
    message = refused(shared, new, served, cpu="1000", deadline=10)
    assert "did not come up within the 10 s of CT_ROLLOUT_DEADLINE: no node takes pod steady-" in message
    assert "Insufficient cpu" in message


def test_a_broken_setting_of_the_served_version_is_taken_back(shared: Place, served: Archive) -> None:
    """The version is the same, so its Deployment is: what it was before is applied again."""
    version = DeployedVersion("steady", served.digest)
    before = shared.cluster.get(DEPLOYMENT, version.deployment_name)
    missing = tagged("serving", "no-such-tag")
    with pytest.raises(RolloutReverted, match="ImagePull"):
        shared.deploy(served, pytest.fail, image=missing)
    after = shared.cluster.get(DEPLOYMENT, version.deployment_name)
    assert before is not None
    assert after is not None
    assert after["spec"]["template"] == before["spec"]["template"]
    assert shared.answers(served)


def test_a_first_version_that_fails_leaves_nothing(shared: Place, tmp_path: Path) -> None:
    new = make_archive(tmp_path, name="first", wrong=True)
    with pytest.raises(RolloutReverted, match="nothing was served before, and nothing is now"):
        shared.deploy(new, pytest.fail)
    labels = "continuous-training/model=first"
    for kind in (DEPLOYMENT, SERVICE):
        assert shared.cluster.find(kind, labels) == []


def test_a_registry_that_will_not_have_it(shared: Place, served: Archive, tmp_path: Path) -> None:
    """The traffic has moved already when the alias is refused: it goes back."""
    new = make_archive(tmp_path, name="steady", scale=7)

    def refuse() -> None:
        assert shared.answers(new)
        raise TransientError("the registry is away")

    with pytest.raises(TransientError, match=r"registry is away; the former version \w+ answers again"):
        shared.deploy(new, refuse)
    as_it_was(shared, served, new)


@pytest.fixture
def small(own: Place, tmp_path: Path) -> tuple[Place, Archive]:
    """A namespace of its own, with a version that is served."""
    archive = make_archive(tmp_path, name="small")
    own.deploy(archive)
    return own, archive


def test_what_the_cluster_will_not_have(small: tuple[Place, Archive], tmp_path: Path) -> None:
    """A quota, a policy and a Role with one rule missing, one after the other in one namespace."""
    place, former = small
    new = make_archive(tmp_path, name="small", scale=3)

    place.cluster.apply(QUOTA, {"metadata": {"name": "tight"}, "spec": {"hard": {"pods": "1"}}})
    message = refused(place, new, former)
    assert "pods cannot be made: " in message
    assert "exceeded quota: tight" in message
    place.cluster.delete(QUOTA, "tight")

    with denying(place, new):
        message = refused(place, new, former)
    assert "Kubernetes refused to apply Deployment small-" in message
    assert "no rollouts on Fridays" in message

    for without, words in ((("patch", "deployments"), "verb patch on deployments of API group 'apps'"),
                           (("patch", "horizontalpodautoscalers"), "verb patch on horizontal")):  # fmt: skip
        with pytest.raises(RolloutReverted) as told:
            place.deploy(new, pytest.fail, target=place.target(limited(place, *without)))
        assert words in str(told.value)
        assert "manifests/base/role.yaml" in str(told.value)
        as_it_was(place, former, new)

    with pytest.raises(UserError, match="verb get on leases"):
        place.deploy(new, pytest.fail, target=place.target(limited(place, "", "leases")))
    as_it_was(place, former, new)
    place.deploy(new, target=place.target(limited(place, "", "")))
    assert place.answers(new)
    pods = place.cluster.find(POD, "continuous-training/model=small")
    assert all(pod["spec"]["automountServiceAccountToken"] is False for pod in pods)


@contextmanager
def denying(place: Place, archive: Archive) -> Iterator[None]:
    """Have a policy, of this namespace alone, that denies Deployments."""
    name = place.namespace
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": "no rollouts on Fridays"}],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    place.cluster.apply(POLICY, {"metadata": {"name": name}, "spec": spec})
    place.cluster.apply(BINDING, {"metadata": {"name": name}, "spec": bound})
    try:
        assert eventually(lambda: _denied(place, archive)), "the policy denies nothing"
        yield
    finally:
        place.cluster.delete(BINDING, name)
        place.cluster.delete(POLICY, name)
    assert eventually(lambda: not _denied(place, archive)), "the policy denies still"


def _denied(place: Place, archive: Archive) -> bool:
    """Tell what the server does now: it hears of a policy, and of its end, a moment later."""
    version, target = DeployedVersion("small", archive.digest), place.target()
    try:
        place.cluster.apply(DEPLOYMENT, deployment(version, 1, target.runtime.pod(version)), dry_run=True)
    except PipelineError:
        return True
    return False


def limited(place: Place, verb: str, resource: str) -> Any:
    """Return the cluster as a caller with the shipped Role sees it, less a verb (or all) on a resource.

    From outside of the cluster it needs the API server's proxy to Services, too.
    """
    rules = []
    for rule in shipped_rules():
        less = resource in rule["resources"]
        verbs = [one for one in rule["verbs"] if not less or (verb and one != verb)]
        rules += [{**rule, "verbs": verbs}] if verbs else []
    rules.append({"apiGroups": [""], "resources": ["services/proxy"], "verbs": ["create"]})
    place.account(rules, "limited")
    token = place.kubectl("create", "token", "limited").strip()
    return replace_token(place, token)


def replace_token(place: Place, token: str) -> Any:
    from kubernetes.client import ApiClient, Configuration

    from continuous_training.adapters.kubernetes.client import Cluster

    admin = place.cluster.transport.api.configuration
    configuration = Configuration()
    configuration.host, configuration.ssl_ca_cert = admin.host, admin.ssl_ca_cert
    configuration.api_key = {"authorization": f"Bearer {token}"}
    return Cluster(ApiClient(configuration), place.namespace, who="the service account limited")
