"""The parts of a pod's spec that all serving runtimes share; they comply with Pod Security `restricted`."""

from __future__ import annotations

from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kubernetes.serving_objects import Manifest

USER_ID = 10001
SERVICE_ACCOUNT_NAME, SECRET_NAME = "model-server", "model-server"

TERMINATION_DELAY, TERMINATION_DRAIN = 10, 10
"""Seconds for which a server accepts requests after SIGTERM, and then finishes those in progress."""

_STORE_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def pod_spec(
    containers: list[Manifest], init_containers: list[Manifest] | None = None, volumes: tuple[str, ...] = ()
) -> Manifest:
    """Return the spec of a pod with these containers and with an empty volume `tmp` and for each name."""
    return {
        "serviceAccountName": SERVICE_ACCOUNT_NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # Our server delays its own end after SIGTERM, so it needs no preStop hook.
        "terminationGracePeriodSeconds": TERMINATION_DELAY + TERMINATION_DRAIN + 10,
        **({"initContainers": init_containers} if init_containers else {}),
        "containers": containers,
        "volumes": [{"name": name, "emptyDir": {}} for name in ("tmp", *volumes)],
    }


def container_defaults(settings: ServingSettings, image: str) -> Manifest:
    """Return the fields of every container: resources, no privileges, and /tmp as the only writable path."""
    return {
        "image": image,
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory},
            # A CPU limit is enforced in time slices, and a request would wait for the next slice.
            "limits": {"memory": settings.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def store_credentials() -> list[Manifest]:
    """Return environment variables from the store's Secret; without the Secret access is anonymous."""
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": SECRET_NAME, "key": key, "optional": True}}}
        for key in _STORE_KEYS
    ]


def http_port(number: int) -> Manifest:
    """Return the container port named `http`."""
    return {"name": "http", "containerPort": number, "protocol": "TCP"}


def http_probe(path: str, period: int, failures: int) -> Manifest:
    """Return a probe of the port `http`; `period` is in seconds."""
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }
