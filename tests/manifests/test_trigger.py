"""The Deployment of the trigger service: its command against a Kubeflow server, and its permissions."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.kfp_server import ROOT, kfp_server
from tests.trigger_service import trigger_service

from .audit import Permission, permissions_of_rules
from .rendering import MANIFESTS, Object, of_kind, pod_templates, relative_path, render, write

NAME = "continuous-training-trigger"
SPEC = {"pipelineInfo": {"name": "digits"}, "root": {}, "schemaVersion": "2.1.0"}
REQUESTS = {
    "GET pipelines": "pipelines list",
    "GET pipelines/ID/versions": "pipelines/versions list",
    "GET experiments": "experiments list",
    "POST experiments": "experiments create",
    "POST runs": "runs create",
    "GET runs/ID": "runs get",
    "POST runs/ID:terminate": "runs terminate",
}
"""The permission that Kubeflow Pipelines checks for each request, as resource and verb."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """A site with the service and its own events, as in docs/trigger.md."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "events.yaml").write_text("events: {uploads: {type: s3, workload: digits}}")
    resources = [relative_path(folder, MANIFESTS / name) for name in ("overlays/standalone", "trigger")]
    events = {"name": NAME, "behavior": "merge", "files": ["events.yaml"]}
    return render(
        write(folder, {"namespace": "kubeflow", "resources": resources, "configMapGenerator": [events]})
    )


def named(objects: list[Object], kind: str, name: str = NAME) -> Object:
    (item,) = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    return item


def test_the_command_of_the_pod_serves_with_the_permissions_of_the_role(
    objects: list[Object], tmp_path: Path
) -> None:
    (container,) = pod_templates(objects)[NAME]["spec"]["containers"]
    (name,) = [
        v["configMap"]["name"] for v in pod_templates(objects)[NAME]["spec"]["volumes"] if "configMap" in v
    ]
    data = named(objects, "ConfigMap", name)["data"]
    (tmp_path / "events.yaml").write_text(data["events.yaml"])
    replaced = {"--callers": None, "--address": None, "--events": f"--events={tmp_path / 'events.yaml'}"}
    arguments = [replaced.get(argument.split("=")[0], argument) for argument in container["args"][1:]]
    options = [argument.replace("$(NAMESPACE)", data["NAMESPACE"]) for argument in arguments if argument]
    with kfp_server() as kfp:
        pipeline = kfp.create_pipeline({"name": "digits"})
        kfp.create_version(pipeline["pipeline_id"], "digits-1", "", SPEC)
        kfp.outcome = []
        environment = {**os.environ, "HOME": str(tmp_path), "KF_PIPELINES_ENDPOINT": kfp.url}
        environment["CT_STORE"] = str(tmp_path / "store")
        assert {item["name"] for item in container["env"]} >= {"CT_STORE", "KF_PIPELINES_ENDPOINT"}
        with trigger_service(tmp_path, *options, environment=environment) as service:
            run_id = service.request("POST", "/pipelines/digits/runs").json()["id"]
            service.wait(run_id, "running")
            service.request("POST", f"/runs/{run_id}/cancel")
            service.wait(run_id, "ended")
            path = container["livenessProbe"]["httpGet"]["path"]
            assert service.request("GET", path).status_code == 200
        requests = {f"{verb} {path.removeprefix(ROOT)[1:]}" for verb, path in kfp.requests}
    used = {REQUESTS[re.sub(r"[0-9a-f-]{36}", "ID", request)] for request in requests}
    assert used == set(REQUESTS.values())
    granted = permissions_of_rules(named(objects, "Role")["rules"])
    # "runs list": the search for the run of an interrupted start.
    expected = {Permission("pipelines.kubeflow.org", *line.split()) for line in (*used, "runs list")}
    assert granted == expected


def test_the_pod_has_the_role_and_reads_the_callers_from_a_secret(objects: list[Object]) -> None:
    pod = pod_templates(objects)[NAME]["spec"]
    assert pod["serviceAccountName"] == NAME
    assert named(objects, "RoleBinding")["subjects"][0]["name"] == NAME
    secrets = {
        volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume
    }
    assert secrets == {"callers": NAME}
    assert named(objects, "Deployment")["spec"]["replicas"] == 1


def test_the_network_policy_admits_only_labelled_callers(objects: list[Object]) -> None:
    policy = named(objects, "NetworkPolicy")["spec"]
    labels = pod_templates(objects)[NAME]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": "http"}]
    label = {"matchLabels": {"continuous-training/trigger-callers": "true"}}
    assert rule["from"] == [{"namespaceSelector": label}, {"podSelector": label}]
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 8888, 9000, 443]


def test_decisions_on_the_cluster_are_a_component_of_their_own(objects: list[Object], tmp_path: Path) -> None:
    """Without the component, the service has neither a token for the API server nor the deployment target."""
    (plain,) = pod_templates(objects)[NAME]["spec"]["containers"]
    assert "envFrom" not in plain
    account = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert account not in {mount["mountPath"] for mount in plain["volumeMounts"]}
    resources = [relative_path(tmp_path, MANIFESTS / name) for name in ("overlays/standalone", "trigger")]
    components = [relative_path(tmp_path, MANIFESTS / "components/trigger-decisions")]
    site = {"namespace": "kubeflow", "resources": resources, "components": components}
    extended = render(write(tmp_path, site))
    pod = pod_templates(extended)[NAME]["spec"]
    (container,) = pod["containers"]
    assert account in {mount["mountPath"] for mount in container["volumeMounts"]}
    assert len(pod["volumes"]) == len(container["volumeMounts"]) == len(plain["volumeMounts"]) + 1
    assert container["envFrom"] == [{"configMapRef": {"name": "continuous-training"}}]
    names = {item["name"] for item in container["env"]}
    assert names == {item["name"] for item in plain["env"]} | {
        "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "CT_WEBHOOK",
        "CT_SMTP_PASSWORD",
    }  # fmt: skip
    binding = named(extended, "RoleBinding", f"{NAME}-decisions")
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == ("continuous-training", NAME)
    policy = named(extended, "NetworkPolicy", f"{NAME}-decisions")["spec"]
    assert (
        policy["podSelector"]["matchLabels"].items()
        <= pod_templates(extended)[NAME]["metadata"]["labels"].items()
    )
