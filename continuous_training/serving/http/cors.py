"""Cross-origin resource sharing: which web pages may send requests and read the responses.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.serving.api.endpoint import Response
from continuous_training.serving.http.requests import Request

ANY_ORIGIN = "*"
_METHODS = "GET, HEAD, POST"
_EXPOSED = "inference-header-content-length, retry-after, x-model-digest, x-model-version, x-request-id"
_MAX_AGE_SECONDS = "600"


@dataclass(frozen=True)
class CorsPolicy:
    """The origins whose pages may read responses: none by default, all with `ANY_ORIGIN`.

    Credentials such as cookies are never allowed: the server does not use them.
    """

    origins: tuple[str, ...] = ()

    def preflight(self, request: Request) -> Response | None:
        """Return the response to a preflight request of an allowed origin, or None for other requests."""
        is_preflight = request.scope["method"] == "OPTIONS" and request.header(
            b"access-control-request-method"
        )
        if not self.origins or not is_preflight or self._allowed_origin(request) is None:
            return None
        headers = {
            "access-control-allow-methods": _METHODS,
            "access-control-allow-headers": request.header(b"access-control-request-headers") or "",
            "access-control-max-age": _MAX_AGE_SECONDS,
            "content-type": "text/plain",
            "vary": "access-control-request-headers",
        }
        return Response(b"", 200, headers)

    def apply(self, request: Request, response: Response) -> Response:
        """Return the response with the headers that let the page of an allowed origin read it."""
        if not self.origins:
            return response
        headers = dict(response.headers)
        origin = self._allowed_origin(request)
        if origin is not None:
            headers |= {"access-control-allow-origin": origin, "access-control-expose-headers": _EXPOSED}
        if ANY_ORIGIN not in self.origins:
            # A cache must not return the response for one origin to the page of another.
            headers["vary"] = ", ".join(filter(None, [headers.get("vary"), "origin"]))
        return Response(response.body, response.status, headers)

    def _allowed_origin(self, request: Request) -> str | None:
        """Return the value of Access-Control-Allow-Origin, or None if the origin is not allowed."""
        if ANY_ORIGIN in self.origins:
            return ANY_ORIGIN
        origin = request.header(b"origin")
        return origin if origin is not None and origin.lower() in self.origins else None
