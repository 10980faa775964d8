"""Where the Kubeflow Pipelines API is, and how it lets us in: the SDK's own environment and context.

| what | from |
|---|---|
| address | --host, KF_PIPELINES_ENDPOINT, or the cluster's own service when this runs in a pod |
| token | CT_KFP_TOKEN, the file in CT_KFP_TOKEN_FILE, or the pod's projected one |
| cookie (Dex, oauth2-proxy) | CT_KFP_COOKIE, or the SDK's context file |
| namespace (several users) | --namespace, or the SDK's context file |
| web pages | KF_PIPELINES_UI_ENDPOINT, or the address |

Credentials are never arguments: a command line is seen by everybody on the machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from continuous_training.core.errors import UserError

SERVICE = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
CONTEXT = ".config/kfp/context.json"
PROJECTED = "/var/run/secrets/kubeflow/pipelines/token"
_PORT_FORWARD = "kubectl port-forward -n kubeflow svc/ml-pipeline-ui 8080:80"


@dataclass(frozen=True)
class Access:
    """The API's address and the credentials of its callers; see the module's table."""

    host: str
    pages: str
    namespace: str = ""
    token: str = ""
    token_file: Path | None = None
    cookie: str = ""

    def headers(self) -> dict[str, str]:
        """Return the headers that let a request in; a token file is read anew, since it is rotated.

        UserError when it cannot be read.
        """
        found = {}
        token = self.token
        if not token and self.token_file:
            try:
                token = self.token_file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"the token of Kubeflow Pipelines cannot be read: {error}") from None
        if token:
            found["Authorization"] = f"Bearer {token}"
        if self.cookie:
            found["Cookie"] = self.cookie
        return found

    def run_page(self, run_id: str) -> str:
        """Return the address where a person sees the run."""
        return f"{self.pages}/#/runs/details/{run_id}"

    def pipeline_page(self, pipeline_id: str, version_id: str) -> str:
        """Return the address where a person sees the pipeline's version."""
        return f"{self.pages}/#/pipelines/details/{pipeline_id}/version/{version_id}"


def find_access(
    environment: Mapping[str, str], host: str | None = None, namespace: str | None = None
) -> Access:
    """Return the access that arguments, environment and the SDK's context give.

    UserError when no address is known, or one is not http(s).
    """
    context = _context(environment)
    in_pod = "KUBERNETES_SERVICE_HOST" in environment
    address = host or environment.get("KF_PIPELINES_ENDPOINT") or (SERVICE if in_pod else "")
    if not address:
        raise UserError(
            "where Kubeflow Pipelines is, nobody says: give --host URL or set KF_PIPELINES_ENDPOINT. "
            f"From a laptop: {_PORT_FORWARD}   and then   --host http://localhost:8080"
        )
    address = _checked(address)
    token_file = environment.get("CT_KFP_TOKEN_FILE") or environment.get("KF_PIPELINES_SA_TOKEN_PATH")
    if not token_file and Path(PROJECTED).is_file():
        token_file = PROJECTED
    return Access(
        host=address,
        pages=_checked(environment.get("KF_PIPELINES_UI_ENDPOINT") or address),
        namespace=namespace or str(context.get("namespace") or ""),
        token=environment.get("CT_KFP_TOKEN", ""),
        token_file=Path(token_file) if token_file else None,
        cookie=environment.get("CT_KFP_COOKIE") or str(context.get("client_authentication_cookie") or ""),
    )


def _checked(address: str) -> str:
    """Return the address without its last slash; UserError for what is no web address."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(
            f"the address of Kubeflow Pipelines is {address!r}: give http(s)://HOST[:PORT][/PATH]"
        )
    if parts.username or parts.password:
        raise UserError("the address of Kubeflow Pipelines holds credentials; set CT_KFP_TOKEN instead")
    return address.rstrip("/")


def _context(environment: Mapping[str, str]) -> dict[str, object]:
    """Return the SDK's saved context; nothing where there is none."""
    home = environment.get("HOME")
    path = Path(home, CONTEXT) if home else None
    if path is None or not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"the context of the Kubeflow SDK in {path} cannot be read: {error}") from None
