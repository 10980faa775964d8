"""Which function answers which path: a table that is looked through once for each new path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from continuous_training.serving.http.requests import HttpError, Reply, Request
from continuous_training.serving.models.batch_item import Work


class Asked(NamedTuple):
    """What a request wants of which model; of which version, if it says so."""

    name: str
    work: Work
    version: str | None = None


Handle = Callable[[Request], Awaitable[Reply]]
Read = Callable[[Request, bytes], Asked | None]


@dataclass(frozen=True)
class Route:
    """One method of one path; `{name}` in the path takes any one segment, and HEAD comes with GET.

    A route whose answer comes from a batch may have `read`, which turns a request with its whole body into
    what it asks, without waiting for anything; it gives None when it would have to.
    """

    method: str
    path: str
    handle: Handle
    read: Read | None = None

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """Return what the path's placeholders stand for, or None when it is another path."""
        wanted = _segments(self.path)
        if len(wanted) != len(segments):
            return None
        found = {}
        for want, segment in zip(wanted, segments, strict=True):
            if want.startswith("{"):
                found[want[1:-1]] = segment
            elif want != segment:
                return None
        return found


class Router:
    """Finds routes, and says what there is where it finds none."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        # Callers ask the same few paths for ever; the bound is for those who do not.
        self.find: Any = lru_cache(maxsize=1024)(self._find)

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Find who answers; HttpError 404 or 405 with what there is."""
        segments = _segments(path)
        matches = [(route, found) for route in self.routes if (found := route.match(segments)) is not None]
        for route, found in matches:
            if method == route.method or (method, route.method) == ("HEAD", "GET"):
                return route, found
        if matches:
            allowed = [m for route, _ in matches for m in _methods(route)]
            words = " or ".join(sorted({route.method for route, _ in matches}))
            raise HttpError(405, f"{path} takes {words}, not {method}", {"allow": ", ".join(allowed)})
        raise HttpError(404, f"there is nothing at {path}; GET / lists what there is")


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)
