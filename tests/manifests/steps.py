"""Steps against what is installed in a cluster: the first four here, deploy-serving as a Job there."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .building import step_image
from .kube import Kube
from .rendering import Object

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@contextmanager
def environment(kube: Kube) -> Iterator[dict[str, str]]:
    """Reach registry and store from here, with the steps' own key; yields the steps' environment."""
    with (
        kube.forwarded("service/registry", 5000) as registry,
        kube.forwarded("service/store", 9000) as store,
    ):
        yield {
            "MLFLOW_TRACKING_URI": f"http://{registry}",
            "CT_STORE": f"s3://continuous-training?endpoint={store}&secure=false",
            **keys(kube, "continuous-training"),
        }


def keys(kube: Kube, secret: str) -> dict[str, str]:
    """Return what a Secret holds."""
    data = kube.get("secret", secret)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def deploy(kube: Kube, archived: Path, **changes: str) -> tuple[int, str]:
    """Run deploy-serving as a run of the pipeline does; returns its exit code and its log."""
    name = f"deploy-serving-{secrets.token_hex(3)}"
    text = (archived / "archived.json").read_text(encoding="utf-8")
    data = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name},
        "data": {"archived.json": text},
    }
    kube.apply(data, _job(name, changes))
    until = "jsonpath={.status.conditions[*].type}"
    kube.run("wait", f"--for={until}", f"job/{name}", "--timeout=10s", check=False)
    kube.run("wait", "--for=jsonpath={.status.terminating}=0", f"job/{name}", "--timeout=200s")
    pods = json.loads(kube.run("get", "pods", "-l", f"job-name={name}", "-o", "json"))["items"]
    ended = pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]
    return int(ended["exitCode"]), kube.run("logs", pods[0]["metadata"]["name"])


def _job(name: str, changes: dict[str, str]) -> Object:
    labels = {"app.kubernetes.io/part-of": "continuous-training", "app.kubernetes.io/component": "step"}
    container = {
        "name": "step",
        "image": step_image("deploy-serving"),
        "command": ["python", "-m", "components.deploy_serving", "--archive", "/archived"],
        "args": ["--output", "/tmp/deployed.json"],
        "envFrom": [
            {"configMapRef": {"name": "continuous-training"}},
            {"secretRef": {"name": "continuous-training"}},
        ],
        "env": [{"name": key, "value": value} for key, value in changes.items()],
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "archived", "mountPath": "/archived"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    pod = {
        "serviceAccountName": "continuous-training",
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "archived", "configMap": {"name": name}}, {"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
    }
