"""KServe's objects as plain data: what is asked of it, in which mode, and when its rollout has ended."""

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.kserve.deployment_mode import (
    MODE_ANNOTATION,
    default_of,
    is_standard,
    mode_of,
)
from continuous_training.rollout.kserve.inference_service import (
    FORMER_ANNOTATION,
    former_manifest,
    inference_service,
    restorable_manifest,
    served_digest,
    trial_of,
    with_canary,
)
from continuous_training.rollout.kserve.predictor import rollout_status
from continuous_training.rollout.kubernetes.manifests import DIGEST_LABEL, DeployedVersion
from continuous_training.rollout.kubernetes.service_client import InClusterClient
from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer

VERSION = DeployedVersion("digits", "ab" * 32)
SETTINGS = ServingSettings(
    image="registry.example/serving@sha256:" + "cd" * 32,
    store="s3://models/ct?endpoint=store:9000",
    replicas=3,
    max_replicas=5,
)


def service(mode="Standard", settings=SETTINGS):
    return inference_service("digits", VERSION, ModelServer(settings).pod(VERSION), settings, mode)


def container(made):
    (found,) = made["spec"]["predictor"]["containers"]
    return found


@pytest.mark.parametrize("mode", ["Standard", "RawDeployment", "Knative", "Serverless"])
def test_it_serves_one_version_by_its_digest_in_a_restricted_namespace(mode):
    made = service(mode)
    predictor, found = made["spec"]["predictor"], container(made)
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (3, 5)
    assert predictor["automountServiceAccountToken"] is False
    assert found["name"] == "kserve-container"
    assert found["image"] == SETTINGS.image
    command = found["command"]
    assert command[command.index("--model") + 1] == f"digits@{VERSION.digest}"
    assert command[command.index("--model-store") + 1] == SETTINGS.store
    secured = {**predictor.get("securityContext", {}), **found["securityContext"]}
    assert secured["runAsNonRoot"] is True
    assert secured["runAsUser"] == 10001
    assert secured["seccompProfile"] == {"type": "RuntimeDefault"}
    assert secured["capabilities"] == {"drop": ["ALL"]}
    assert secured["allowPrivilegeEscalation"] is False
    assert made["metadata"]["annotations"][MODE_ANNOTATION] == mode
    assert made["metadata"]["labels"][DIGEST_LABEL] == VERSION.digest[:12]
    assert served_digest(made) == VERSION.digest


def test_in_standard_mode_no_server_goes_before_its_successor_is_there():
    predictor = service()["spec"]["predictor"]
    assert predictor["deploymentStrategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert container(service())["ports"][0]["name"] == "http"


def test_knative_gets_only_what_it_knows():
    made = service("Knative")
    predictor, found = made["spec"]["predictor"], container(made)
    unknown = {"securityContext", "terminationGracePeriodSeconds", "deploymentStrategy"}
    assert not unknown & set(predictor)
    assert found["ports"] == [{"name": "http1", "containerPort": 8080, "protocol": "TCP"}]
    assert "startupProbe" not in found
    for probe in ("readinessProbe", "livenessProbe"):
        assert found[probe]["httpGet"]["port"] == 8080


def test_only_a_canary_has_a_share():
    made = service("Knative")
    assert with_canary(made, 10)["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert "canaryTrafficPercent" not in made["spec"]["predictor"]


def test_a_trial_has_one_server_and_remembers_what_was_there():
    live = {**service(), "status": {"deploymentMode": "Standard"}}
    live["metadata"] = {**live["metadata"], "uid": "u", "resourceVersion": "7", "managedFields": []}
    former = restorable_manifest(live)
    assert set(former["metadata"]) == {"name", "labels", "annotations"}
    made = trial_of(service(), "digits-trial", former)
    assert made["metadata"]["name"] == "digits-trial"
    assert made["spec"]["predictor"]["maxReplicas"] == 1
    assert made["metadata"]["labels"]["networking.kserve.io/visibility"] == "cluster-local"
    assert made["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
    assert former_manifest(made) == former
    assert former_manifest(trial_of(service(), "digits-trial", None)) is None


@pytest.mark.parametrize("text", [None, "{"])
def test_a_trial_that_was_tampered_with_is_left_to_a_person(text):
    made = trial_of(service(), "digits-trial", None)
    made["metadata"]["annotations"].pop(FORMER_ANNOTATION)
    if text:
        made["metadata"]["annotations"][FORMER_ANNOTATION] = text
    with pytest.raises(UserError, match="delete digits-trial"):
        former_manifest(made)


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
def test_the_status_tells_the_mode_before_the_annotation(status, annotation, mode):
    annotations = {} if annotation is None else {MODE_ANNOTATION: annotation}
    found = {"metadata": {"annotations": annotations}, "status": {"deploymentMode": status}}
    assert mode_of(found) == mode
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
def test_the_default_mode_is_what_kserves_configmap_says(data, mode):
    assert default_of(data) == mode


def test_only_two_of_the_words_mean_a_deployment():
    assert [is_standard(mode) for mode in ("Standard", "RawDeployment", "Knative", "Serverless")] == [
        True,
        True,
        False,
        False,
    ]


def live():
    made = service()
    made["metadata"]["uid"] = "one"
    return made


def deployment(**changes):
    made = {
        "metadata": {"generation": 4, "ownerReferences": [{"uid": "one"}]},
        "spec": {
            "replicas": 3,
            "template": {"spec": copy.deepcopy(service()["spec"]["predictor"])},
        },
        "status": {
            "observedGeneration": 4,
            "replicas": 3,
            "updatedReplicas": 3,
            "availableReplicas": 3,
        },
    }
    made["status"] |= changes
    return made


def test_a_rollout_has_ended_when_all_pods_are_new_and_available():
    assert rollout_status(deployment(), live()) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"observedGeneration": 3}, "has not begun"),
        ({"updatedReplicas": 2}, "2 of 3 pods"),
        ({"availableReplicas": 1}, "1 of 3 pods"),
        ({"replicas": 4}, "1 pods of an older version"),
    ],
)
def test_a_rollout_goes_on_while_a_pod_is_old_or_not_available(changes, words):
    assert words in rollout_status(deployment(**changes), live())


def test_a_rollout_has_not_begun_while_the_deployment_is_the_old_one():
    assert "no Deployment" in rollout_status(None, live())
    of_another = deployment()
    of_another["metadata"]["ownerReferences"] = [{"uid": "deleted"}]
    assert "no Deployment" in rollout_status(of_another, live())
    before = deployment()
    before["spec"]["template"]["spec"]["containers"][0]["command"][-1] = "other"
    assert "has not given" in rollout_status(before, live())


@pytest.fixture
def endpoint():
    """A server that says for whom a request was, and its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            said = {"host": self.headers["host"], "path": self.path, "body": json.loads(body)}
            sent = json.dumps(said).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(sent)))
            self.send_header("X-Model-Digest", VERSION.digest)
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_inside_the_cluster_it_asks_for_the_very_name_that_kserve_gave(endpoint):
    """What routes for Knative goes by the host of the request, and knows it by its full name alone."""
    answer = InClusterClient("models").post_to(endpoint, "/predict/digits", {"x": [1]})
    host = endpoint.partition("//")[2]
    assert answer.json() == {"host": host, "path": "/predict/digits", "body": {"x": [1]}}
    assert answer.headers["x-model-digest"] == VERSION.digest
