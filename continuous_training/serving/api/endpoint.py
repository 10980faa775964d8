"""The interface between endpoints and the HTTP layer: routes, requests and responses.

The endpoints do not depend on the HTTP layer. They return their routes as data, and the HTTP layer passes
each request to the endpoint of its route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from continuous_training.serving.json_codec import encode
from continuous_training.serving.models.inference_request import InferenceRequest


class EndpointRequest(Protocol):
    """The parts of an HTTP request that an endpoint reads.

    `parameters` holds the values of the path's placeholders. The endpoint sets `model` to the name of the
    requested model, which is used in logs and metrics.
    """

    parameters: dict[str, str]
    model: str

    @property
    def path(self) -> str:
        """The path of the URL, with the root path if the proxy did not remove it."""

    @property
    def query_string(self) -> bytes:
        """The part of the URL after `?`, without decoding."""

    def header(self, name: bytes) -> str | None:
        """Return the value of a header by its lower-case name, or None."""

    async def body(self) -> bytes:
        """Read the whole body."""


@dataclass(slots=True)
class Response:
    """An HTTP response. The body is JSON unless `headers` contains a `content-type`."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def json_response(value: Any, status: int = 200, **headers: str) -> Response:
    """Return a response that contains a value as JSON."""
    return Response(encode(value), status, headers)


class InferenceCall(NamedTuple):
    """One inference request and the model that it is for; `version` is None for the served version."""

    model: str
    request: InferenceRequest
    version: str | None = None


Endpoint = Callable[[EndpointRequest], Awaitable[Response]]
Parse = Callable[[EndpointRequest, bytes], InferenceCall | None]


@dataclass(frozen=True)
class Route:
    """One method of one path and the endpoint that handles it.

    `{name}` in the path matches one segment, and `{name}:verb` one that ends with `:verb`. HEAD is accepted
    wherever GET is. Endpoints whose response comes from a batch can provide `parse`: it turns a request with
    its complete body into an inference call without waiting. It returns None when `endpoint` must handle the
    request.
    """

    method: str
    path: str
    endpoint: Endpoint
    parse: Parse | None = None
