"""The routes of the web page: `/`, `/page/...` and `/openapi.json`."""

from __future__ import annotations

from pathlib import Path

from continuous_training.serving.api.endpoint import Endpoint, EndpointRequest, Response, Route
from continuous_training.serving.api.openapi import openapi_json
from continuous_training.serving.errors import PathNotFoundError
from continuous_training.serving.models.model_repository import ModelRepository

_FOLDER = Path(__file__).parent / "files"
_CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    # No inline code and no other hosts: a model's response can never be executed as code.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Page:
    """Serves the files of the page and the OpenAPI document.

    `index` is the endpoint that lists the models. It handles `/` for clients that do not accept HTML.
    `root_path` is the base of the paths in the OpenAPI document.
    """

    def __init__(self, repository: ModelRepository, index: Endpoint, root_path: str = "") -> None:
        self.root_path = root_path
        self.repository = repository
        self.index = index
        self._files: dict[str, Response] = {}
        self._document: tuple[tuple[str, ...], Response] | None = None

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("GET", "/", self.root),
            Route("GET", "/page/{file}", self.file),
            Route("GET", "/openapi.json", self.openapi),
        ]

    async def root(self, request: EndpointRequest) -> Response:
        """Return the page to browsers, and the list of models to other clients."""
        if "text/html" in (request.header(b"accept") or "").lower():
            if self.root_path and request.path == self.root_path:
                # The links of the page are relative to a path that ends with a slash.
                return Response(b"", 307, {"location": f"{self.root_path}/"})
            return self._file("index.html")
        response = await self.index(request)
        return Response(response.body, response.status, {**response.headers, "vary": "accept"})

    async def file(self, request: EndpointRequest) -> Response:
        """Return a file of the page."""
        return self._file(request.parameters["file"])

    async def openapi(self, request: EndpointRequest) -> Response:
        """Return the OpenAPI document of the served models. It is generated again when they change."""
        served = self.repository.served_models()
        key = tuple(sorted(f"{model.digest} {model.previous_digest}" for model in served.values()))
        if self._document is None or self._document[0] != key:
            response = Response(openapi_json(served, self.root_path), headers={"cache-control": "no-cache"})
            self._document = (key, response)
        return self._document[1]

    def _file(self, name: str) -> Response:
        if not self._files:
            self._files = {
                path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _CONTENT_TYPES
            }
        response = self._files.get(name)
        if response is None:
            names = ", ".join(sorted(self._files))
            raise PathNotFoundError(f"the page has no file {name!r:.100}; its files are {names}")
        return response


def _read(path: Path) -> Response:
    headers = {
        **_HEADERS,
        "content-type": f"{_CONTENT_TYPES[path.suffix]}; charset=utf-8",
        "vary": "accept",
    }
    return Response(path.read_bytes(), headers=headers)
