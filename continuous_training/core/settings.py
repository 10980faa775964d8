"""Where registry, archives and endpoint are: read from the environment once, at the edge of each step.

| variable | meaning | default |
|---|---|---|
| CT_STATE | the folder that holds all of it on one machine | .state |
| MLFLOW_TRACKING_URI | the registry: http(s)://HOST or a local database | the state folder's |
| MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN | its credentials | none |
| CT_STORE | archives and records: a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT | the state folder's |
| CT_CACHE | local copies of remote data files | `cache` in the state folder |
| CT_KFP_API | the Kubeflow Pipelines API that the exit handler asks | none: not on a cluster |
| CT_KFP_TOKEN_FILE | a file with the token for that API, where Kubeflow has several users | none |
| CT_WEBHOOK | a URL that is told about each run | none |
| CT_TARGET | where models are served: local, kubernetes, kserve or torchserve | local |

For a target on a cluster:

| variable | meaning | default |
|---|---|---|
| KUBECONFIG, CT_CONTEXT | the cluster, when this runs outside it | the pod's own |
| CT_SERVING_NAMESPACE | the model servers' namespace | the pod's own |
| CT_SERVING_IMAGE | the model server's image, by digest | none: it must be set |
| CT_TORCHSERVE_IMAGE | TorchServe's image, for that target | none |
| CT_SERVING_STORE | the object store as model servers reach it | CT_STORE |
| CT_SERVING_REPLICAS, CT_SERVING_MAX_REPLICAS | the fewest and the most servers of a model | 2, 4 |
| CT_SERVING_CPU, CT_SERVING_MEMORY | what one server asks for; the memory is its limit, too | 250m, 512Mi |
| CT_CANARY | percent of the traffic that tries a new version first, 0 to 50 | 0: no canary |
| CT_CANARY_SECONDS | how long the canary is watched | 60 |
| CT_ROLLOUT_DEADLINE | seconds that a rollout may take | 600 |
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.core.errors import UserError

TARGETS = ("local", "kubernetes", "kserve", "torchserve")


@dataclass(frozen=True)
class ServingSettings:
    """How models are served on a cluster; see the module's second table. UserError for what cannot be.

    `canary` is in percent of the traffic; `canary_seconds` and `deadline` are seconds.
    """

    namespace: str = ""
    image: str = ""
    torchserve_image: str = ""
    store: str = ""
    replicas: int = 2
    max_replicas: int = 4
    cpu: str = "250m"
    memory: str = "512Mi"
    canary: int = 0
    canary_seconds: int = 60
    deadline: int = 600
    kubeconfig: str = ""
    context: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.canary <= 50:
            raise UserError(f"CT_CANARY is {self.canary}: give a percentage from 0 (no canary) to 50")
        if not 1 <= self.replicas <= self.max_replicas:
            raise UserError(
                f"CT_SERVING_REPLICAS is {self.replicas} and CT_SERVING_MAX_REPLICAS {self.max_replicas}: "
                "the fewest must be at least 1, and the most no less than that"
            )
        if min(self.canary_seconds, self.deadline) < 1:
            raise UserError("CT_CANARY_SECONDS and CT_ROLLOUT_DEADLINE must be 1 or more")
        for name, value in (("CT_SERVING_CPU", self.cpu), ("CT_SERVING_MEMORY", self.memory)):
            if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(m|k|[KMGT]i?)?", value):
                raise UserError(f"{name} is {value!r}: write it as Kubernetes does, 250m or 512Mi")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServingSettings:
        """Return the settings; UserError for a number that is none."""
        texts = {
            "namespace": "CT_SERVING_NAMESPACE",
            "image": "CT_SERVING_IMAGE",
            "torchserve_image": "CT_TORCHSERVE_IMAGE",
            "cpu": "CT_SERVING_CPU",
            "memory": "CT_SERVING_MEMORY",
            "kubeconfig": "KUBECONFIG",
            "context": "CT_CONTEXT",
        }
        numbers = {
            "replicas": "CT_SERVING_REPLICAS",
            "max_replicas": "CT_SERVING_MAX_REPLICAS",
            "canary": "CT_CANARY",
            "canary_seconds": "CT_CANARY_SECONDS",
            "deadline": "CT_ROLLOUT_DEADLINE",
        }
        given: dict[str, Any] = {
            field: environment[name] for field, name in texts.items() if environment.get(name)
        }
        for field, name in numbers.items():
            if environment.get(name):
                given[field] = _number(name, environment[name])
        if "max_replicas" not in given:
            given["max_replicas"] = max(cls.max_replicas, given.get("replicas", 0))
        return cls(store=environment.get("CT_SERVING_STORE") or environment.get("CT_STORE", ""), **given)


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(f"{name} is {text!r}: give a whole number")
    return int(text)


@dataclass(frozen=True)
class Settings:
    """The set-up of one process; see the module's table."""

    state: Path
    registry: str
    store: str
    cache: Path
    registry_user: str = ""
    registry_password: str = ""
    registry_token: str = ""
    kfp_api: str = ""
    kfp_token_file: Path | None = None
    webhook: str = ""
    target: str = "local"
    serving: ServingSettings = ServingSettings()

    @property
    def registry_access(self) -> tuple[str, str, str, str]:
        """The registry's URI, user, password and token."""
        return self.registry, self.registry_user, self.registry_password, self.registry_token

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], state: Path | None = None) -> Settings:
        """Return the settings; `state` (a command's --state) goes before the environment's."""
        # A folder that was asked for by name holds everything; the environment may not take part of it away.
        asked = {} if state else environment
        target = asked.get("CT_TARGET") or "local"
        if target not in TARGETS:
            raise UserError(f"CT_TARGET is {target!r}: it is one of {', '.join(TARGETS)}")
        folder = (state or Path(environment.get("CT_STATE") or ".state")).expanduser().resolve()
        return cls(
            state=folder,
            registry=asked.get("MLFLOW_TRACKING_URI") or local_registry_uri(folder),
            store=asked.get("CT_STORE") or str(folder / "store"),
            cache=Path(asked.get("CT_CACHE") or folder / "cache").expanduser(),
            registry_user=environment.get("MLFLOW_TRACKING_USERNAME", ""),
            registry_password=environment.get("MLFLOW_TRACKING_PASSWORD", ""),
            registry_token=environment.get("MLFLOW_TRACKING_TOKEN", ""),
            kfp_api=asked.get("CT_KFP_API", ""),
            kfp_token_file=Path(token) if (token := asked.get("CT_KFP_TOKEN_FILE")) else None,
            webhook=environment.get("CT_WEBHOOK", ""),
            target=target,
            serving=ServingSettings() if target == "local" else ServingSettings.from_environment(environment),
        )


def local_registry_uri(state: Path) -> str:
    """Return the URI of the registry database under a state folder."""
    return f"sqlite:///{state / 'mlflow' / 'mlflow.db'}"
