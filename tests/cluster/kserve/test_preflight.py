"""The preflight of KServe: the definition alone is not enough for a rollout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from continuous_training.adapters.kubernetes.resources import DEPLOYMENT, Resource
from continuous_training.kubeflow.preflight import kserve_check
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.kserve_check import check_kserve
from continuous_training.rollout.kserve import cpu_limit
from continuous_training.rollout.kserve.inference_service import INFERENCE_SERVICE, inference_service
from continuous_training.rollout.kubernetes.serving_objects import deployment
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.trial import DeployedVersion

from ..cluster_namespace import MISSING_IMAGE, ClusterNamespace
from . import crd
from .unavailable_webhook import unavailable_webhook

DRY_RUN = "a dry run of an InferenceService with these settings"


@pytest.fixture
def namespace(own_namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterNamespace]:
    """A namespace with the definition of InferenceServices, in which KServe's controller would run."""
    own_namespace.cluster.transport.retry_budget = 1.0
    monkeypatch.setattr(kserve_check, "CONFIG_MAP_NAMESPACES", ("no-such-namespace", own_namespace.name))
    with crd.installed(own_namespace.cluster):
        yield own_namespace


def findings(namespace: ClusterNamespace, **changes: object) -> dict[str, Finding]:
    settings = replace(namespace.settings, **changes)  # type: ignore[arg-type]
    return {finding.requirement: finding for finding in check_kserve(namespace.cluster, settings)}


def test_a_missing_controller_is_reported(namespace: ClusterNamespace) -> None:
    finding = findings(namespace)["KServe's controller"]
    assert finding.state == State.WARNING
    assert f"namespace no-such-namespace or {namespace.name}" in finding.advice


def test_a_controller_without_a_pod_is_missing(namespace: ClusterNamespace) -> None:
    settings = replace(namespace.settings, image=MISSING_IMAGE)
    version = DeployedVersion("kserve", "0" * 64)
    manifest = deployment(version, 1, ModelServer(settings).pod(version))
    manifest["metadata"]["name"] = kserve_check.CONTROLLER
    namespace.cluster.apply(DEPLOYMENT, manifest)
    finding = findings(namespace)["KServe's controller"]
    assert finding.state == State.MISSING
    assert finding.advice.endswith(
        f"kubectl -n {namespace.name} describe deployment kserve-controller-manager"
    )


def test_a_valid_configuration_creates_nothing(namespace: ClusterNamespace) -> None:
    assert findings(namespace, cpu="1500m")[DRY_RUN].state == State.OK
    assert not namespace.cluster.find(INFERENCE_SERVICE)
    assert not namespace.cluster.find(DEPLOYMENT)


def test_a_webhook_that_does_not_answer_is_reported(namespace: ClusterNamespace) -> None:
    version = DeployedVersion("any", "0" * 64)
    pod_spec = ModelServer(namespace.settings).pod(version)
    service = inference_service("any", version, pod_spec, namespace.settings, "Standard")
    with unavailable_webhook(namespace, service):
        finding = findings(namespace)[DRY_RUN]
    assert finding.state == State.MISSING
    assert "failed calling webhook" in finding.advice


def test_a_cpu_request_above_the_default_limit_is_reported(
    namespace: ClusterNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dry run of the InferenceService returns the limit that KServe's webhook adds."""
    monkeypatch.setattr(cpu_limit, "DEFAULT_LIMIT", 2)
    apply = namespace.cluster.apply

    def apply_with_default(resource: Resource, manifest: dict, dry_run: bool = False) -> dict:  # type: ignore[type-arg]
        applied = apply(resource, manifest, dry_run)
        if resource == INFERENCE_SERVICE:
            applied["spec"]["predictor"]["containers"][0]["resources"]["limits"]["cpu"] = "1"
        return applied

    monkeypatch.setattr(namespace.cluster, "apply", apply_with_default)
    finding = findings(namespace, cpu="1500m")[DRY_RUN]
    assert finding.state == State.MISSING
    assert "must be less than or equal to cpu limit" in finding.advice
