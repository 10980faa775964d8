"""Address and credentials of the Kubeflow Pipelines API, from the sources that the SDK uses too.

| value | sources, the first one that is set counts |
|---|---|
| address | --host, KF_PIPELINES_ENDPOINT, in a pod the Service of Kubeflow Pipelines |
| token | CT_KFP_TOKEN, the file in CT_KFP_TOKEN_FILE, the projected token of the pod |
| cookie (Dex, oauth2-proxy) | CT_KFP_COOKIE, the context file of the SDK |
| namespace (several users) | --namespace, the context file of the SDK |
| address of the web UI | KF_PIPELINES_UI_ENDPOINT, the address of the API |

Credentials are never arguments, because all users of a machine can read its command lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from continuous_training.core.errors import UserError

SERVICE_URL = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
SDK_CONTEXT_FILE = ".config/kfp/context.json"
PROJECTED_TOKEN_FILE = "/var/run/secrets/kubeflow/pipelines/token"  # noqa: S105 - a path
_PORT_FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"


@dataclass(frozen=True)
class Connection:
    """Addresses and credentials. See the table of the module."""

    host: str
    ui_url: str
    namespace: str = ""
    token: str = ""
    token_file: Path | None = None
    cookie: str = ""

    def headers(self) -> dict[str, str]:
        """Return the authentication headers of one request.

        The token file is read for each request, because Kubernetes rotates the token. Raises UserError when
        the file cannot be read.
        """
        headers = {}
        token = self.token
        if not token and self.token_file:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"the token for Kubeflow Pipelines cannot be read: {error}") from None
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if self.cookie:
            headers["Cookie"] = self.cookie
        return headers

    def run_url(self, run_id: str) -> str:
        """Return the address of a run in the web UI."""
        return f"{self.ui_url}/#/runs/details/{run_id}"

    def version_url(self, pipeline_id: str, version_id: str) -> str:
        """Return the address of a pipeline version in the web UI."""
        return f"{self.ui_url}/#/pipelines/details/{pipeline_id}/version/{version_id}"


def resolve_connection(
    environment: Mapping[str, str], host: str | None = None, namespace: str | None = None
) -> Connection:
    """Return the connection that arguments, environment and SDK context define.

    Raises UserError when no address is set or an address is not http(s).
    """
    context = _read_sdk_context(environment)
    in_pod = "KUBERNETES_SERVICE_HOST" in environment
    address = host or environment.get("KF_PIPELINES_ENDPOINT") or (SERVICE_URL if in_pod else "")
    if not address:
        raise UserError(
            "the address of Kubeflow Pipelines is not set: pass --host URL or set KF_PIPELINES_ENDPOINT. "
            f"From a laptop: {_PORT_FORWARD}   and then   --host http://localhost:8080"
        )
    address = _validate_url(address)
    token_file = environment.get("CT_KFP_TOKEN_FILE") or environment.get("KF_PIPELINES_SA_TOKEN_PATH")
    if not token_file and Path(PROJECTED_TOKEN_FILE).is_file():
        token_file = PROJECTED_TOKEN_FILE
    return Connection(
        host=address,
        ui_url=_validate_url(environment.get("KF_PIPELINES_UI_ENDPOINT") or address),
        namespace=namespace or str(context.get("namespace") or ""),
        token=environment.get("CT_KFP_TOKEN", ""),
        token_file=Path(token_file) if token_file else None,
        cookie=environment.get("CT_KFP_COOKIE") or str(context.get("client_authentication_cookie") or ""),
    )


def _validate_url(address: str) -> str:
    """Return the address without a slash at its end. Raises UserError for an invalid address."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"the address of Kubeflow Pipelines, {address!r}, is not valid: use http(s)://HOST[:PORT][/PATH]"
        )
    if parts.username or parts.password:
        raise UserError("the address of Kubeflow Pipelines contains credentials: set CT_KFP_TOKEN instead")
    return address.rstrip("/")


def _read_sdk_context(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the content of the SDK's context file, or an empty mapping if there is no file."""
    home = environment.get("HOME")
    path = Path(home, SDK_CONTEXT_FILE) if home else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"the context file of the Kubeflow SDK, {path}, cannot be read: {error}") from None
