"""The commands of an operator outside the cluster, with the Roles that the manifests provide."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines import history, prune, rollback, status, trace

from . import steps
from .audit import Permission, permissions_of_rules, requested_permissions
from .conftest import Installation
from .kube import Kube
from .rendering import Object
from .test_role import role
from .toy_versions import store_version

pytestmark = pytest.mark.cluster

MODEL, ACCOUNT = "operated", "operator"
ROLES = ("continuous-training", "continuous-training-operator")
STORE = "s3://continuous-training?endpoint=store:9000&secure=false"
OF_A_LAPTOP = {
    "CT_TARGET": "kubernetes",
    "CT_SERVING_IMAGE": "registry.example/other/serving:1.0",
    "CT_SERVING_CPU": "3",
    "CT_SERVING_MEMORY": "9Gi",
    "CT_SERVING_REPLICAS": "4",
}
"""Settings of another cluster, which must not change the pods."""

Main = Callable[[list[str]], int]
Run = Callable[..., tuple[Any, str]]


@pytest.fixture(scope="module")
def operated(installed: Installation, tmp_path_factory: pytest.TempPathFactory) -> Kube:
    """The installation, in which version 2 of the model is served, and version 1 is the previous champion."""
    folder = tmp_path_factory.mktemp("versions")
    for run, scale in (("first", 2.0), ("second", 3.0)):
        code, log = steps.deploy(installed.kube, store_version(installed.kube, folder, MODEL, run, scale))
        assert code == 0, log
    return installed.kube


@pytest.fixture
def kubeconfig(operated: Kube, tmp_path: Path) -> Path:
    """The kubeconfig of an operator with the shipped Roles. Its current context is another cluster."""
    kube = operated
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
    kube.apply(*(_binding(kube.namespace, name) for name in ROLES))
    config = yaml.safe_load(kube.run("config", "view", "--raw", "--minify"))
    token = kube.run("create", "token", ACCOUNT).strip()
    context = {"cluster": config["clusters"][0]["name"], "user": ACCOUNT}
    elsewhere = {"name": "elsewhere", "cluster": {"server": "https://127.0.0.1:9"}}
    config["clusters"].append(elsewhere)
    config["contexts"] = [
        {"name": "site", "context": context},
        {"name": "elsewhere", "context": {**context, "cluster": "elsewhere"}},
    ]
    config["users"] = [{"name": ACCOUNT, "user": {"token": token}}]
    config["current-context"] = "elsewhere"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


def _binding(namespace: str, name: str) -> Object:
    kind = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{kind}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{ACCOUNT}-{name}"},
        "roleRef": {"apiGroup": kind, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


@pytest.fixture
def run(
    kubeconfig: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs a command as the operator. It returns the JSON object and the messages."""

    def run(main: Main, *arguments: str, environment: Mapping[str, str] | None = None) -> tuple[Any, str]:
        variables = {"KUBECONFIG": str(kubeconfig), "CT_STATE": str(tmp_path / "state")}
        with monkeypatch.context() as patch:
            for name, value in {**variables, **(environment or {})}.items():
                patch.setenv(name, value)
            capsys.readouterr()
            code = main([*arguments, "--json"])
        output = capsys.readouterr()
        assert code == 0, output.err
        return json.loads(output.out), output.err

    return run


def test_each_command_needs_one_line_and_only_the_shipped_roles(run: Run, operated: Kube) -> None:
    site = ("--namespace", operated.namespace, "--cluster", "site")
    workload = ("--workload", MODEL)
    (row,) = run(status.main, *workload, *site)[0]["workloads"]
    assert (row["agree"], row["champion"]["version"], row["previous"]) == (True, "2", "1")
    assert run(trace.main, row["served"]["digest"], *site)[0]["version"] == "2"
    assert run(history.main, *workload, *site)[0]["workload"] == MODEL
    assert run(prune.main, "--keep", "5", "--dry-run", *site)[0]["archives"] == 0
    planned, _ = run(rollback.main, *workload, "--dry-run", *site)
    assert (planned["verdict"], planned["to"]["version"]) == ("planned", "1")

    result, messages = run(rollback.main, *workload, "--why", "wrong", *site)
    assert (result["verdict"], result["to"]["version"]) == ("rolled back", "1")
    assert result["endpoint"] == f"http://{MODEL}.{operated.namespace}.svc/predict/{MODEL}"
    assert "CT_SERVING" not in messages
    (row,) = run(status.main, *workload, *site)[0]["workloads"]
    assert (row["agree"], row["served"]["version"]) == (True, "1")

    used, denied = requested_permissions(operated.namespace, ACCOUNT)
    assert denied == []
    granted = permissions_of_rules(role("base/operator-role.yaml")["rules"])
    # Kubernetes 1.35 checks `create`; pipelines.logs reads logs; a failed rollback verifies each pod.
    assert granted - used == {
        Permission("", "pods/portforward", "create"),
        Permission("", "pods/proxy", "create"),
        Permission("", "pods/log", "get"),
    }


def test_the_environment_of_a_laptop_does_not_change_the_pods(run: Run, operated: Kube) -> None:
    with steps.environment(operated) as environment:
        assert "127.0.0.1" in environment["CT_STORE"]
        variables = {**environment, **OF_A_LAPTOP, "CT_SERVING_NAMESPACE": operated.namespace}
        variables["CT_CONTEXT"] = "site"
        target = ("--workload", MODEL, "--to", "2")
        result, messages = run(rollback.main, *target, environment=variables)
    assert result["to"]["version"] == "2"
    assert f"CT_SERVING_STORE: {STORE} of the ConfigMap" in messages
    for name in OF_A_LAPTOP.keys() - {"CT_TARGET"}:
        assert f"{name}: " in messages
    deployment = operated.get("deployment", f"{MODEL}-{result['to']['digest'][:12]}")
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    assert STORE in server["command"]
    assert server["image"] == steps.step_image("serving")
    assert server["resources"]["requests"] == {"cpu": "50m", "memory": "512Mi"}
