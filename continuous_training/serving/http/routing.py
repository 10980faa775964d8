"""Finds the route of a request by its method and path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from continuous_training.serving.api.endpoint import Route
from continuous_training.serving.http.errors import HttpError

MAX_CACHED_PATHS = 1024
"""Clients usually request the same few paths. The limit bounds the memory if they do not."""


@dataclass(frozen=True)
class RouteMatch:
    """A route and the values of the placeholders in its path."""

    route: Route
    parameters: dict[str, str]


class Router:
    """Finds routes in a list. The results are cached, since the list does not change.

    A path may begin with `root_path`: some proxies remove this prefix, and some do not.
    """

    def __init__(self, routes: Sequence[Route], root_path: str = "") -> None:
        self.routes = tuple(routes)
        self._root = _segments(root_path)
        self.find: Callable[[str, str], RouteMatch] = lru_cache(maxsize=MAX_CACHED_PATHS)(self._find)

    def _find(self, method: str, path: str) -> RouteMatch:
        """Return the route of a method and a path.

        Raises HttpError 404 if no route has this path, and 405 if its routes have other methods.
        """
        segments = _segments(path)
        matches = self._matches(segments)
        if not matches and self._root and segments[: len(self._root)] == self._root:
            matches = self._matches(segments[len(self._root) :])
        for match in matches:
            if method in _methods(match.route):
                return match
        if matches:
            allowed = [allowed_method for match in matches for allowed_method in _methods(match.route)]
            expected = " or ".join(sorted({match.route.method for match in matches}))
            message = f"{path} accepts {expected}, not {method}"
            raise HttpError(405, message, {"allow": ", ".join(allowed)})
        raise HttpError(404, f"there is nothing at {path}; GET / lists the available paths")

    def _matches(self, segments: list[str]) -> list[RouteMatch]:
        """Return the matches of a path with any method."""
        matches = [
            RouteMatch(route, parameters)
            for route in self.routes
            if (parameters := _match(route, segments)) is not None
        ]
        # `{name}:verb` is another resource than `{name}`, which matches the same segment.
        return [match for match in matches if ":" in match.route.path] or matches


def _match(route: Route, segments: Sequence[str]) -> dict[str, str] | None:
    """Return the values of the route's placeholders, or None if the path does not match."""
    expected = _segments(route.path)
    if len(expected) != len(segments):
        return None
    parameters = {}
    for pattern, segment in zip(expected, segments, strict=True):
        if pattern.startswith("{"):
            name, _, suffix = pattern[1:].partition("}")
            if not segment.endswith(suffix):
                return None
            parameters[name] = segment.removesuffix(suffix)
        elif pattern != segment:
            return None
    return parameters


def _segments(path: str) -> list[str]:
    return [segment for segment in path.split("/") if segment]


def _methods(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)
