"""Steps against what is installed in a cluster: the first four here, deploy-serving as a pod there."""

from __future__ import annotations

import base64
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
    kube.apply(data, _pod(name, changes))
    ended = "{.status.containerStatuses[0].state.terminated.exitCode}"
    kube.run("wait", f"--for=jsonpath={ended}", f"pod/{name}", "--timeout=200s")
    code = kube.run("get", "pod", name, "-o", f"jsonpath={ended}")
    return int(code), kube.run("logs", name)


def _pod(name: str, changes: dict[str, str]) -> Object:
    labels = {"app.kubernetes.io/part-of": "continuous-training", "app.kubernetes.io/component": "step"}
    container = {
        "name": "step",
        "image": step_image("deploy-serving"),
        "command": ["python", "-m", "components.deploy_serving", "--archive", "/archived"],
        "args": ["--output", "/tmp/deployed.json"],  # noqa: S108
        "envFrom": [
            {"configMapRef": {"name": "continuous-training"}},
            {"secretRef": {"name": "continuous-training"}},
        ],
        "env": [{"name": key, "value": value} for key, value in changes.items()],
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "archived", "mountPath": "/archived"},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    spec = {
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
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
    }
