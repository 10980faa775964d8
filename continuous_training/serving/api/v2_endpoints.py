"""The Open Inference Protocol v2 over HTTP: health, metadata, readiness and inference.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Loading and unloading are for the private port (`management`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata as distributions

from continuous_training.serving.api import v2_request
from continuous_training.serving.api.endpoint import (
    EndpointRequest,
    InferenceCall,
    Response,
    Route,
    json_response,
)
from continuous_training.serving.api.predict_endpoints import model_summary, prediction_response
from continuous_training.serving.errors import ModelNotReadyError, RequestError
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.trial_fallback import select_version
from continuous_training.serving.models.versions import LoadedVersion

EXTENSIONS = ["binary_tensor_data"]


class V2Endpoints:
    """Answers everything below `/v2`; `stopping` says whether the server is being stopped."""

    def __init__(self, repository: ModelRepository, batcher: Batcher, stopping: Callable[[], bool]) -> None:
        self.repository = repository
        self.batcher = batcher
        self.stopping = stopping

    def routes(self) -> list[Route]:
        """List the paths that it answers."""
        found = [
            Route("GET", "/v2", self.server),
            Route("GET", "/v2/health/live", self.live),
            Route("GET", "/v2/health/ready", self.ready),
            Route("GET", "/v2/models", self.models),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found += [
                Route("GET", model, self.metadata),
                Route("GET", f"{model}/ready", self.model_ready),
                Route("POST", f"{model}/infer", self.infer, self.parse),
            ]
        return found

    async def server(self, request: EndpointRequest) -> Response:
        """Name the server and its extensions."""
        name = "continuous-training"
        try:
            version = distributions.version(name)
        except distributions.PackageNotFoundError:
            version = "unknown"
        return json_response({"name": name, "version": version, "extensions": EXTENSIONS})

    async def live(self, request: EndpointRequest) -> Response:
        """Answer at all: a handler that hangs keeps this from happening."""
        return json_response({"live": True})

    async def ready(self, request: EndpointRequest) -> Response:
        """Say whether every model that should be served is, and the server goes on."""
        missing = dict(self.repository.unavailable)
        stopping = self.stopping()
        is_ready = not missing and not stopping
        more = {"stopping": True} if stopping else {}
        return json_response({"ready": is_ready, "unavailable": missing, **more}, 200 if is_ready else 503)

    async def models(self, request: EndpointRequest) -> Response:
        """List what is served."""
        return json_response(
            {"models": [model_summary(served) for served in self.repository.served_models().values()]}
        )

    async def metadata(self, request: EndpointRequest) -> Response:
        """Describe a model's inputs and outputs."""
        served = self.repository.get(request.parameters["model"])
        versions = [one.version for one in (served.current, served.previous) if one is not None]
        return json_response(v2_request.metadata(self._asked(request).model, versions))

    async def model_ready(self, request: EndpointRequest) -> Response:
        """Say that a model is ready; one that is not (yet) is 503, one that nobody knows 404."""
        name = request.parameters["model"]
        try:
            loaded = self._asked(request)
        except ModelNotReadyError as error:
            return json_response({"name": name, "ready": False, "error": str(error)}, 503)
        return json_response({"name": loaded.name, "ready": True})

    async def infer(self, request: EndpointRequest) -> Response:
        """Answer tensors with tensors, by the version in the path if there is one."""
        self._asked(request)
        name, work, version = self.parse(request, await request.body())
        return prediction_response(await self.batcher.infer(name, work, version))

    def parse(self, request: EndpointRequest, body: bytes) -> InferenceCall:
        """Read what is asked, as far as that is possible before the tensors are."""
        name, version = request.parameters["model"], request.parameters.get("version")
        self._asked(request)
        request.model = name
        return InferenceCall(name, v2_request.InferRequest(body, _header_length(request)), version)

    def _asked(self, request: EndpointRequest) -> LoadedVersion:
        served = self.repository.get(request.parameters["model"])
        version = request.parameters.get("version")
        return served.current if version is None else select_version(served, version)


def _header_length(request: EndpointRequest) -> int | None:
    given = request.header(v2_request.HEADER_LENGTH.encode())
    if given is None:
        return None
    if not given.isascii() or not given.isdecimal() or len(given) > 18:
        raise RequestError(f"{v2_request.HEADER_LENGTH} must be a number of bytes, not {given[:40]!r}")
    return int(given)
