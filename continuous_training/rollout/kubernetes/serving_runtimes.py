"""The programs that serve an archive in a pod: their containers, and how their answers name a version."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Protocol

from continuous_training.artifacts.archive import TORCHSERVE_MANIFEST
from continuous_training.core.errors import UserError
from continuous_training.core.settings import ServingSettings
from continuous_training.rollout.kubernetes.manifests import DeployedVersion, Object
from continuous_training.rollout.kubernetes.service_client import PORT, ServiceResponse

USER = 10001
ACCOUNT, SECRET = "model-server", "model-server"
MODELS = "/models"
LINGER, DRAIN = 10, 10
"""Seconds for which a server that is told to stop goes on, and then finishes what it has begun."""

_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class ServingRuntime(Protocol):
    """A program that serves an archive."""

    metrics: bool
    """Whether its pods count requests and faults as ours do."""

    def pod(self, version: DeployedVersion) -> Object:
        """Return the spec of a pod that serves the version on the port named `http`."""

    def predict_path(self, name: str) -> str:
        """Return the path that callers ask; it is the same for every version."""

    def version_path(self, name: str, archive: Path) -> str:
        """Return a path that this archive's version answers, and others refuse or sign as their own."""

    def response_digest(self, answer: ServiceResponse, asked: str) -> str:
        """Return the digest of the version that gave an answer at `version_path`, `asked` for one."""


class ModelServer:
    """Our own server; every answer of its is signed with the archive's digest."""

    metrics = True

    def __init__(self, settings: ServingSettings) -> None:
        self.settings, self.store = settings, _store(settings)
        self.image = _image("CT_SERVING_IMAGE", settings.image)

    def pod(self, version: DeployedVersion) -> Object:
        """Return the pod's spec."""
        command = ["python", "-m", "serving", "serve", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
        command += ["--model-store", self.store, "--model", f"{version.name}@{version.digest}"]
        container = _container(self.settings, self.image) | {
            "name": "server",
            "command": [*command, "--linger", str(LINGER), "--log-level", "info"],
            "env": _keys(),
            "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": _probe("/v2/health/live", period=1, failures=60),
            "readinessProbe": _probe("/v2/health/ready", period=2, failures=2),
            "livenessProbe": _probe("/v2/health/live", period=10, failures=3),
        }
        return _pod([container])

    @staticmethod
    def predict_path(name: str) -> str:
        """Return /predict/NAME."""
        return f"/predict/{name}"

    def version_path(self, name: str, archive: Path) -> str:
        """Return the very path of callers: the answer says who gave it."""
        return self.predict_path(name)

    def response_digest(self, answer: ServiceResponse, asked: str) -> str:
        """Return what the answer's header says."""
        return answer.headers.get("x-model-digest", "")


class TorchServe:
    """TorchServe over the same archive, which an init container of the serving image fetches.

    It signs no answers, so the version's own path is asked: /predictions/NAME/VERSION, which no other
    version answers.
    """

    metrics = False

    def __init__(self, settings: ServingSettings) -> None:
        if settings.canary:
            raise UserError(
                "CT_CANARY: a canary compares how often requests fail, and TorchServe does not count that; "
                "set it to 0, or CT_TARGET to kubernetes"
            )
        self.settings, self.store = settings, _store(settings)
        self.fetcher = _image("CT_SERVING_IMAGE", settings.image)
        self.image = _image("CT_TORCHSERVE_IMAGE", settings.torchserve_image)

    def pod(self, version: DeployedVersion) -> Object:
        """Return the pod's spec."""
        models = {"name": "models", "mountPath": MODELS}
        fetch = _container(self.settings, self.fetcher)
        command = ["python", "-m", "serving.fetch", "--output", MODELS, "--torchserve"]
        fetch |= {
            "name": "fetch",
            "command": [*command, "--model-store", self.store, "--model", f"{version.name}@{version.digest}"],
            "env": _keys(),
            "volumeMounts": [*fetch["volumeMounts"], models],
        }
        server = _container(self.settings, self.image)
        config = ["--model-store", MODELS, "--ts-config", f"{MODELS}/config.properties"]
        server |= {
            "name": "server",
            "command": ["torchserve", "--start", "--foreground", *config],
            # It writes its logs, its pid and what it unpacks.
            "workingDir": "/tmp",  # noqa: S108
            "env": [
                {"name": key, "value": "/tmp"}  # noqa: S108
                for key in ("HOME", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION")
            ],
            "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
            "startupProbe": _probe("/ping", period=2, failures=90),
            "readinessProbe": _probe("/ping", period=2, failures=2),
            "livenessProbe": _probe("/ping", period=10, failures=6),
            # It ends at once when it is told to, and the cluster needs a moment to notice.
            "lifecycle": {"preStop": {"sleep": {"seconds": LINGER}}},
            "volumeMounts": [*server["volumeMounts"], models],
        }
        return _pod([server], [fetch], ("models",))

    @staticmethod
    def predict_path(name: str) -> str:
        """Return /predictions/NAME."""
        return f"/predictions/{name}"

    def version_path(self, name: str, archive: Path) -> str:
        """Return /predictions/NAME/VERSION, of the version that the archive's own manifest tells."""
        with zipfile.ZipFile(archive) as members:
            manifest = json.loads(members.read(TORCHSERVE_MANIFEST))
        return f"{self.predict_path(name)}/{manifest['model']['modelVersion']}"

    def response_digest(self, answer: ServiceResponse, asked: str) -> str:
        """Return the digest that was asked for: its path is answered by no other version."""
        return asked


def _image(variable: str, image: str) -> str:
    if not image:
        raise UserError(f"{variable} is not set: name the image, by digest, in ConfigMap continuous-training")
    if image.endswith(":latest"):
        raise UserError(f"{variable} is {image}: an image that may change under a version is no pin")
    return image


def _store(settings: ServingSettings) -> str:
    if not settings.store.startswith("s3://"):
        raise UserError(
            f"model servers on a cluster cannot read the store {settings.store or '(none)'!r}: set CT_STORE "
            "or CT_SERVING_STORE to s3://BUCKET/PREFIX?endpoint=HOST:PORT"
        )
    return settings.store


def _keys() -> list[Object]:
    """Return the store's keys by reference; without the Secret the server asks without keys."""
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key, "optional": True}}}
        for key in _KEYS
    ]


def _container(settings: ServingSettings, image: str) -> Object:
    """Return what all containers have: limits, no privileges, and nothing to write to but /tmp."""
    return {
        "image": image,
        "resources": {
            "requests": {"cpu": settings.cpu, "memory": settings.memory},
            # No limit of CPU: it is given in slices, and a request would wait for the next one.
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


def _pod(
    containers: list[Object], first: list[Object] | None = None, volumes: tuple[str, ...] = ()
) -> Object:
    """Return the spec of a pod as Pod Security `restricted` wants it."""
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # The server itself goes on for a while once it is told to stop, so there is no preStop hook.
        "terminationGracePeriodSeconds": LINGER + DRAIN + 10,
        **({"initContainers": first} if first else {}),
        "containers": containers,
        "volumes": [{"name": name, "emptyDir": {}} for name in ("tmp", *volumes)],
    }


def _probe(path: str, period: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }
