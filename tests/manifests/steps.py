"""Run steps in a cluster, as pods of their images with the settings and permissions of the manifests."""

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
    """Forward the ports of registry and store within the block. Yields the environment of the steps."""
    with (
        kube.port_forward("service/registry", 5000) as registry,
        kube.port_forward("service/store", 9000) as store,
    ):
        yield {
            "MLFLOW_TRACKING_URI": f"http://{registry}",
            "CT_STORE": f"s3://continuous-training?endpoint={store}&secure=false",
            **secret_data(kube, "continuous-training"),
        }


def secret_data(kube: Kube, secret: str) -> dict[str, str]:
    """Return the decoded data of a Secret."""
    data = kube.get("secret", secret)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def deploy(kube: Kube, archived: Path, **changes: str) -> tuple[int, str]:
    """Run deploy-serving with the output folder of archive. Return its exit code and log."""
    text = (archived / "archived.json").read_text(encoding="utf-8")
    name = _name("deploy-serving")
    config_map = {"metadata": {"name": name}, "data": {"archived.json": text}}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", **config_map})
    mount = {"name": "archived", "mountPath": "/archived"}
    step = _step("deploy-serving", "--archive", "/archived", "--output", DEPLOYED, mount=mount)
    step["env"] = [{"name": key, "value": value} for key, value in changes.items()]
    return _run(kube, name, [step], {"name": "archived", "configMap": {"name": name}})


def notify(kube: Kube, workload: str) -> tuple[int, str]:
    """Run notify at the end of a run that has no record. Return its exit code and log."""
    name = _name("notify")
    mount = {"name": "work", "mountPath": "/work"}
    step = _step("notify", "--workload", workload, "--run-id", name, mount=mount)
    return _run(kube, name, [step], {"name": "work", "emptyDir": {}})


def run_all_steps(kube: Kube, workload: str) -> tuple[int, str]:
    """Run the five steps in sequence, each in its image. Return the highest exit code and the logs."""
    mount = {"name": "work", "mountPath": "/work"}
    workload_options = ("--workload", workload)
    data, model, evaluated, archived = ("/work/data", "/work/model", "/work/evaluated", "/work/archived")
    containers = [
        _step("prep-data", *workload_options, "--output", data, mount=mount),
        _step("train", *workload_options, "--data", data, "--output", model, mount=mount),
        _step(
            "evaluate",
            *workload_options,
            "--data",
            data,
            "--model",
            model,
            "--output",
            evaluated,
            mount=mount,
        ),
        _step("archive", "--model", model, "--evaluation", evaluated, "--output", archived, mount=mount),
        _step("deploy-serving", "--archive", archived, "--data", data, "--output", DEPLOYED, mount=mount),
    ]
    return _run(kube, _name(workload), containers, {"name": "work", "emptyDir": {}})


def _name(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(3)}"


def _run(kube: Kube, name: str, containers: list[Object], volume: Object) -> tuple[int, str]:
    """Run the containers in sequence in one pod. Return the highest exit code and the logs."""
    *init_containers, last = containers
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
                "initContainers": init_containers,
                "containers": [last],
                "volumes": [volume, {"name": "tmp", "emptyDir": {}}],
            },
        }
    )
    pod = kube.wait_until_ended(name)
    statuses = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    codes = [status["state"].get("terminated", {}).get("exitCode", 0) for status in statuses]
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
