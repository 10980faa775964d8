"""Where registry, archives and endpoint are: read from the environment once, at the edge of each step.

| variable | meaning | default |
|---|---|---|
| CT_STATE | the folder that holds all of it on one machine | .state |
| MLFLOW_TRACKING_URI | the registry: http(s)://HOST or a local database | the state folder's |
| MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_TOKEN | its credentials | none |
| CT_STORE | archives and records: a folder, or s3://BUCKET/PREFIX?endpoint=HOST:PORT | the state folder's |
| CT_CACHE | local copies of remote data files | `cache` in the state folder |
| CT_KFP_API | the Kubeflow Pipelines API that the exit handler asks | none: not on a cluster |
| CT_WEBHOOK | a URL that is told about each run | none |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


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
    webhook: str = ""

    @property
    def registry_access(self) -> tuple[str, str, str, str]:
        """The registry's URI, user, password and token."""
        return self.registry, self.registry_user, self.registry_password, self.registry_token

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], state: Path | None = None) -> Settings:
        """Return the settings; `state` (a command's --state) goes before the environment's."""
        # A folder that was asked for by name holds everything; the environment may not take part of it away.
        asked = {} if state else environment
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
            webhook=environment.get("CT_WEBHOOK", ""),
        )


def local_registry_uri(state: Path) -> str:
    """Return the URI of the registry database under a state folder."""
    return f"sqlite:///{state / 'mlflow' / 'mlflow.db'}"
