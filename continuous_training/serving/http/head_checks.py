"""Checks of the head of a request that apply to every endpoint."""

from __future__ import annotations

import re
from functools import lru_cache

from continuous_training.serving.http.errors import HttpError
from continuous_training.serving.http.requests import Request

# uri-host [":" port] of RFC 3986; an IPv6 address is in brackets. The value may be empty.
_HOST = re.compile(rb"(\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~%!$&'()*+,;=-]*)(:[0-9]*)?")


def check_head(request: Request) -> None:
    """Raise HttpError 400 for an invalid `Host`, and 415 for a compressed body."""
    _check_host(request)
    for name, value in request.scope["headers"]:
        if name == b"content-encoding" and value and not _is_identity(value):
            raise HttpError(
                415, "this server does not read compressed bodies; send it without content-encoding"
            )


def _check_host(request: Request) -> None:
    """Check that there is exactly one `Host`, as RFC 9112, section 3.2, requires of a server."""
    hosts = [value for name, value in request.scope["headers"] if name == b"host"]
    if len(hosts) == 1 and _is_host(hosts[0]):
        return
    if not hosts and request.scope["http_version"] == "1.0":
        return
    actual = f"{len(hosts)} headers" if len(hosts) != 1 else repr(hosts[0].decode("latin-1"))[:100]
    message = f"a request has exactly one valid header Host, and this one has {actual}"
    raise HttpError(400, message, {"connection": "close"})


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None


def _is_identity(value: bytes) -> bool:
    return all(coding.strip().lower() in (b"identity", b"") for coding in value.split(b","))
