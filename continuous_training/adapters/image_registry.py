"""Whether an image is in its registry: one HEAD of its manifest, and no part of it is fetched.

The protocol: https://github.com/opencontainers/distribution-spec/blob/main/spec.md. A registry that asks
for a token gets an anonymous one; credentials of other tools are not looked for.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests
from requests.utils import parse_dict_header

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
    """An image's name, taken apart; `version` is a digest or a tag."""

    registry: str
    repository: str
    version: str

    @classmethod
    def parse(cls, image: str) -> Reference:
        """Take `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` apart as Docker does; UserError when it is none."""
        found = re.fullmatch(
            r"(?P<name>[^@]+?)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>\w+:[0-9a-f]+))?", image
        )
        if found is None:
            raise UserError(f"{image!r} is no image: write [HOST[:PORT]/]PATH[:TAG][@DIGEST]")
        host, slash, path = found["name"].partition("/")
        version = found["digest"] or found["tag"] or "latest"
        if slash and ("." in host or ":" in host or host == "localhost"):
            return cls(host, path, version)
        return cls(_HUB, found["name"] if slash else f"library/{found['name']}", version)

    @property
    def url(self) -> str:
        """The address of the manifest; only a registry on this machine is asked without TLS."""
        scheme = "http" if _on_this_machine(self.registry) else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.version}"


def is_there(image: str) -> bool:
    """Tell whether the registry has the image.

    TransientError when the registry cannot be reached or fails, UserError when it does not say: it asks
    for credentials, or `image` is no image's name.
    """
    reference = Reference.parse(image)
    try:
        with requests.Session() as session:
            status = _ask(session, reference)
    except requests.RequestException as error:
        raise TransientError(
            f"the registry {reference.registry} cannot be reached: {_reason(error)}"
        ) from error
    if status in (200, 404):
        return status == 200
    if status in (401, 403):
        raise UserError(f"the registry {reference.registry} asks for credentials, and this look has none")
    raise TransientError(f"the registry {reference.registry} answers HTTP {status}")


def _ask(session: requests.Session, reference: Reference) -> int:
    session.headers["accept"] = _MANIFESTS
    answer = session.head(reference.url, timeout=_TIMEOUT, allow_redirects=True)
    scheme, _, challenge = answer.headers.get("www-authenticate", "").partition(" ")
    if answer.status_code != 401 or scheme.lower() != "bearer":
        return answer.status_code
    asked = parse_dict_header(challenge)
    scope = asked.get("scope") or f"repository:{reference.repository}:pull"
    given = session.get(
        asked.get("realm", ""), params={"service": asked.get("service", ""), "scope": scope}, timeout=_TIMEOUT
    )
    try:
        token = given.json().get("token") or given.json().get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not given.ok or not token:
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
    """Return the innermost reason: the rest repeats the address."""
    inner: BaseException = error
    while inner.args and isinstance(inner.args[-1], BaseException):
        inner = inner.args[-1]
    return str(getattr(inner, "reason", None) or inner)
