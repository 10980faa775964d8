"""The Open Inference Protocol v2 endpoints: health, metadata, readiness and inference.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Loading and unloading are endpoints of the management port (`http/management.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata as distributions

from continuous_training.core.json_object import Json
from continuous_training.serving.api.endpoint import (
    EndpointRequest,
    InferenceCall,
    Response,
    Route,
    json_response,
)
from continuous_training.serving.api.predict_endpoints import model_summary, prediction_response
from continuous_training.serving.api.v2_request import HEADER_LENGTH, InferRequest
from continuous_training.serving.errors import ModelNotReadyError, RequestError
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.trial_fallback import select_version
from continuous_training.serving.models.versions import LoadedVersion

SERVER_NAME = "continuous-training"
EXTENSIONS = ["binary_tensor_data"]
DEFAULT_PLATFORM = "onnx_onnxruntime"


class V2Endpoints:
    """Serves the paths below `/v2`. `stopping` returns whether the server is being stopped."""

    def __init__(self, repository: ModelRepository, batcher: Batcher, stopping: Callable[[], bool]) -> None:
        self.repository = repository
        self.batcher = batcher
        self.stopping = stopping

    def routes(self) -> list[Route]:
        """Return the routes below `/v2`."""
        routes = [
            Route("GET", "/v2", self.server_metadata),
            Route("GET", "/v2/health/live", self.server_live),
            Route("GET", "/v2/health/ready", self.server_ready),
            Route("GET", "/v2/models", self.models),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route("GET", model, self.model_metadata),
                Route("GET", f"{model}/ready", self.model_ready),
                Route("POST", f"{model}/infer", self.infer, self.parse),
            ]
        return routes

    async def server_metadata(self, request: EndpointRequest) -> Response:
        """Return the server's name, version and extensions."""
        try:
            version = distributions.version(SERVER_NAME)
        except distributions.PackageNotFoundError:
            version = "unknown"
        return json_response({"name": SERVER_NAME, "version": version, "extensions": EXTENSIONS})

    async def server_live(self, request: EndpointRequest) -> Response:
        """Return HTTP 200. `LivenessResponder` responds while a model blocks the event loop."""
        return json_response({"live": True})

    async def server_ready(self, request: EndpointRequest) -> Response:
        """Return HTTP 200 if every configured model is served and the server is not stopping, else 503."""
        unavailable = dict(self.repository.unavailable)
        stopping = self.stopping()
        ready = not unavailable and not stopping
        details = {"stopping": True} if stopping else {}
        return json_response({"ready": ready, "unavailable": unavailable, **details}, 200 if ready else 503)

    async def models(self, request: EndpointRequest) -> Response:
        """List the served models."""
        models = self.repository.served_models().values()
        return json_response({"models": [model_summary(served) for served in models]})

    async def model_metadata(self, request: EndpointRequest) -> Response:
        """Return a model's versions, inputs and outputs."""
        served = self.repository.get(request.parameters["model"])
        versions = [version.version for version in served.versions()]
        return json_response(_model_metadata(self._requested_version(request).model, versions))

    async def model_ready(self, request: EndpointRequest) -> Response:
        """Return HTTP 200 for a served model, 503 for one that is not loaded yet, and 404 if unknown."""
        name = request.parameters["model"]
        try:
            version = self._requested_version(request)
        except ModelNotReadyError as error:
            return json_response({"name": name, "ready": False, "error": str(error)}, 503)
        return json_response({"name": version.name, "ready": True})

    async def infer(self, request: EndpointRequest) -> Response:
        """Run the model, or the version in the path."""
        self._requested_version(request)
        call = self.parse(request, await request.body())
        return prediction_response(await self.batcher.infer(call.model, call.request, call.version))

    def parse(self, request: EndpointRequest, body: bytes) -> InferenceCall:
        """Return the inference call of a request. The batcher decodes the tensors later."""
        name, version = request.parameters["model"], request.parameters.get("version")
        self._requested_version(request)
        request.model = name
        return InferenceCall(name, InferRequest(body, _header_length(request)), version)

    def _requested_version(self, request: EndpointRequest) -> LoadedVersion:
        served = self.repository.get(request.parameters["model"])
        version = request.parameters.get("version")
        return served.current if version is None else select_version(served, version)


def _model_metadata(model: Model, versions: list[str]) -> Json:
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.metadata.platform or DEFAULT_PLATFORM,
        "inputs": [spec.metadata() for spec in model.inputs],
        "outputs": [spec.metadata() for spec in model.outputs],
    }


def _header_length(request: EndpointRequest) -> int | None:
    value = request.header(HEADER_LENGTH.encode())
    if value is None:
        return None
    if not value.isascii() or not value.isdecimal() or len(value) > 18:
        raise RequestError(f"{HEADER_LENGTH} must be a number of bytes, not {value[:40]!r}")
    return int(value)
