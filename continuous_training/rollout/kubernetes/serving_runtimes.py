"""The serving runtimes of a pod: our model server and TorchServe."""

from __future__ import annotations

import json
import zipfile
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from continuous_training.adapters.object_store import store_host
from continuous_training.artifacts.archive_writer import TORCHSERVE_MANIFEST
from continuous_training.core.errors import UserError
from continuous_training.core.serving_settings import ServingSettings
from continuous_training.rollout.kubernetes.pod_spec import (
    TERMINATION_DELAY,
    container_defaults,
    http_port,
    http_probe,
    pod_spec,
    store_credentials,
)
from continuous_training.rollout.kubernetes.service_client import PORT, ServiceResponse
from continuous_training.rollout.kubernetes.serving_objects import Manifest
from continuous_training.rollout.trial import DeployedVersion

MODEL_FOLDER = "/models"
DIGEST_HEADER = "x-model-digest"

_MODELS_MOUNT = {"name": "models", "mountPath": MODEL_FOLDER}


class ServingRuntime(Protocol):
    """A program that serves a model archive in a pod."""

    def pod(self, version: DeployedVersion) -> Manifest:
        """Return the spec of a pod that serves the version on the port named `http`."""

    def predict_path(self, name: str) -> str:
        """Return the path of the public endpoint; it does not depend on the version."""

    def version_path(self, name: str, archive: Path) -> str:
        """Return a path whose responses identify the version in `archive`."""

    def response_digest(self, response: ServiceResponse, expected: str) -> str:
        """Return the digest of the version that sent a response from `version_path`.

        `expected` is the digest of the version that the request was for.
        """


class ModelServer:
    """Our model server. Every response contains the digest of the version in a header."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings, self.store = settings, _store_uri(settings)
        self.image = _pinned_image("CT_SERVING_IMAGE", settings.image)

    def pod(self, version: DeployedVersion) -> Manifest:
        """Return the spec of a pod with one container, `server`."""
        command = ["python", "-m", "serving", "serve", "--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104
        command += ["--model-store", self.store, "--model", f"{version.name}@{version.digest}"]
        command += ["--linger", str(TERMINATION_DELAY), "--log-level", "info"]
        container = container_defaults(self.settings, self.image) | {
            "name": "server",
            "command": command,
            "env": store_credentials(),
            "ports": [http_port(PORT)],
            "startupProbe": http_probe("/v2/health/live", period=1, failures=60),
            "readinessProbe": http_probe("/v2/health/ready", period=2, failures=2),
            "livenessProbe": http_probe("/v2/health/live", period=10, failures=3),
        }
        return pod_spec([container])

    @staticmethod
    def predict_path(name: str) -> str:
        """Return /predict/NAME."""
        return f"/predict/{name}"

    def version_path(self, name: str, archive: Path) -> str:
        """Return the path of the public endpoint, because the response contains the digest."""
        return self.predict_path(name)

    def response_digest(self, response: ServiceResponse, expected: str) -> str:
        """Return the value of the response's digest header; empty if it is missing."""
        return response.headers.get(DIGEST_HEADER, "")


class TorchServe:
    """TorchServe with the same archive, which an init container with our serving image downloads.

    Its responses do not contain the version. Requests to a version use its own path,
    /predictions/NAME/VERSION, to which no other version responds.
    """

    def __init__(self, settings: ServingSettings) -> None:
        if settings.canary:
            raise UserError(
                "CT_CANARY: a canary compares server errors, which TorchServe does not count: set CT_CANARY "
                "to 0, or CT_TARGET to kubernetes"
            )
        self.settings, self.store = settings, _store_uri(settings)
        self.download_image = _pinned_image("CT_SERVING_IMAGE", settings.image)
        self.image = _pinned_image("CT_TORCHSERVE_IMAGE", settings.torchserve_image)

    def pod(self, version: DeployedVersion) -> Manifest:
        """Return the spec of a pod with the init container `fetch` and the container `server`."""
        return pod_spec([self._server()], [self._download(version)], ("models",))

    def _download(self, version: DeployedVersion) -> Manifest:
        container = container_defaults(self.settings, self.download_image)
        command = ["python", "-m", "serving.fetch", "--output", MODEL_FOLDER, "--torchserve"]
        command += ["--model-store", self.store, "--model", f"{version.name}@{version.digest}"]
        return container | {
            "name": "fetch",
            "command": command,
            "env": store_credentials(),
            "volumeMounts": [*container["volumeMounts"], _MODELS_MOUNT],
        }

    def _server(self) -> Manifest:
        container = container_defaults(self.settings, self.image)
        options = ["--model-store", MODEL_FOLDER, "--ts-config", f"{MODEL_FOLDER}/config.properties"]
        return container | {
            "name": "server",
            "command": ["torchserve", "--start", "--foreground", *options],
            # TorchServe writes its logs, its process id and unpacked archives.
            "workingDir": "/tmp",  # noqa: S108
            "env": [
                {"name": key, "value": "/tmp"}  # noqa: S108
                for key in ("HOME", "TMPDIR", "LOG_LOCATION", "METRICS_LOCATION")
            ],
            "ports": [http_port(PORT)],
            "startupProbe": http_probe("/ping", period=2, failures=90),
            "readinessProbe": http_probe("/ping", period=2, failures=2),
            "livenessProbe": http_probe("/ping", period=10, failures=6),
            # TorchServe ends immediately on SIGTERM. The delay lets the cluster stop sending requests first.
            "lifecycle": {"preStop": {"sleep": {"seconds": TERMINATION_DELAY}}},
            "volumeMounts": [*container["volumeMounts"], _MODELS_MOUNT],
        }

    @staticmethod
    def predict_path(name: str) -> str:
        """Return /predictions/NAME."""
        return f"/predictions/{name}"

    def version_path(self, name: str, archive: Path) -> str:
        """Return /predictions/NAME/VERSION, with the version in TorchServe's manifest of the archive."""
        with zipfile.ZipFile(archive) as members:
            manifest = json.loads(members.read(TORCHSERVE_MANIFEST))
        return f"{self.predict_path(name)}/{manifest['model']['modelVersion']}"

    def response_digest(self, response: ServiceResponse, expected: str) -> str:
        """Return `expected`, because only that version responds on its path."""
        return expected


def _pinned_image(variable: str, image: str) -> str:
    """Return the image; UserError if it is not set or its tag is `latest`."""
    if not image:
        raise UserError(
            f"{variable} is not set: set it in the ConfigMap continuous-training to an image with its digest"
        )
    if image.endswith(":latest"):
        raise UserError(f"{variable} is {image}, which is not pinned: use a digest or the tag of a commit")
    return image


def _store_uri(settings: ServingSettings) -> str:
    """Return the URI of the store; UserError if the pods of a cluster cannot read it."""
    if not settings.store.startswith("s3://"):
        raise UserError(
            f"model servers on a cluster cannot read the store {settings.store or '(none)'!r}: set CT_STORE "
            "or CT_SERVING_STORE to s3://BUCKET/PREFIX?endpoint=HOST:PORT"
        )
    if _is_loopback(store_host(settings.store)):
        raise UserError(
            f"model servers on a cluster cannot read the store {settings.store!r}: it is an address of this "
            "machine, for example of a forwarded port. Set CT_SERVING_STORE to the address inside the cluster"
        )
    return settings.store


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
