"""Check whether a container image exists in its registry, with a HEAD request for its manifest.

The protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md. Only anonymous tokens are
used, and no credentials of other tools.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

import requests

from continuous_training.core.errors import TransientError, UserError

_TIMEOUT = (3.0, 10.0)
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class Reference:
    """The parts of an image's name. `version` is a digest or a tag."""

    registry: str
    repository: str
    version: str

    @classmethod
    def parse(cls, image: str) -> Reference:
        """Parse `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` like Docker. Raises UserError for an invalid name."""
        match = re.fullmatch(
            r"(?P<name>[^@]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>\w+:[0-9a-f]+))?", image
        )
        if match is None:
            raise UserError(f"{image!r} is not an image: write [HOST[:PORT]/]PATH[:TAG][@DIGEST]")
        host, slash, path = match["name"].partition("/")
        version = match["digest"] or match["tag"] or "latest"
        if slash and ("." in host or ":" in host or host == "localhost"):
            return cls(host, path, version)
        return cls(_HUB, match["name"] if slash else f"library/{match['name']}", version)

    @property
    def url(self) -> str:
        """The address of the manifest. Only a registry on this machine is used without TLS."""
        scheme = "http" if _on_this_machine(self.registry) else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.version}"


def is_there(image: str) -> bool:
    """Return whether the image exists in its registry.

    Raises TransientError if the registry cannot be reached or fails, and UserError if it requires credentials
    or `image` is not a valid name.
    """
    reference = Reference.parse(image)
    try:
        with requests.Session() as session:
            status = _manifest_status(session, reference)
    except requests.RequestException as error:
        raise TransientError(
            f"the registry {reference.registry} cannot be reached: {_reason(error)}"
        ) from error
    if status in (200, 404):
        return status == 200
    if status in (401, 403):
        raise UserError(f"the registry {reference.registry} requires credentials, and this check has none")
    raise TransientError(f"the registry {reference.registry} answers HTTP {status}")


def _manifest_status(session: requests.Session, reference: Reference) -> int:
    session.headers["accept"] = _MANIFESTS
    response = session.head(reference.url, timeout=_TIMEOUT, allow_redirects=True)
    scheme, _, challenge = response.headers.get("www-authenticate", "").partition(" ")
    if response.status_code != 401 or scheme.lower() != "bearer":
        return response.status_code
    parameters: dict[str, str] = parse_keqv_list(parse_http_list(challenge))
    scope = parameters.get("scope") or f"repository:{reference.repository}:pull"
    token_response = session.get(
        parameters.get("realm", ""),
        params={"service": parameters.get("service", ""), "scope": scope},
        timeout=_TIMEOUT,
    )
    try:
        token = token_response.json().get("token") or token_response.json().get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not token_response.ok or not token:
        return 401
    session.headers["authorization"] = f"Bearer {token}"
    return session.head(reference.url, timeout=_TIMEOUT, allow_redirects=True).status_code


def _on_this_machine(registry: str) -> bool:
    host = urlsplit(f"//{registry}").hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: requests.RequestException) -> str:
    """Return the message of the innermost error; the outer ones repeat the address."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    return str(getattr(inner, "reason", None) or inner)
