"""Files of a web server or an S3 bucket as streams that can be taken up where they were cut."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from continuous_training.adapters.object_store import S3Store
from continuous_training.core.errors import TransientError, UserError

CHUNK = 1 << 18
TIMEOUT = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes."""

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_ABSENT = {401: "refused", 403: "refused", 404: "not there", 410: "gone"}


class Absent(Exception):
    """There is no such file, or not for this reader; the text says how the server put it."""


class Interrupted(TransientError):
    """A transfer that may succeed when it is tried again, at the earliest after `wait` seconds."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Stream:
    """A file's bytes from byte `begin` on; `size` is the whole file's, None when the server does not say.

    `tag` names this version of the file, empty when the server has no names for versions.
    """

    begin: int
    size: int | None
    tag: str
    chunks: Iterator[bytes]
    close: Callable[[], None]


class Remote(Protocol):
    """A file elsewhere; `place` names it in messages, without anything secret."""

    place: str

    def open(self, begin: int = 0, tag: str = "", known: str = "") -> Stream | None:
        """Return the bytes from `begin` on if the file is still version `tag`, and all of them if not.

        With `known` (and no `begin`) returns None when the file is still that version. Raises Absent,
        Interrupted or UserError.
        """


class HttpFile:
    """A file of a web server, by HTTPS; plain HTTP is for this machine alone."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.username or parts.password:
            raise UserError(
                f"source {parts.scheme}://{parts.hostname}{parts.path}: user and password do not belong into "
                "an address, which is logged; write them into ~/.netrc"
            )
        # What follows the path may be a token.
        self.url, self.place = url, f"{parts.scheme}://{parts.netloc}{parts.path}"
        self._check_secure(url)

    def open(self, begin: int = 0, tag: str = "", known: str = "") -> Stream | None:
        """See Remote; RFC 9110, sections 13 and 14."""
        import requests

        # A file that is compressed on the way would not be the one whose digest is known.
        headers = {"Accept-Encoding": "identity"}
        if begin:
            headers |= {"Range": f"bytes={begin}-"} | ({"If-Range": tag} if tag else {})
        elif known:
            headers["If-None-Match" if known.endswith('"') else "If-Modified-Since"] = known
        try:
            response = requests.get(self.url, headers=headers, stream=True, timeout=TIMEOUT)
        except requests.RequestException as error:
            raise self._explain(error) from None
        try:
            for answered in (*response.history, response):
                self._check_secure(answered.url)
            if response.status_code == 304 and known:
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
        if status in _ABSENT:
            raise Absent(f"{_ABSENT[status]} (HTTP {status})")
        if status in _PASSING:
            after = headers.get("Retry-After", "")
            wait = min(float(after), 60.0) if after.isdigit() else 0.0
            raise Interrupted(f"{self.place}: the server is busy or broken (HTTP {status})", wait)
        if status not in {200, 206}:
            raise UserError(f"{self.place}: the server answers HTTP {status} {response.reason}")
        length = headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        start = 0
        if status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
            if not found or int(found[1]) != begin:
                raise UserError(
                    f"{self.place}: the server sends another part of the file than it was asked for"
                )
            start, size = begin, None if found[2] == "*" else int(found[2])
        tag = headers.get("ETag") or headers.get("Last-Modified") or ""
        return Stream(start, size, tag, self._chunks(response), response.close)

    def _chunks(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from response.raw.stream(CHUNK, decode_content=False)
        except (HTTPError, OSError) as error:
            raise Interrupted(f"{self.place}: the transfer broke off ({_brief(error)})") from None

    def _check_secure(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname:
            return
        if parts.scheme == "http" and parts.hostname and _is_this_machine(parts.hostname):
            return
        raise UserError(
            f"{self.place}: {parts.scheme}://{parts.netloc} is not read: anyone on the way could change the "
            "data; give an https:// address (http:// is for localhost)"
        )

    def _explain(self, error: Exception) -> Exception:
        import requests

        host = urlsplit(self.url).netloc
        if isinstance(error, requests.exceptions.SSLError):
            return UserError(
                f"{self.place}: {host} cannot prove who it is ({_brief(error)}); for an authority of "
                "your own set REQUESTS_CA_BUNDLE to its certificate"
            )
        if isinstance(error, requests.Timeout):
            return Interrupted(f"{self.place}: {host} does not answer in time")
        looked_up = _caused_by(error, socket.gaierror)
        if isinstance(looked_up, socket.gaierror):
            if looked_up.errno == socket.EAI_AGAIN:
                return Interrupted(f"{self.place}: the name {host} cannot be looked up just now")
            return UserError(f"{self.place}: there is no host {host}; look at the address, or at the network")
        if isinstance(error, requests.TooManyRedirects | ValueError):
            return UserError(f"{self.place}: {error}")
        if _caused_by(error, ConnectionRefusedError):
            return Interrupted(f"{self.place}: {host} refuses the connection; is a server running there?")
        return Interrupted(f"{self.place}: {_brief(error)}")


class S3File:
    """An object of a bucket, with the keys that the usual AWS environment and files hold."""

    def __init__(self, store: S3Store, key: str) -> None:
        self.store, self.key, self.place = store, key, store.uri(key)

    def open(self, begin: int = 0, tag: str = "", known: str = "") -> Stream | None:
        """See Remote."""
        found = self.store.stat(self.key)
        if found is None:
            raise Absent("not there")
        size, now = found
        if known == now and not begin:
            return None
        start = begin if begin < size and tag in {"", now} else 0
        response = self.store.stream(self.key, start, now)
        # Some servers name the range that they send and yet answer 200.
        start = start if "Content-Range" in response.headers else 0
        return Stream(start, size, now, self._chunks(response), response.close)

    def _chunks(self, response: Any) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from response.stream(CHUNK)
        except (HTTPError, OSError) as error:
            raise Interrupted(f"{self.place}: the transfer broke off ({_brief(error)})") from None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _caused_by(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the first error of that kind among those that led to this one, as arguments and causes."""
    seen: list[BaseException] = [error]
    for one in seen:
        if isinstance(one, kind):
            return one
        causes = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        seen += [cause for cause in causes if isinstance(cause, BaseException) and cause not in seen]
    return None


def _brief(error: BaseException) -> str:
    """Return the innermost words of an error that libraries have wrapped."""
    found = _caused_by(error, OSError) if not isinstance(error, OSError) else error
    text = str(found or error) or type(error).__name__
    return text.rsplit("Caused by ", 1)[-1].strip("()'\" ")
