"""The preflight without a cluster: references of pipelines, required permissions, and effects on a run."""

import json
from pathlib import Path

import pytest
import yaml

from continuous_training.core.errors import UserError
from continuous_training.kubeflow import submission
from continuous_training.kubeflow.api_objects import service_account_field
from continuous_training.kubeflow.preflight import cluster_preflight
from continuous_training.kubeflow.preflight.finding import Finding, State
from continuous_training.kubeflow.preflight.references import Reference, image_references, object_references
from continuous_training.kubeflow.submission import Submission
from continuous_training.rollout.kubernetes.required_permissions import REQUIRED_PERMISSIONS
from pipelines import preflight, run
from pipelines.compile import compile_workload
from pipelines.images import Images
from tests.fakes import web, write_kubeconfig
from tests.kfp_server import kfp_server

ROOT = Path(__file__).parents[2]
NO_IMAGES = ["--registry", "127.0.0.1:1/ct", "--tag", "abc"]
"""Images of a registry that does not answer."""
UNREACHABLE_CLUSTER = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "away", "user": {}}],
    "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
    "current-context": "away",
}


@pytest.fixture
def kubeconfig(monkeypatch, tmp_path):
    """The path of a kubeconfig that does not exist; KUBECONFIG names it."""
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


def write_unreachable_cluster(kubeconfig, monkeypatch):
    kubeconfig.write_text(json.dumps(UNREACHABLE_CLUSTER))
    monkeypatch.setattr(cluster_preflight, "RETRY_BUDGET", 0.0)


def test_references_of_a_compiled_pipeline():
    text = compile_workload("digits", Images("registry.example/ct", "abc")).text
    references = object_references(text)
    assert Reference("ConfigMap", "continuous-training", True) in references
    assert Reference("Secret", "continuous-training", True) in references
    assert len({(reference.kind, reference.name) for reference in references}) == len(references)
    steps = ("archive", "deploy-serving", "evaluate", "notify", "prep-data", "train")
    assert image_references(text) == [f"registry.example/ct/{step}:abc" for step in steps]


def test_a_reference_is_optional_only_if_it_is_optional_for_all_steps():
    executors = {
        "exec-a": {
            "secretAsEnv": [{"secretName": "keys", "optional": True}],
            "imagePullSecret": [{"secretName": "pull"}],
        },
        "exec-b": {
            "secretAsVolume": [{"secretNameParameter": {"runtimeValue": {"constant": "keys"}}}],
            "configMapAsVolume": [{"configMapNameParameter": {"componentInputParameter": "name"}}],
            "pvcMount": [{"constant": "data"}],
        },
    }
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
    assert object_references(yaml.safe_dump_all([{"pipelineInfo": {"name": "x"}}, platform])) == [
        Reference("PersistentVolumeClaim", "data", False),
        Reference("Secret", "keys", False),
        Reference("Secret", "pull", False),
    ]
    assert object_references(yaml.safe_dump({"pipelineInfo": {"name": "x"}})) == []


@pytest.mark.parametrize(
    ("target", "files"),
    [
        ("kubernetes", ["base/role.yaml"]),
        ("kserve", ["base/role.yaml", "components/kserve/role.yaml"]),
    ],
)
def test_the_shipped_roles_grant_the_required_permissions(target, files):
    granted = set()
    for file in files:
        path = ROOT / "manifests" / file
        if not path.is_file():
            pytest.skip(f"{path} does not exist")
        for document in yaml.safe_load_all(path.read_text()):
            for rule in document.get("rules", []) if document["kind"] == "Role" else []:
                granted |= {
                    (group, resource, verb)
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    required = {
        (resource.group, f"{resource.plural}/{subresource}" if subresource else resource.plural, verb)
        for resource, subresource, verbs in REQUIRED_PERMISSIONS[target]
        for verb in verbs
    }
    assert required <= granted


@pytest.mark.parametrize(
    ("labels", "has_token", "verbs", "expected"),
    [
        ({}, False, [], []),
        ({"app.kubernetes.io/part-of": "kubeflow-profile"}, True, ["get", "list"], ["ok", "ok"]),
        ({"pipelines.kubeflow.org/enabled": "true"}, False, ["get"], ["warning", "warning"]),
    ],
)
def test_the_access_of_the_steps_to_runs_is_checked_in_a_profile(
    kubeconfig, capsys, labels, has_token, verbs, expected
):
    def answer(_method, path):
        if path == "/api/v1/namespaces/team-a":
            return 200, {"metadata": {"name": "team-a", "labels": labels}}
        if path.endswith("/selfsubjectreviews"):
            return 201, {"status": {"userInfo": {"username": "owner"}}}
        if path.endswith("/localsubjectaccessreviews"):
            asked = json.loads(cluster.requests[-1][2])["spec"]["resourceAttributes"]
            is_run = (asked["group"], asked["resource"]) == ("pipelines.kubeflow.org", "runs")
            return 201, {"status": {"allowed": not is_run or asked["verb"] in verbs}}
        if path.endswith("/poddefaults/continuous-training-access") and has_token:
            return 200, {"metadata": {"name": "continuous-training-access"}}
        return 404, {"kind": "Status", "code": 404}

    with web(answer) as cluster:
        write_kubeconfig(kubeconfig, cluster.url)
        preflight.main(["--namespace", "team-a", "--workload", "digits", *NO_IMAGES])
    lines = capsys.readouterr().out.splitlines()
    names = ("PodDefault continuous-training-access", "access of continuous-training to runs")
    found = [line for name in names for line in lines if name in line]
    assert [line.partition(":")[0] for line in found] == expected
    if "warning" in expected:
        assert "notify cannot tell that a run was terminated" in found[0]
        assert "it may not list runs.pipelines.kubeflow.org, so" in found[1]


def test_the_command_without_a_configured_cluster_fails_with_one_line(kubeconfig, capsys):
    assert preflight.main(["--workload", "digits"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: no Kubernetes cluster is configured")
    assert "set KUBECONFIG" in error
    assert error.count("\n") == 1


def test_the_command_with_an_unreachable_cluster_is_a_transient_error(kubeconfig, capsys, monkeypatch):
    write_unreachable_cluster(kubeconfig, monkeypatch)
    assert preflight.main(["--workload", "digits"]) == 75
    assert "the API server https://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("cluster_configured", [False, True])
def test_a_run_is_submitted_without_a_reachable_cluster(kubeconfig, capsys, monkeypatch, cluster_configured):
    if cluster_configured:
        write_unreachable_cluster(kubeconfig, monkeypatch)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as kfp:
        kfp.outcome = [("prep-data", "SUCCEEDED"), ("train", "SKIPPED"), ("run", "SUCCEEDED")]
        arguments = ["--target", "cluster", "--workload", "digits", "--host", kfp.url, "--json"]
        arguments += ["--registry", "registry.example/ct"]
        assert run.main(arguments) == 0
        assert capsys.readouterr().err.count("preflight: skipped: ") == 1
        assert run.main([*arguments, "--no-preflight", "--service-account", ""]) == 0
        assert "preflight" not in capsys.readouterr().err
        assert len(kfp.runs) == 2


def test_an_empty_service_account_is_not_part_of_a_request():
    assert service_account_field(Submission().service_account) == {"service_account": "continuous-training"}
    assert service_account_field(Submission("").service_account) == {}


NAMESPACE = Finding(State.OK, "Namespace kubeflow")
FINDINGS = [
    Finding(State.OK, "image a"),
    Finding(State.WARNING, "there is no Secret s", "steps start without it"),
    Finding(State.NOT_VISIBLE, "image b", "the registry cannot be reached"),
]


def test_only_missing_requirements_prevent_a_run(monkeypatch):
    messages = []
    monkeypatch.setattr(submission, "check_cluster", lambda *_: [NAMESPACE, *FINDINGS])
    Submission().check_requirements(["text"], "", messages.append)
    assert messages == [
        "preflight: warning: there is no Secret s: steps start without it",
        "preflight: not seen: image b: the registry cannot be reached",
    ]
    failures = [
        Finding(State.MISSING, "ConfigMap c", "x.yaml creates it"),
        Finding(State.MISSING, "image d", "make images"),
    ]
    monkeypatch.setattr(submission, "check_cluster", lambda *_: [NAMESPACE, *FINDINGS, *failures])
    with pytest.raises(UserError) as error:
        Submission().check_requirements(["text"], "", messages.append)
    assert str(error.value).splitlines()[1:] == [
        "  ConfigMap c: x.yaml creates it",
        "  image d: make images",
    ]
    Submission(preflight=False).check_requirements(["text"], "", pytest.fail)


def test_a_kubeconfig_of_another_cluster_does_not_prevent_a_run(monkeypatch):
    """The namespace counts as missing only if the user named it."""
    messages = []
    finding = Finding(State.MISSING, "Namespace kubeflow", "kubectl create namespace kubeflow")
    monkeypatch.setattr(submission, "check_cluster", lambda *_: [finding])
    Submission().check_requirements(["text"], "", messages.append)
    assert messages == ["preflight: skipped: the cluster of the kubeconfig has no namespace kubeflow"]
    with pytest.raises(UserError, match="kubectl create namespace"):
        Submission().check_requirements(["text"], "kubeflow", messages.append)
