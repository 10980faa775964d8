"""What answers `/`, `/page/...` and `/openapi.json`."""

from __future__ import annotations

from pathlib import Path

from continuous_training.serving.api.endpoint import Endpoint, EndpointRequest, Response, Route
from continuous_training.serving.api.openapi import document
from continuous_training.serving.errors import PathNotFoundError
from continuous_training.serving.json_codec import encode
from continuous_training.serving.models.model_repository import ModelRepository

_FOLDER = Path(__file__).parent / "files"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    # Nothing from elsewhere, nothing inline: what a model answers can never become code.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


class Page:
    """Shows the page to browsers at `/`, and what `index` replies to everyone else."""

    def __init__(self, repository: ModelRepository, index: Endpoint) -> None:
        self.repository = repository
        self.index = index
        self._files: dict[str, Response] = {}
        self._document: tuple[tuple[str, ...], Response] | None = None

    def routes(self) -> list[Route]:
        """List the paths that it answers."""
        return [
            Route("GET", "/", self.front),
            Route("GET", "/page/{file}", self.file),
            Route("GET", "/openapi.json", self.openapi),
        ]

    async def front(self, request: EndpointRequest) -> Response:
        """Show the page to whoever would rather have HTML than JSON."""
        if "text/html" in (request.header(b"accept") or ""):
            return self._file("index.html")
        reply = await self.index(request)
        return Response(reply.body, reply.status, {**reply.headers, "vary": "accept"})

    async def file(self, request: EndpointRequest) -> Response:
        """Send one of the page's files."""
        return self._file(request.parameters["file"])

    async def openapi(self, request: EndpointRequest) -> Response:
        """Describe what is served now; made anew only when that has changed."""
        served = self.repository.served_models()
        key = tuple(sorted(f"{one.digest} {one.previous_digest}" for one in served.values()))
        if self._document is None or self._document[0] != key:
            self._document = (key, Response(encode(document(served)), headers={"cache-control": "no-cache"}))
        return self._document[1]

    def _file(self, name: str) -> Response:
        if not self._files:
            self._files = {path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES}
        found = self._files.get(name)
        if found is None:
            raise PathNotFoundError(
                f"there is no {name!r:.100} here; the page has {', '.join(sorted(self._files))}"
            )
        return found


def _read(path: Path) -> Response:
    headers = {
        **_HEADERS,
        "content-type": f"{_TYPES[path.suffix]}; charset=utf-8",
        "vary": "accept",
    }
    return Response(path.read_bytes(), headers=headers)
