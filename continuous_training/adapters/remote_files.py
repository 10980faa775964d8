"""Read files of a web server or an S3 bucket as streams that can be resumed."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from continuous_training.adapters.object_store import S3Store
from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.errors import TransientError, UserError

CHUNK = 1 << 18
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes."""

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_UNAVAILABLE = {401: "refused", 403: "refused", 404: "not there", 410: "gone"}


class FileUnavailable(Exception):
    """The file does not exist, or this user may not read it. The message is the server's reason."""


class Interrupted(TransientError):
    """A transfer failed and may succeed on another attempt, after at least `wait` seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Stream:
    """The bytes of a file from byte `begin` on. `size` is that of the whole file, or None if unknown.

    `tag` identifies this version of the file; empty if the server does not identify versions. `marked_end`
    is false if the bytes end with the connection, so that a file that was cut off cannot be detected.
    `checksums` are those of the whole file, as base64 by kind.
    """

    begin: int
    size: int | None
    tag: str
    chunks: Iterator[bytes]
    close: Callable[[], None]
    marked_end: bool = True
    checksums: Mapping[str, str] = field(default_factory=dict)


class Remote(Protocol):
    """A remote file. `label` is its address in messages, without secrets."""

    label: str

    def open(self, begin: int = 0, tag: str = "", cached_tag: str = "") -> Stream | None:
        """Return the bytes from `begin` on if the file still has version `tag`, otherwise all bytes.

        With `cached_tag` (and no `begin`) return None if the file still has that version. Raises
        FileUnavailable, Interrupted or UserError.
        """


class HttpFile:
    """A file of a web server. Plain HTTP is accepted only for this machine.

    `addresses` decides where the address and its redirects may lead.
    """

    def __init__(self, url: str, addresses: AddressPolicy = OUTSIDE_CLUSTER) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise UserError(
                f"source {parts.scheme}://{parts.hostname}{parts.path}: do not put user and password into "
                "an address, because addresses are logged; write them into ~/.netrc"
            )
        # The query is left out of messages, because it may contain a token.
        self.url, self.label = url, f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._check_secure(url)
        self._addresses = addresses

    def open(self, begin: int = 0, tag: str = "", cached_tag: str = "") -> Stream | None:
        """Open the file; see Remote, and sections 13 and 14 of RFC 9110."""
        # Start-up time: most sources are local.
        import requests

        from continuous_training.adapters.guarded_connections import open_session

        # The digest is that of the uncompressed file.
        headers = {"Accept-Encoding": "identity"}
        if begin:
            headers |= {"Range": f"bytes={begin}-"} | ({"If-Range": tag} if tag else {})
        elif cached_tag:
            headers["If-None-Match" if cached_tag.endswith('"') else "If-Modified-Since"] = cached_tag
        try:
            session = open_session(self._addresses, self.label, self._check_secure)
            response = session.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise self._explain(error) from None
        try:
            if response.status_code == 304 and cached_tag:
                response.close()
                return None
            if response.status_code == 416 and begin:
                response.close()
                return self.open()
            return self._stream(response, begin)
        except Exception:
            response.close()
            raise

    def _stream(self, response: Any, begin: int) -> Stream:
        status, headers = response.status_code, response.headers
        if status in _UNAVAILABLE:
            raise FileUnavailable(f"{_UNAVAILABLE[status]} (HTTP {status})")
        if status in _TRANSIENT:
            after = headers.get("Retry-After", "")
            wait = min(float(after), 60.0) if after.isdigit() else 0.0
            raise Interrupted(f"{self.label}: the server is busy or has failed (HTTP {status})", wait)
        if status not in {200, 206}:
            raise UserError(f"{self.label}: the server answers HTTP {status} {response.reason}")
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        start = 0
        if status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            if not match or int(match[1]) != begin:
                raise UserError(
                    f"{self.label}: the server sent another range of the file than the requested one"
                )
            start, size = begin, None if match[2] == "*" else int(match[2])
        tag = headers.get("ETag") or headers.get("Last-Modified") or ""
        marked_end = size is not None or bool(response.raw.chunked)
        return Stream(start, size, tag, self._chunks(response), response.close, marked_end)

    def _chunks(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from response.raw.stream(CHUNK, decode_content=False)
        except (HTTPError, OSError) as error:
            raise Interrupted(
                f"{self.label}: the transfer was interrupted ({_root_message(error)})"
            ) from None

    def _check_secure(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return
        if parts.scheme == "http" and parts.hostname and _is_this_machine(parts.hostname):
            return
        raise UserError(
            f"{self.label}: {parts.scheme}://{parts.netloc} is not accepted: data without encryption could "
            "be changed in transit. Give an https:// address with a host (http:// is for localhost)"
        )

    def _explain(self, error: Exception) -> Exception:
        import requests

        host = urlsplit(self.url).netloc
        if isinstance(error, requests.exceptions.SSLError):
            return UserError(
                f"{self.label}: the certificate of {host} is not valid ({_root_message(error)}); for your "
                "own certificate authority, set REQUESTS_CA_BUNDLE to its certificate"
            )
        if isinstance(error, requests.Timeout):
            return Interrupted(f"{self.label}: {host} does not answer in time")
        lookup = _find_cause(error, socket.gaierror)
        if isinstance(lookup, socket.gaierror):
            if lookup.errno == socket.EAI_AGAIN:
                return Interrupted(f"{self.label}: the name {host} cannot be resolved at the moment")
            return UserError(f"{self.label}: there is no host {host}; check the address and the network")
        if isinstance(error, requests.TooManyRedirects | ValueError):
            return UserError(f"{self.label}: {error}")
        if _find_cause(error, ConnectionRefusedError):
            return Interrupted(f"{self.label}: {host} refuses the connection; is a server running there?")
        return Interrupted(f"{self.label}: {_root_message(error)}")


class S3File:
    """An object of a bucket. Keys come from the usual AWS environment variables and files."""

    def __init__(self, store: S3Store, key: str) -> None:
        self.store, self.key, self.label = store, key, store.uri(key)

    def open(self, begin: int = 0, tag: str = "", cached_tag: str = "") -> Stream | None:
        """Open the object; see Remote."""
        stat = self.store.stat(self.key)
        if stat is None:
            raise FileUnavailable("not there")
        size, current = stat.size, stat.etag
        if cached_tag == current and not begin:
            return None
        start = begin if begin < size and tag in {"", current} else 0
        response = self.store.stream(self.key, start, current)
        # Some servers send a range with status 200, so the header decides.
        start = start if "Content-Range" in response.headers else 0
        chunks = self._chunks(response)
        return Stream(start, size, current, chunks, response.close, checksums=stat.checksums)

    def _chunks(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from response.stream(CHUNK)
        except (HTTPError, OSError) as error:
            raise Interrupted(
                f"{self.label}: the transfer was interrupted ({_root_message(error)})"
            ) from None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _find_cause(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the first error of that type among the causes and the arguments of an error, or None."""
    chain: list[BaseException] = [error]
    for link in chain:
        if isinstance(link, kind):
            return link
        causes = [link.__cause__, link.__context__, getattr(link, "reason", None), *link.args]
        chain += [cause for cause in causes if isinstance(cause, BaseException) and cause not in chain]
    return None


def _root_message(error: BaseException) -> str:
    """Return the message of the innermost error, which libraries have wrapped."""
    cause = _find_cause(error, OSError) if not isinstance(error, OSError) else error
    text = str(cause or error) or type(error).__name__
    return text.rsplit("Caused by ", 1)[-1].strip("()'\" ")
