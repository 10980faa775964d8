"""The look at a cluster before a run, without one: what pipelines name, and what is said and done then."""

import json
from pathlib import Path

import pytest
import yaml

from continuous_training.kubeflow.preflight.finding import DOUBTFUL, MISSING, THERE, UNSEEN, Finding
from continuous_training.kubeflow.preflight.references import Named, images_of, objects_of
from continuous_training.rollout.kubernetes.permissions import REQUIRED_PERMISSIONS
from pipelines import preflight, run
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.preflight import Submission
from tests.kfp_server import kfp_server

ROOT = Path(__file__).parents[2]
AWAY = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "away", "user": {}}],
    "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away"}}],
    "current-context": "away",
}


@pytest.fixture
def without_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def test_a_compiled_pipeline_tells_what_it_names():
    text = compile_workload("digits", Images("registry.example/ct", "abc")).text
    found = objects_of(text)
    assert Named("ConfigMap", "continuous-training", True) in found
    assert Named("Secret", "continuous-training", True) in found
    assert len({(one.kind, one.name) for one in found}) == len(found)
    steps = ("archive", "deploy-serving", "evaluate", "notify", "prep-data", "train")
    assert images_of(text) == [f"registry.example/ct/{step}:abc" for step in steps]


def test_what_one_step_needs_is_needed():
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
    assert objects_of(yaml.safe_dump_all([{"pipelineInfo": {"name": "x"}}, platform])) == [
        Named("PersistentVolumeClaim", "data", False),
        Named("Secret", "keys", False),
        Named("Secret", "pull", False),
    ]
    assert objects_of(yaml.safe_dump({"pipelineInfo": {"name": "x"}})) == []


@pytest.mark.parametrize(
    ("target", "files"),
    [
        ("kubernetes", ["base/role.yaml"]),
        ("kserve", ["base/role.yaml", "components/kserve/role.yaml"]),
    ],
)
def test_the_shipped_roles_grant_what_is_needed(target, files):
    granted = set()
    for file in files:
        path = ROOT / "manifests" / file
        if not path.is_file():
            pytest.skip(f"there is no {path}")
        for found in yaml.safe_load_all(path.read_text()):
            for rule in found.get("rules", []) if found["kind"] == "Role" else []:
                granted |= {
                    (group, kind, verb)
                    for group in rule["apiGroups"]
                    for kind in rule["resources"]
                    for verb in rule["verbs"]
                }
    needed = {
        (resource.group, f"{resource.plural}/{sub}" if sub else resource.plural, verb)
        for resource, sub, verbs in REQUIRED_PERMISSIONS[target]
        for verb in verbs
    }
    assert needed <= granted


def test_without_a_cluster_the_verb_says_so_in_a_line(without_cluster, capsys):
    assert preflight.main(["--workload", "digits"]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: no Kubernetes cluster is configured")
    assert "set KUBECONFIG" in told.err
    assert told.err.count("\n") == 1


def test_a_cluster_that_is_away_is_worth_another_try(without_cluster, capsys, monkeypatch, tmp_path):
    (tmp_path / "none").write_text(json.dumps(AWAY))
    monkeypatch.setattr(preflight, "PATIENCE", 0.0)
    assert preflight.main(["--workload", "digits"]) == 75
    assert "the API server https://127.0.0.1:1 does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("away", [False, True])
def test_without_a_cluster_a_run_is_submitted_all_the_same(
    without_cluster, capsys, monkeypatch, tmp_path, away
):
    if away:
        (tmp_path / "none").write_text(json.dumps(AWAY))
        monkeypatch.setattr(preflight, "PATIENCE", 0.0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as kfp:
        kfp.outcome = [("prep-data", "SUCCEEDED"), ("train", "SKIPPED"), ("run", "SUCCEEDED")]
        asked = ["--target", "cluster", "--workload", "digits", "--host", kfp.url, "--json"]
        assert run.main(asked) == 0
        told = capsys.readouterr().err
        assert told.count("preflight: skipped: ") == 1
        assert run.main([*asked, "--no-preflight", "--service-account", ""]) == 0
        assert "preflight" not in capsys.readouterr().err
        assert len(kfp.runs) == 2


def test_a_service_account_is_asked_for_by_name():
    assert Submission().body() == {"service_account": "continuous-training"}
    assert Submission("").body() == {}


class Asked:
    """A server of Kubeflow Pipelines, as far as a look needs one."""

    def __init__(self, namespace=""):
        self.access = self
        self.namespace = namespace


PLACE = Finding(THERE, "Namespace kubeflow")
FOUND = [
    Finding(THERE, "image a"),
    Finding(DOUBTFUL, "there is no Secret s", "steps start without it"),
    Finding(UNSEEN, "image b", "the registry cannot be reached"),
]


def test_only_what_is_missing_holds_a_run_back(monkeypatch):
    told = []
    monkeypatch.setattr(preflight, "preflight", lambda *_: [PLACE, *FOUND])
    Submission().look(["text"], Asked(), told.append)
    assert told == [
        "preflight: warning: there is no Secret s: steps start without it",
        "preflight: not seen: image b: the registry cannot be reached",
    ]
    lacking = [
        Finding(MISSING, "ConfigMap c", "x.yaml brings it"),
        Finding(MISSING, "image d", "make images"),
    ]
    monkeypatch.setattr(preflight, "preflight", lambda *_: [PLACE, *FOUND, *lacking])
    with pytest.raises(preflight.UserError) as error:
        Submission().look(["text"], Asked(), told.append)
    assert str(error.value).splitlines()[1:] == [
        "  ConfigMap c: x.yaml brings it",
        "  image d: make images",
    ]
    Submission(looked_at=False).look(["text"], Asked(), pytest.fail)


def test_a_kubeconfig_of_another_cluster_holds_nothing_back(monkeypatch):
    """Only a namespace that somebody named can be missing."""
    told = []
    nowhere = Finding(MISSING, "Namespace kubeflow", "kubectl create namespace kubeflow")
    monkeypatch.setattr(preflight, "preflight", lambda *_: [nowhere])
    Submission().look(["text"], Asked(), told.append)
    assert told == ["preflight: skipped: the kubeconfig's cluster has no namespace kubeflow"]
    with pytest.raises(preflight.UserError, match="kubectl create namespace"):
        Submission().look(["text"], Asked("kubeflow"), told.append)
