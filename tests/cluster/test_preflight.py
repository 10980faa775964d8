"""What a run needs, looked for on a real cluster: there, missing, or not to be seen by whoever looks."""

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
from continuous_training.rollout.kubernetes.permissions import REQUIRED_PERMISSIONS, Permission
from pipelines import preflight, run
from tests.kfp_server import kfp_server

from .place import ACCOUNT, ROLE_BINDING, Place, image

REGISTRY = os.environ.get("CT_TEST_REGISTRY", "localhost:5000/continuous-training")
TAG = os.environ.get("CT_TEST_TAG", "dev")
IMAGES = ["--registry", REGISTRY, "--tag", TAG]


def look(place: Place, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[str]]:
    """Run the verb for one workload; returns its exit code and lines."""
    code = preflight.main(["--namespace", place.namespace, "--workload", "digits", *IMAGES, *more])
    return code, capsys.readouterr().out.splitlines()


def rules(needed: tuple[Permission, ...]) -> list[dict[str, Any]]:
    return [
        {
            "apiGroups": [resource.group],
            "resources": [f"{resource.plural}/{sub}" if sub else resource.plural],
            "verbs": list(verbs),
        }
        for resource, sub, verbs in needed
    ]


def bring(place: Place, **changes: str) -> None:
    """Bring all that a run needs."""
    place.account(rules(REQUIRED_PERMISSIONS["kubernetes"]))
    settings = {
        "MLFLOW_TRACKING_URI": "http://registry:5000",
        "CT_STORE": place.settings.store,
        "CT_TARGET": "kubernetes",
        "CT_SERVING_IMAGE": image("serving"),
    } | changes
    place.cluster.apply(CONFIG_MAP, {"metadata": {"name": "continuous-training"}, "data": settings})
    place.cluster.apply(SECRET, {"metadata": {"name": "continuous-training"}})


def missing(lines: list[str]) -> list[str]:
    return [line.removeprefix("MISSING: ") for line in lines if line.startswith("MISSING: ")]


def test_all_is_there(own: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bring(own)
    code, lines = look(own, capsys)
    assert code == 0
    assert all(line.startswith("ok: ") for line in lines[:-1])
    assert lines[-1].startswith("0 missing")
    told = "\n".join(lines)
    for step in ("prep-data", "train", "evaluate", "archive", "deploy-serving", "notify"):
        assert f"ok: image {REGISTRY}/{step}:{TAG}" in told
    assert f"ok: image {image('serving')}" in told


def test_what_is_missing_is_named_with_what_brings_it(own: Place, capsys: pytest.CaptureFixture[str]) -> None:
    own.cluster.delete(SERVICE_ACCOUNT, "model-server")
    code, lines = look(own, capsys, "--tag", "no-such-tag")
    assert code == 2
    here = f"in namespace {own.namespace}"
    found = missing(lines)
    assert f"ConfigMap continuous-training {here}: manifests/base/configmap.yaml brings it" in found
    assert (
        f"ServiceAccount continuous-training {here}: manifests/base/service-accounts.yaml brings it" in found
    )
    assert any(line.startswith(f"image {REGISTRY}/train:no-such-tag: make images") for line in found)
    assert any(line.startswith(f"warning: there is no Secret continuous-training {here}") for line in lines)

    bring(own, CT_STORE="", CT_SERVING_IMAGE="")
    code, lines = look(own, capsys)
    assert code == 2
    assert [line.partition(": ")[0] for line in missing(lines)] == [
        "CT_STORE in ConfigMap continuous-training",
        f"ServiceAccount model-server {here}",
        "CT_SERVING_IMAGE in ConfigMap continuous-training",
    ]
    bring(own, CT_CANARY="80")
    code, lines = look(own, capsys)
    assert code == 2
    assert missing(lines) == [
        "ConfigMap continuous-training: CT_CANARY is 80: give a percentage from 0 (no canary) to 50"
    ]
    bring(own, CT_TARGET="local")
    code, lines = look(own, capsys)
    assert code == 0
    assert any(line.startswith("warning: CT_TARGET is local") for line in lines)


def test_a_namespace_that_is_not_there(own: Place, capsys: pytest.CaptureFixture[str]) -> None:
    code = preflight.main(["--namespace", f"{own.namespace}-x", "--workload", "digits"])
    assert code == 2
    assert f"MISSING: Namespace {own.namespace}-x: kubectl create namespace" in capsys.readouterr().out


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
def test_each_permission_that_lacks_is_named(
    own: Place, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    bring(own, CT_TARGET=target)
    less = [rule for rule in rules(REQUIRED_PERMISSIONS[target]) if rule["resources"] != ["pods/log"]]
    next(rule for rule in less if rule["resources"] == ["leases"])["verbs"].remove("update")
    own.account(less)
    _, lines = look(own, capsys)
    what = f"permissions of continuous-training in namespace {own.namespace} for CT_TARGET={target}"
    (line,) = [line for line in missing(lines) if line.startswith(what)]
    assert "it may not update leases.coordination.k8s.io, get pods/log; manifests/base/role.yaml" in line
    own.account(rules(REQUIRED_PERMISSIONS[target]))
    _, lines = look(own, capsys)
    assert f"ok: {what}" in lines


def test_a_cluster_without_kserve_is_told(own: Place, capsys: pytest.CaptureFixture[str]) -> None:
    bring(own, CT_TARGET="kserve")
    known = is_known(
        own.cluster, Resource("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices")
    )
    _, lines = look(own, capsys)
    what = "KServe's InferenceService (serving.kserve.io/v1beta1)"
    assert (
        f"ok: {what}" if known else f"MISSING: {what}: install KServe, or set CT_TARGET=kubernetes"
    ) in lines
    assert is_known(own.cluster, DEPLOYMENT)
    assert is_known(own.cluster, POD)
    assert not is_known(own.cluster, Resource("apps/v1", "Nothing", "nothings"))
    assert not is_known(own.cluster, Resource("no.such.group/v1", "Nothing", "nothings"))


def caller(place: Place, name: str, role: str, folder: Path) -> Path:
    """Return the kubeconfig of a service account that has a ClusterRole in the namespace ("": none)."""
    place.cluster.apply(SERVICE_ACCOUNT, {"metadata": {"name": name}})
    if role:
        bound = {
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace}],
        }
        place.cluster.apply(ROLE_BINDING, bound)
    config = yaml.safe_load(place.kubectl("config", "view", "--raw", "--minify"))
    config["users"][0]["user"] = {"token": place.kubectl("create", "token", name).strip()}
    path = folder / name
    path.write_text(json.dumps(config))
    return path


def seen_by(place: Place, kubeconfig: Path) -> Cluster:
    return connect(place.namespace, str(kubeconfig))


def test_administrators_editors_and_the_account_itself_may_ask(own: Place, tmp_path: Path) -> None:
    own.account(rules(((POD, "", ("list",)),)))
    user = user_of(own.namespace, ACCOUNT)
    callers = {
        role: seen_by(own, caller(own, f"a-{role}", role, tmp_path)) for role in ("admin", "edit", "view")
    }
    itself = seen_by(own, caller(own, ACCOUNT, "", tmp_path))
    for cluster in (callers["admin"], callers["edit"], itself, own.cluster):
        allowed = permissions_of(cluster, user)
        assert allowed("list", POD, "")
        assert not allowed("delete", POD, "")
        assert not allowed("get", POD, "log")
    with pytest.raises(ForbiddenError):
        permissions_of(callers["view"], user)


def test_what_this_user_may_not_see_is_said_and_not_held_against_the_cluster(
    own: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring(own)
    monkeypatch.setenv("KUBECONFIG", str(caller(own, "viewer", "view", tmp_path)))
    code, lines = look(own, capsys)
    assert code == 0
    here = f"in namespace {own.namespace}"
    assert f"not seen: Secret continuous-training {here}: this user may not look for it" in lines
    assert f"ok: ConfigMap continuous-training {here}" in lines
    assert any(line.startswith("not seen: permissions of continuous-training") for line in lines)


def test_of_a_secret_only_the_existence_is_asked_for(own: Place) -> None:
    """The server sends no data: an account may look without a chance to print a key by mistake."""
    sent: list[Any] = []
    api = own.cluster.transport.api
    call = api.call_api

    def spied(*args: Any, **more: Any) -> Any:
        answer = call(*args, **more)
        sent.append(answer[0].data)
        return answer

    api.call_api = spied
    try:
        assert is_there(own.cluster, SECRET, "model-server")
        assert not is_there(own.cluster, SECRET, "no-such-secret")
    finally:
        api.call_api = call
    (told,) = sent
    assert b"PartialObjectMetadata" in told
    assert b"AWS_SECRET_ACCESS_KEY" not in json.dumps(json.loads(told).get("data", {})).encode()
    assert "data" not in json.loads(told)


def test_a_run_is_not_submitted_to_a_cluster_that_lacks_something(
    own: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda _: None)
    with kfp_server() as kfp:
        asked = ["--target", "cluster", "--workload", "digits", "--host", kfp.url, *IMAGES]
        asked += ["--namespace", own.namespace]
        assert run.main(asked) == 2
        told = capsys.readouterr().err
        assert "the cluster lacks what a run needs; --no-preflight submits all the same:" in told
        assert "manifests/base/configmap.yaml brings it" in told
        assert not kfp.pipelines
        assert not kfp.runs
        assert run.main([*asked, "--dry-run"]) == 2
        assert run.main([*asked, "--no-preflight", "--dry-run"]) == 0
        monkeypatch.undo()
        bring(own)
        assert os.environ["KUBECONFIG"]
        monkeypatch.setenv("HOME", str(tmp_path))
        assert run.main([*asked, "--dry-run"]) == 0
        assert json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
