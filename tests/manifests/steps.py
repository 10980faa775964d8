"""Steps in a cluster, as pods of their own images with what the manifests give them."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .building import step_image
from .kube import Kube
from .rendering import Object

DEPLOYED = "/tmp/deployed.json"  # noqa: S108
LABELS = {"app.kubernetes.io/part-of": "continuous-training", "app.kubernetes.io/component": "step"}


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
    """Run deploy-serving alone on what archive handed on; returns its exit code and its log."""
    text = (archived / "archived.json").read_text(encoding="utf-8")
    name = _name("deploy-serving")
    handed = {"metadata": {"name": name}, "data": {"archived.json": text}}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", **handed})
    mount = {"name": "archived", "mountPath": "/archived"}
    step = _step("deploy-serving", "--archive", "/archived", "--output", DEPLOYED, mount=mount)
    step["env"] = [{"name": key, "value": value} for key, value in changes.items()]
    return _run(kube, name, [step], {"name": "archived", "configMap": {"name": name}})


def carry_through(kube: Kube, workload: str) -> tuple[int, str]:
    """Run the five steps one after the other, each in its own image; returns 0 or another, and their logs."""
    work = {"name": "work", "mountPath": "/work"}
    of_workload = ("--workload", workload)
    data, model, judged, archived = ("/work/data", "/work/model", "/work/judged", "/work/archived")
    every = [
        _step("prep-data", *of_workload, "--output", data, mount=work),
        _step("train", *of_workload, "--data", data, "--output", model, mount=work),
        _step("evaluate", *of_workload, "--data", data, "--model", model, "--output", judged, mount=work),
        _step("archive", "--model", model, "--evaluation", judged, "--output", archived, mount=work),
        _step("deploy-serving", "--archive", archived, "--data", data, "--output", DEPLOYED, mount=work),
    ]
    return _run(kube, _name(workload), every, {"name": "work", "emptyDir": {}})


def _name(words: str) -> str:
    return f"{words}-{secrets.token_hex(3)}"


def _run(kube: Kube, name: str, containers: list[Object], volume: Object) -> tuple[int, str]:
    """Run the containers one after the other in a pod like a step's; returns an exit code, and their logs."""
    *before, last = containers
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": LABELS},
            "spec": {
                "serviceAccountName": "continuous-training",
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "initContainers": before,
                "containers": [last],
                "volumes": [volume, {"name": "tmp", "emptyDir": {}}],
            },
        }
    )
    pod = kube.ended(name)
    status = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    codes = [one["state"].get("terminated", {}).get("exitCode", 0) for one in status]
    return max(codes), kube.run("logs", name, "--all-containers", "--prefix", check=False)


def _step(name: str, *arguments: str, mount: Object) -> Object:
    return {
        "name": name,
        "image": step_image(name),
        "command": ["python", "-m", f"components.{name.replace('-', '_')}"],
        "args": list(arguments),
        "envFrom": [
            {"configMapRef": {"name": "continuous-training"}},
            {"secretRef": {"name": "continuous-training"}},
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
