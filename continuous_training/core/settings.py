"""The settings of a process. Each entry point reads them once from environment variables.

| variable | meaning | default |
|---|---|---|
| CT_STATE | the state directory | .state |
| MLFLOW_TRACKING_URI | the registry: http(s)://HOST or a local database | in the state directory |
| MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN | its credentials | none |
| CT_STORE | the object store: a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT | in the state directory |
| CT_CACHE | the cache of remote data files | `cache` in the state directory |
| CT_SOURCE_HOSTS | hosts and networks in the cluster to which the run parameter `source` may lead | none |
| KUBERNETES_SERVICE_HOST | the API server's address in a pod; Kubernetes sets it | none: not in a cluster |
| CT_KFP_API | the Kubeflow Pipelines API for the exit handler | none: not on a cluster |
| CT_KFP_TOKEN_FILE | a file with the token for that API, for Kubeflow with several users | none |
| CT_RUN, CT_WORKLOAD | the run of a step and its workload; the pipeline sets them | none |
| CT_RETRIES | how often a step repeats after a temporary failure | 0 |
| CT_RETRY_BACKOFF | seconds before the first of these retries, doubled for each further one | 30 |
| CT_APPROVAL_BY_OTHERS | true: the person who started a run cannot approve its version | false |
| CT_TARGET | where models are served: local, kubernetes, kserve or torchserve | local |

notification_settings.py and serving_settings.py have tables of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import UserError
from continuous_training.core.notification_settings import NotificationSettings
from continuous_training.core.serving_settings import ServingSettings

TARGETS = ("local", "kubernetes", "kserve", "torchserve")


@dataclass(frozen=True)
class ClusterSource:
    """The namespace of a cluster from which the settings of a command were read, and its context."""

    namespace: str
    context: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """The options with which another command reads the same settings."""
        return cluster_options(self.namespace, self.context)


def cluster_options(namespace: str = "", context: str = "") -> tuple[str, ...]:
    """Return the options of a command for a cluster. `--cluster` is the last one, because of its value."""
    return (*(("--namespace", namespace) if namespace else ()), "--cluster", *filter(None, (context,)))


@dataclass(frozen=True)
class Settings:
    """The settings of one process; see the module's table."""

    state: Path
    registry: str
    store: str
    cache: Path
    registry_user: str = ""
    registry_password: str = ""
    registry_token: str = ""
    kfp_api: str = ""
    kfp_token_file: Path | None = None
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    run: str = ""
    workload: str = ""
    retries: int = 0
    retry_backoff: float = 30
    approval_by_others: bool = False
    target: str = "local"
    serving: ServingSettings = field(default_factory=ServingSettings)
    addresses: AddressPolicy = OUTSIDE_CLUSTER
    """The addresses to which a run parameter may lead."""
    store_access: tuple[str, str] | None = None
    """Access key and secret of the store; None for the usual AWS variables and files."""
    cluster: ClusterSource | None = None

    @property
    def registry_access(self) -> tuple[str, str, str, str]:
        """The registry's URI, user, password and token."""
        return self.registry, self.registry_user, self.registry_password, self.registry_token

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], state: Path | None = None) -> Settings:
        """Read the settings. `state` (the option --state of a command) overrides the environment."""
        # With an explicit state directory, registry, store and cache are all inside it.
        variables = {} if state else environment
        target = variables.get("CT_TARGET") or "local"
        if target not in TARGETS:
            raise UserError(f"CT_TARGET is {target!r}: it must be one of {', '.join(TARGETS)}")
        folder = (state or Path(environment.get("CT_STATE") or ".state")).expanduser().resolve()
        return cls(
            state=folder,
            registry=variables.get("MLFLOW_TRACKING_URI") or local_registry_uri(folder),
            store=variables.get("CT_STORE") or str(folder / "store"),
            cache=Path(variables.get("CT_CACHE") or folder / "cache").expanduser(),
            registry_user=environment.get("MLFLOW_TRACKING_USERNAME", ""),
            registry_password=environment.get("MLFLOW_TRACKING_PASSWORD", ""),
            registry_token=environment.get("MLFLOW_TRACKING_TOKEN", ""),
            kfp_api=variables.get("CT_KFP_API", ""),
            kfp_token_file=Path(token) if (token := variables.get("CT_KFP_TOKEN_FILE")) else None,
            notifications=NotificationSettings.from_environment(environment),
            run=environment.get("CT_RUN", ""),
            workload=environment.get("CT_WORKLOAD", ""),
            retries=int(_number(environment, "CT_RETRIES", 0)),
            retry_backoff=_number(environment, "CT_RETRY_BACKOFF", 30),
            approval_by_others=_boolean(environment, "CT_APPROVAL_BY_OTHERS"),
            target=target,
            addresses=AddressPolicy.from_environment(environment),
            serving=ServingSettings() if target == "local" else ServingSettings.from_environment(environment),
        )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf:
        raise UserError(f"{name} is {text!r}: it must be a number that is not negative")
    return number


def _boolean(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(name) or "false"
    if text not in ("true", "false"):
        raise UserError(f"{name} is {text!r}: it must be true or false")
    return text == "true"


def local_registry_uri(state: Path) -> str:
    """Return the URI of the registry database in a state directory."""
    return f"sqlite:///{state / 'mlflow' / 'mlflow.db'}"
