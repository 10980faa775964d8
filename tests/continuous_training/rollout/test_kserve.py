"""The InferenceServices of the KServe target, their deployment mode, and the status of their rollout."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kserve.deployment_mode import (
    MODE_ANNOTATION,
    configured_mode,
    is_standard,
    mode_of,
)
from continuous_training.rollout.kserve.inference_service import (
    PREVIOUS_MANIFEST_ANNOTATION,
    STOP_ANNOTATION,
    TEMPLATE_LABEL,
    confirmed_trial_manifest,
    inference_service,
    is_confirmed,
    previous_manifest,
    restorable_manifest,
    served_digest,
    stopped_trial_manifest,
    trial_manifest,
    with_canary,
    without_additional_pods,
)
from continuous_training.rollout.kserve.predictor import Predictor, rollout_status
from continuous_training.rollout.kserve.standard_canary import endpoint_slice
from continuous_training.rollout.kubernetes.service_client import InClusterClient
from continuous_training.rollout.kubernetes.serving_objects import DIGEST_LABEL, Manifest
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer
from continuous_training.rollout.trial import DeployedVersion

VERSION = DeployedVersion("digits", "ab" * 32)
SETTINGS = ServingSettings(
    image="registry.example/serving@sha256:" + "cd" * 32,
    store="s3://models/ct?endpoint=store:9000",
    replicas=3,
    max_replicas=5,
)
UID = "uid-of-the-service"


def make_service(mode: str = "Standard") -> Manifest:
    """Return the InferenceService of VERSION."""
    return inference_service("digits", VERSION, ModelServer(SETTINGS).pod(VERSION), SETTINGS, mode)


def container_of(service: Manifest) -> Manifest:
    (container,) = service["spec"]["predictor"]["containers"]
    return dict(container)


@pytest.mark.parametrize("mode", ["Standard", "RawDeployment", "Knative", "Serverless"])
def test_service_serves_one_digest_and_complies_with_restricted(mode: str) -> None:
    service = make_service(mode)
    predictor, container = service["spec"]["predictor"], container_of(service)
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (3, 5)
    assert predictor["automountServiceAccountToken"] is False
    assert container["name"] == "kserve-container"
    assert container["image"] == SETTINGS.image
    command = container["command"]
    assert command[command.index("--model") + 1] == f"digits@{VERSION.digest}"
    assert command[command.index("--model-store") + 1] == SETTINGS.store
    security = {**predictor.get("securityContext", {}), **container["securityContext"]}
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["allowPrivilegeEscalation"] is False
    assert service["metadata"]["annotations"][MODE_ANNOTATION] == mode
    assert service["metadata"]["labels"][DIGEST_LABEL] == VERSION.digest[:12]
    assert served_digest(service) == VERSION.digest


def test_standard_mode_keeps_all_pods_during_a_rollout() -> None:
    service = make_service()
    strategy = service["spec"]["predictor"]["deploymentStrategy"]
    assert strategy["rollingUpdate"]["maxUnavailable"] == 0
    assert container_of(service)["ports"][0]["name"] == "http"


def test_knative_predictor_has_only_supported_fields() -> None:
    service = make_service("Knative")
    container = container_of(service)
    unsupported = {"securityContext", "terminationGracePeriodSeconds", "deploymentStrategy"}
    assert not unsupported & set(service["spec"]["predictor"])
    assert container["ports"] == [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}]
    assert "startupProbe" not in container
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == 8080


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
@pytest.mark.parametrize(
    ("cpu", "limit"),
    [
        ("250m", None),
        ("1", None),
        ("1000m", None),
        ("1001m", "1001m"),
        ("1.5", "1.5"),
        ("2", "2"),
        ("1k", "1k"),
    ],
)
def test_a_request_above_one_core_has_a_limit(mode: str, cpu: str, limit: str | None) -> None:
    """KServe adds the limit 1 to a container without one, and a request must not exceed its limit."""
    settings = replace(SETTINGS, cpu=cpu)
    service = inference_service("digits", VERSION, ModelServer(settings).pod(VERSION), settings, mode)
    resources = container_of(service)["resources"]
    assert resources["requests"] == {"cpu": cpu, "memory": "512Mi"}
    assert resources["limits"] == {"memory": "512Mi"} | ({"cpu": limit} if limit else {})


def test_only_a_canary_has_a_traffic_percentage() -> None:
    service = make_service("Knative")
    assert with_canary(service, 10)["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert "canaryTrafficPercent" not in service["spec"]["predictor"]


def test_a_pod_of_a_canary_is_an_endpoint_while_it_is_ready() -> None:
    pod: Manifest = {
        "metadata": {"name": "digits-t1a2b-predictor-x", "namespace": "models", "uid": UID},
        "spec": {"nodeName": "node"},
        "status": {"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    item = endpoint_slice("digits", pod)
    assert item["metadata"]["labels"]["kubernetes.io/service-name"] == "digits-predictor"
    assert item["metadata"]["ownerReferences"][0]["uid"] == UID
    assert (item["addressType"], item["endpoints"][0]["addresses"]) == ("IPv4", ["10.0.0.7"])
    assert item["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert conditions_of(pod) == {"ready": True, "serving": True, "terminating": False}
    terminating = {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": "2026-11-30T00:00:00Z"}}
    assert conditions_of(terminating) == {"ready": False, "serving": True, "terminating": True}
    for conditions in ([], [{"type": "Ready", "status": "False"}]):
        status = {"podIP": "fd00::7", "conditions": conditions}
        assert conditions_of({**pod, "status": status})["ready"] is False
        assert endpoint_slice("digits", {**pod, "status": status})["addressType"] == "IPv6"


def conditions_of(pod: Manifest) -> dict[str, bool]:
    (endpoint,) = endpoint_slice("digits", pod)["endpoints"]
    return dict(endpoint["conditions"])


def test_a_missing_address_is_reported_with_the_conditions_that_are_not_true() -> None:
    status: dict[str, Any] = {}
    cluster: Any = SimpleNamespace(get=lambda *_: {"status": status})
    with pytest.raises(TransientError, match=r"to InferenceService digits yet$"):
        Predictor(cluster, "digits").address()
    route = {
        "type": "IngressReady",
        "status": "False",
        "reason": "HTTPRouteNotReady",
        "message": "no gateway",
    }
    status["conditions"] = [
        {"type": "PredictorReady", "status": "True", "reason": "NewReplicaSetAvailable"},
        {"type": "Ready", "status": "Unknown"},
        route,
    ]
    with pytest.raises(TransientError, match=r"yet \(IngressReady HTTPRouteNotReady no gateway\)$"):
        Predictor(cluster, "digits").address()
    status["address"] = {"url": "http://digits-predictor.models.svc/"}
    assert Predictor(cluster, "digits").address() == "http://digits-predictor.models.svc"


def test_trial_has_one_pod_and_stores_the_previous_manifest() -> None:
    service = {**make_service(), "status": {"deploymentMode": "Standard"}}
    service["metadata"] |= {"uid": UID, "resourceVersion": "7", "managedFields": []}
    previous = restorable_manifest(service)
    assert set(previous["metadata"]) == {"name", "labels", "annotations"}
    trial = trial_manifest(make_service(), "digits-trial", previous)
    assert trial["metadata"]["name"] == "digits-trial"
    assert trial["spec"]["predictor"]["maxReplicas"] == 1
    canary = trial_manifest(make_service(), "digits-trial", previous, replicas=2)["spec"]["predictor"]
    assert (canary["minReplicas"], canary["maxReplicas"]) == (2, 2)
    assert trial["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
    assert trial["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    assert previous_manifest(trial) == previous
    assert previous_manifest(trial_manifest(make_service(), "digits-trial", None)) is None


def test_trial_without_servers_still_has_the_previous_manifest_and_its_end() -> None:
    trial = trial_manifest(make_service(), "digits-t1a2b", restorable_manifest(make_service()))
    stopped = stopped_trial_manifest(trial)
    assert stopped["metadata"]["annotations"] == trial["metadata"]["annotations"] | {STOP_ANNOTATION: "true"}
    assert (stopped["spec"], stopped["metadata"]["name"]) == (trial["spec"], "digits-t1a2b")
    assert STOP_ANNOTATION not in restorable_manifest(stopped)["metadata"]["annotations"]
    confirmed = confirmed_trial_manifest(trial, VERSION.digest)
    assert is_confirmed(stopped_trial_manifest(confirmed))
    assert not is_confirmed(stopped)


def test_only_several_pods_of_a_deployment_can_be_replaced_without_additional_ones() -> None:
    service = make_service()
    predictor = service["spec"]["predictor"]
    relaxed = without_additional_pods(service)
    assert relaxed is not None
    changed = relaxed["spec"]["predictor"]
    assert changed["deploymentStrategy"]["rollingUpdate"]["maxUnavailable"] == 1
    assert {key for key in predictor if predictor[key] != changed[key]} == {"deploymentStrategy"}
    assert relaxed["metadata"] == service["metadata"]
    assert without_additional_pods(make_service("Knative")) is None
    predictor["minReplicas"] = 1
    assert without_additional_pods(service) is None


@pytest.mark.parametrize("annotation", [None, "{"])
def test_missing_or_damaged_previous_manifest_is_a_user_error(annotation: str | None) -> None:
    trial = trial_manifest(make_service(), "digits-trial", None)
    trial["metadata"]["annotations"].pop(PREVIOUS_MANIFEST_ANNOTATION)
    if annotation:
        trial["metadata"]["annotations"][PREVIOUS_MANIFEST_ANNOTATION] = annotation
    with pytest.raises(UserError, match="delete digits-trial"):
        previous_manifest(trial)


@pytest.mark.parametrize(
    ("status", "annotation", "mode"),
    [
        ("Standard", "Knative", "Standard"),
        (None, "Serverless", "Serverless"),
        ("ModelMesh", "RawDeployment", "RawDeployment"),
        (None, "", None),
        (None, None, None),
    ],
)
def test_mode_in_the_status_overrides_the_annotation(
    status: str | None, annotation: str | None, mode: str | None
) -> None:
    annotations = {} if annotation is None else {MODE_ANNOTATION: annotation}
    service = {"metadata": {"annotations": annotations}, "status": {"deploymentMode": status}}
    assert mode_of(service) == mode
    assert mode_of(None) is None


@pytest.mark.parametrize(
    ("data", "mode"),
    [
        ({"deploy": json.dumps({"defaultDeploymentMode": "Knative"})}, "Knative"),
        ({"deploy": json.dumps({"defaultDeploymentMode": "RawDeployment"})}, "RawDeployment"),
        ({"deploy": json.dumps({"defaultDeploymentMode": "ModelMesh"})}, None),
        ({"deploy": "{}"}, None),
        ({"deploy": "[]"}, None),
        ({"deploy": "{"}, None),
        ({}, None),
    ],
)
def test_default_mode_of_the_config_map(data: dict[str, str], mode: str | None) -> None:
    assert configured_mode(data) == mode


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("Standard", True), ("RawDeployment", True), ("Knative", False), ("Serverless", False)],
)
def test_is_standard(mode: str, expected: bool) -> None:
    assert is_standard(mode) is expected


def applied_service() -> Manifest:
    """Return the InferenceService as the API server returns it."""
    service = make_service()
    service["metadata"]["uid"] = UID
    return service


def make_deployment(**status: int) -> Manifest:
    """Return the Deployment of `applied_service` after its rollout, with changes of its status."""
    return {
        "metadata": {"generation": 4, "ownerReferences": [{"uid": UID}]},
        "spec": {
            "replicas": 3,
            "template": {
                "metadata": {"labels": make_service()["metadata"]["labels"]},
                "spec": copy.deepcopy(make_service()["spec"]["predictor"]),
            },
        },
        "status": {
            "observedGeneration": 4,
            "replicas": 3,
            "updatedReplicas": 3,
            "availableReplicas": 3,
            **status,
        },
    }


def test_rollout_has_ended_when_all_pods_are_new_and_available() -> None:
    assert rollout_status(make_deployment(), applied_service()) == ""


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 3}, "has not begun"),
        ({"updatedReplicas": 2}, "2 of 3 pods"),
        ({"availableReplicas": 1}, "1 of 3 pods"),
        ({"replicas": 4}, "1 pods of an older version"),
    ],
)
def test_rollout_continues_while_a_pod_is_old_or_unavailable(status: dict[str, int], expected: str) -> None:
    assert expected in rollout_status(make_deployment(**status), applied_service())


def test_rollout_continues_until_all_required_pods_exist() -> None:
    """KServe creates a Deployment with one pod, and its autoscaler adds the others."""
    deployment = make_deployment(replicas=1, updatedReplicas=1, availableReplicas=1)
    deployment["spec"]["replicas"] = 1
    assert "1 of 3 pods" in rollout_status(deployment, applied_service())


def test_rollout_of_the_same_version_with_other_settings_has_not_begun() -> None:
    settings = replace(SETTINGS, memory="1Gi")
    pod_spec = ModelServer(settings).pod(VERSION)
    service = inference_service("digits", VERSION, pod_spec, settings, "Standard")
    service["metadata"]["uid"] = UID
    assert "has not updated" in rollout_status(make_deployment(), service)


def test_a_service_of_an_earlier_release_has_no_digest_of_its_template() -> None:
    deployment, service = make_deployment(), applied_service()
    del service["metadata"]["labels"][TEMPLATE_LABEL]
    assert "has not updated" in rollout_status(deployment, service)
    del deployment["spec"]["template"]["metadata"]["labels"][TEMPLATE_LABEL]
    assert rollout_status(deployment, service) == ""


def test_rollout_has_not_begun_without_a_current_deployment() -> None:
    assert "has not created" in rollout_status(None, applied_service())
    deployment = make_deployment()
    deployment["metadata"]["ownerReferences"] = [{"uid": "uid-of-a-deleted-service"}]
    assert "has not created" in rollout_status(deployment, applied_service())
    deployment = make_deployment()
    deployment["spec"]["template"]["spec"]["containers"][0]["command"][-1] = "other"
    assert "has not updated" in rollout_status(deployment, applied_service())


@pytest.fixture
def echo_server() -> Iterator[str]:
    """The address of a server that returns the host, path and body of each request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            echo: dict[str, Any] = {"host": self.headers["host"], "path": self.path, "body": body}
            response = json.dumps(echo).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(response)))
            self.send_header("X-Model-Digest", VERSION.digest)
            self.end_headers()
            self.wfile.write(response)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_in_cluster_client_uses_the_exact_host_name(echo_server: str) -> None:
    """Knative routes requests by their host, and only knows the full name."""
    response = InClusterClient().post(echo_server, "/predict/digits", {"x": [1]})
    host = echo_server.partition("//")[2]
    assert response.json() == {"host": host, "path": "/predict/digits", "body": {"x": [1]}}
    assert response.headers["x-model-digest"] == VERSION.digest
