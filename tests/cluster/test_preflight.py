"""The preflight on a real cluster: requirements that exist, are missing, or are not visible to the user."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from continuous_training.adapters.kubernetes.access_reviews import permissions_of, user_of
from continuous_training.adapters.kubernetes.client import Cluster
from continuous_training.adapters.kubernetes.connection import connect
from continuous_training.adapters.kubernetes.errors import ForbiddenError
from continuous_training.adapters.kubernetes.partial_metadata import is_known, is_there
from continuous_training.adapters.kubernetes.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    Resource,
)
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS, Permission
from pipelines import preflight, run
from tests.kfp_server import kfp_server

from .cluster_namespace import ACCOUNT, ROLE_BINDING, ClusterNamespace, image, role_rules

REGISTRY = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
TAG = os.environ.get("CT_TEST_TAG", "dev")
MANIFESTS = Path(__file__).parents[2] / "manifests"
IMAGES = ["--registry", REGISTRY, "--tag", TAG]


def run_preflight(
    namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[str]]:
    """Run the command for one workload; return its exit code and the lines of its output."""
    command = ["--namespace", namespace.name, "--workload", "digits", *IMAGES, *arguments]
    code = preflight.main(command)
    return code, capsys.readouterr().out.splitlines()


def launcher_rules() -> list[Any]:
    """Return the rules of the shipped Role for the driver and the launcher of Kubeflow Pipelines."""
    role = next(yaml.safe_load_all((MANIFESTS / "base/launcher-role.yaml").read_text()))
    return list(role["rules"])


def create_requirements(namespace: ClusterNamespace, **variables: str) -> None:
    """Create everything that a run needs, with changes to the ConfigMap."""
    namespace.create_account([*role_rules(REQUIRED_PERMISSIONS["kubernetes"]), *launcher_rules()])
    data = {
        "MLFLOW_TRACKING_URI": "http://registry:5000",
        "CT_STORE": namespace.settings.store,
        "CT_TARGET": "kubernetes",
        "CT_SERVING_IMAGE": image("serving"),
        **variables,
    }
    metadata = {"name": "continuous-training"}
    namespace.cluster.apply(CONFIG_MAP, {"metadata": metadata, "data": data})
    namespace.cluster.apply(SECRET, {"metadata": metadata})


def missing_items(lines: list[str]) -> list[str]:
    return [line.removeprefix("MISSING: ") for line in lines if line.startswith("MISSING: ")]


def test_complete_requirements_pass(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    create_requirements(own_namespace)
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 0
    assert all(line.startswith("ok: ") for line in lines[:-1])
    assert lines[-1].startswith("0 missing")
    output = "\n".join(lines)
    for step in ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify"):
        assert f"ok: image {REGISTRY}/{step}:{TAG}" in output
    assert f"ok: image {image('serving')}" in output


def test_each_missing_object_is_named_with_its_manifest(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    own_namespace.cluster.delete(SERVICE_ACCOUNT, "model-server")
    code, lines = run_preflight(own_namespace, capsys, "--tag", "no-such-tag")
    assert code == 2
    location = f"in namespace {own_namespace.name}"
    items = missing_items(lines)
    assert f"ConfigMap continuous-training {location}: manifests/base/configmap.yaml creates it" in items
    assert (
        f"ServiceAccount continuous-training {location}: manifests/base/service-accounts.yaml creates it"
        in items
    )
    assert any(line.startswith(f"image {REGISTRY}/train:no-such-tag: make images") for line in items)
    assert any(
        line.startswith(f"warning: Secret continuous-training {location} does not exist") for line in lines
    )

    create_requirements(own_namespace, CT_STORE="", CT_SERVING_IMAGE="")
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 2
    assert [line.partition(": ")[0] for line in missing_items(lines)] == [
        "CT_STORE in ConfigMap continuous-training",
        f"ServiceAccount model-server {location}",
        "CT_SERVING_IMAGE in ConfigMap continuous-training",
    ]
    create_requirements(own_namespace, CT_CANARY="80")
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 2
    assert missing_items(lines) == [
        "ConfigMap continuous-training: CT_CANARY is 80: give a percentage from 0 (no canary) to 50"
    ]
    create_requirements(own_namespace, CT_TARGET="local")
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 0
    assert any(line.startswith("warning: CT_TARGET is local") for line in lines)


def test_missing_namespace_is_named(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    code = preflight.main(["--namespace", f"{own_namespace.name}-x", "--workload", "digits"])
    assert code == 2
    assert f"MISSING: Namespace {own_namespace.name}-x: kubectl create namespace" in capsys.readouterr().out


def retry_defaults(policy: str) -> Any:
    return {"spec": {"templateDefaults": {"retryStrategy": {"limit": "2", "retryPolicy": policy}}}}


@pytest.mark.parametrize(
    ("key", "config", "policy"),
    [
        (
            "workflowDefaults",
            retry_defaults("OnError"),
            "OnError",
        ),
        (
            "workflowDefaults",
            retry_defaults("Always"),
            "Always",
        ),
        ("config", {"workflowDefaults": {"spec": {}}}, "OnFailure"),
    ],
)
def test_the_retry_policy_of_argo_is_printed(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str], key: str, config: Any, policy: str
) -> None:
    create_requirements(own_namespace)
    metadata = {"name": "workflow-controller-configmap"}
    own_namespace.cluster.apply(CONFIG_MAP, {"metadata": metadata, "data": {key: yaml.safe_dump(config)}})
    _, lines = run_preflight(own_namespace, capsys)
    (line,) = [line for line in lines if "retries of failed pods" in line]
    assert line.startswith(f"ok: retries of failed pods: Argo's retryPolicy is {policy}")
    assert ("retryPolicy: Always in ConfigMap workflow-controller-configmap" in line) == (policy == "OnError")


def test_a_namespace_that_enforces_baseline_is_reported(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    create_requirements(own_namespace)
    label = "pod-security.kubernetes.io/enforce"
    for standard, warnings in (("baseline", 1), ("restricted", 0)):
        own_namespace.kubectl("label", "--overwrite", "namespace", own_namespace.name, f"{label}={standard}")
        code, lines = run_preflight(own_namespace, capsys)
        assert code == 0
        title = f"warning: Namespace {own_namespace.name} enforces the Pod Security standard baseline"
        assert len([line for line in lines if line.startswith(title)]) == warnings


def test_the_permission_for_the_times_of_scheduled_runs_is_checked(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    create_requirements(own_namespace)
    title = f"the times of scheduled runs in namespace {own_namespace.name}"
    _, lines = run_preflight(own_namespace, capsys)
    assert f"ok: {title}" in lines
    own_namespace.create_account(role_rules(REQUIRED_PERMISSIONS["kubernetes"]))
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 0
    (line,) = [line for line in lines if line.startswith(f"warning: {title}")]
    assert "continuous-training may not get workflows.argoproj.io" in line


def test_the_access_of_steps_to_runs_is_checked_in_a_profile(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    create_requirements(own_namespace)
    _, lines = run_preflight(own_namespace, capsys)
    assert not [line for line in lines if "Kubeflow Pipelines in namespace" in line or "PodDefault" in line]

    label = "app.kubernetes.io/part-of=kubeflow-profile"
    own_namespace.kubectl("label", "namespace", own_namespace.name, label)
    token = f"PodDefault continuous-training-access in namespace {own_namespace.name}"
    access = f"access of {ACCOUNT} to runs of Kubeflow Pipelines in namespace {own_namespace.name}"
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 0
    (line,) = [line for line in lines if line.startswith(f"warning: {token} does not exist")]
    assert "manifests/overlays/kubeflow-multiuser creates it" in line
    (line,) = [line for line in lines if line.startswith(f"warning: {access}")]
    denied = "get runs.pipelines.kubeflow.org, list runs.pipelines.kubeflow.org"
    assert f"it may not {denied}, so notify cannot tell" in line

    manifest = MANIFESTS / "overlays/kubeflow-multiuser/kubeflow-access.yaml"
    documents = yaml.safe_load_all(manifest.read_text())
    rules = [rule for document in documents if document["kind"] == "Role" for rule in document["rules"]]
    own_namespace.create_account([*role_rules(REQUIRED_PERMISSIONS["kubernetes"]), *launcher_rules(), *rules])
    _, lines = run_preflight(own_namespace, capsys)
    assert f"ok: {access}" in lines


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
def test_each_missing_permission_is_named(
    own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    create_requirements(own_namespace, CT_TARGET=target)
    reduced = [rule for rule in role_rules(REQUIRED_PERMISSIONS[target]) if rule["resources"] != ["pods/log"]]
    next(rule for rule in reduced if rule["resources"] == ["leases"])["verbs"].remove("update")
    own_namespace.create_account(reduced)
    _, lines = run_preflight(own_namespace, capsys)
    title = f"permissions of continuous-training in namespace {own_namespace.name} for CT_TARGET={target}"
    (line,) = [line for line in missing_items(lines) if line.startswith(title)]
    assert "it may not update leases.coordination.k8s.io, get pods/log; manifests/base/role.yaml" in line
    own_namespace.create_account(role_rules(REQUIRED_PERMISSIONS[target]))
    _, lines = run_preflight(own_namespace, capsys)
    assert f"ok: {title}" in lines


def test_missing_kserve_is_named(own_namespace: ClusterNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    create_requirements(own_namespace, CT_TARGET="kserve")
    is_installed = is_known(
        own_namespace.cluster, Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
    )
    _, lines = run_preflight(own_namespace, capsys)
    title = "KServe's InferenceService (serving.kserve.io/v1beta1)"
    assert (
        f"ok: {title}" if is_installed else f"MISSING: {title}: install KServe, or set CT_TARGET=kubernetes"
    ) in lines
    assert is_known(own_namespace.cluster, DEPLOYMENT)
    assert is_known(own_namespace.cluster, POD)
    assert not is_known(own_namespace.cluster, Resource("apps/v1", "Nothing", "nothings"))
    assert not is_known(own_namespace.cluster, Resource("no.such.group/v1", "Nothing", "nothings"))


def create_kubeconfig(namespace: ClusterNamespace, name: str, role: str, folder: Path) -> Path:
    """Create a service account with a ClusterRole in the namespace (empty: none); return its kubeconfig."""
    namespace.cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": name}})
    if role:
        binding = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace.name}],
        }
        namespace.cluster.apply(ROLE_BINDING, binding)
    config = yaml.safe_load(namespace.kubectl("config", "view", "--raw", "--minify"))
    config["users"][0]["user"] = {"token": namespace.kubectl("create", "token", name).strip()}
    path = folder / name
    path.write_text(json.dumps(config))
    return path


def connect_as(namespace: ClusterNamespace, kubeconfig: Path) -> Cluster:
    return connect(namespace.name, str(kubeconfig))


def test_administrators_editors_and_the_account_itself_can_review_permissions(
    own_namespace: ClusterNamespace, tmp_path: Path
) -> None:
    own_namespace.create_account(role_rules((Permission(POD, "", ("list",)),)))
    user = user_of(own_namespace.name, ACCOUNT)
    users = {
        role: connect_as(own_namespace, create_kubeconfig(own_namespace, f"a-{role}", role, tmp_path))
        for role in ("admin", "edit", "view")
    }
    account = connect_as(own_namespace, create_kubeconfig(own_namespace, ACCOUNT, "", tmp_path))
    for cluster in (users["admin"], users["edit"], account, own_namespace.cluster):
        allowed = permissions_of(cluster, user)
        assert allowed("list", POD, "")
        assert not allowed("delete", POD, "")
        assert not allowed("get", POD, "log")
    with pytest.raises(ForbiddenError):
        permissions_of(users["view"], user)


def test_invisible_objects_are_reported_and_do_not_fail_the_preflight(
    own_namespace: ClusterNamespace,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    create_requirements(own_namespace)
    monkeypatch.setenv("KUBECONFIG", str(create_kubeconfig(own_namespace, "viewer", "view", tmp_path)))
    code, lines = run_preflight(own_namespace, capsys)
    assert code == 0
    location = f"in namespace {own_namespace.name}"
    assert f"not seen: Secret continuous-training {location}: this user has no permission to read it" in lines
    assert f"ok: ConfigMap continuous-training {location}" in lines
    assert any(line.startswith("not seen: permissions of continuous-training") for line in lines)


def test_preflight_reads_no_data_of_secrets(own_namespace: ClusterNamespace) -> None:
    """The API server sends only metadata, so the output cannot contain a key."""
    responses: list[Any] = []
    api = own_namespace.cluster.transport.api
    call = api.call_api

    def recorded_call(*args: Any, **options: Any) -> Any:
        response = call(*args, **options)
        responses.append(response[0].data)
        return response

    api.call_api = recorded_call
    try:
        assert is_there(own_namespace.cluster, SECRET, "model-server")
        assert not is_there(own_namespace.cluster, SECRET, "no-such-secret")
    finally:
        api.call_api = call
    (content,) = responses
    assert b"PartialObjectMetadata" in content
    assert b"AWS_SECRET_ACCESS_KEY" not in json.dumps(json.loads(content).get("data", {})).encode()
    assert "data" not in json.loads(content)


def test_run_is_not_submitted_without_its_requirements(
    own_namespace: ClusterNamespace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as kfp:
        arguments = ["--target", "cluster", "--workload", "digits", "--host", kfp.url, *IMAGES]
        arguments += ["--namespace", own_namespace.name]
        assert run.main(arguments) == 2
        output = capsys.readouterr().err
        assert "the cluster lacks objects that a run needs (--no-preflight submits anyway):" in output
        assert "manifests/base/configmap.yaml creates it" in output
        assert not kfp.pipelines
        assert not kfp.runs
        assert run.main([*arguments, "--dry-run"]) == 2
        assert run.main([*arguments, "--no-preflight", "--dry-run"]) == 0
        monkeypatch.undo()
        create_requirements(own_namespace)
        assert os.environ["KUBECONFIG"]
        monkeypatch.setenv("HOME", str(tmp_path))
        assert run.main([*arguments, "--dry-run"]) == 0
        assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
