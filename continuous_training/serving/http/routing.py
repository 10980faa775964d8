"""Which function answers which path: a table that is looked through once for each new path."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from continuous_training.serving.api.endpoint import Route
from continuous_training.serving.http.requests import HttpError


class Router:
    """Finds routes, and says what there is where it finds none."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        # Callers ask the same few paths for ever; the bound is for those who do not.
        self.find: Any = lru_cache(maxsize=1024)(self._find)

    def _find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Find who answers; HttpError 404 or 405 with what there is."""
        segments = _segments(path)
        matches = [(route, found) for route in self.routes if (found := _match(route, segments)) is not None]
        for route, found in matches:
            if method == route.method or (method, route.method) == ("HEAD", "GET"):
                return route, found
        if matches:
            allowed = [m for route, _ in matches for m in _methods(route)]
            words = " or ".join(sorted({route.method for route, _ in matches}))
            raise HttpError(405, f"{path} takes {words}, not {method}", {"allow": ", ".join(allowed)})
        raise HttpError(404, f"there is nothing at {path}; GET / lists what there is")


def _match(route: Route, segments: Sequence[str]) -> dict[str, str] | None:
    """Return the values of the route's placeholders, or None when the path does not match."""
    expected = _segments(route.path)
    if len(expected) != len(segments):
        return None
    parameters = {}
    for pattern, segment in zip(expected, segments, strict=True):
        if pattern.startswith("{"):
            parameters[pattern[1:-1]] = segment
        elif pattern != segment:
            return None
    return parameters


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)
