"""The `/predict` endpoints: requests and responses in the workload's own format."""

from __future__ import annotations

from continuous_training.core.json_object import Json
from continuous_training.serving.api.endpoint import (
    EndpointRequest,
    InferenceCall,
    Response,
    Route,
    json_response,
)
from continuous_training.serving.api.predict_body import is_plain_json, parse_predict_request
from continuous_training.serving.errors import PathNotFoundError
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.inference_request import InferenceResponse, PredictRequest
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.models.versions import ServedModel


class PredictEndpoints:
    """Serves `/predict`, and lists the models and their endpoints with `root_path` before their paths."""

    def __init__(self, repository: ModelRepository, batcher: Batcher, root_path: str = "") -> None:
        self.repository = repository
        self.batcher = batcher
        self.root_path = root_path

    def routes(self) -> list[Route]:
        """Return the routes of `/predict`."""
        return [
            Route("POST", "/predict", self.predict, self.parse),
            Route("POST", "/predict/{model}", self.predict, self.parse),
        ]

    async def predict(self, request: EndpointRequest) -> Response:
        """Run the model of the path, or the only served model if the path names none."""
        name = request.parameters.get("model") or self._only_model()
        version = self.repository.get(name).current
        request.model = name
        return prediction_response(
            await self.batcher.infer(name, await parse_predict_request(request, version))
        )

    def parse(self, request: EndpointRequest, body: bytes) -> InferenceCall | None:
        """Return the inference call of a JSON request, or None for other content types and options."""
        if not is_plain_json(request):
            return None
        name = request.parameters.get("model") or self._only_model()
        self.repository.get(name)
        request.model = name
        return InferenceCall(name, PredictRequest(body))

    async def index(self, request: EndpointRequest) -> Response:
        """List the served models and the paths of their endpoints."""
        root = self.root_path
        models = [
            {
                **model_summary(served),
                "predict": f"{root}/predict/{name}",
                "infer": f"{root}/v2/models/{name}/infer",
                "metadata": f"{root}/v2/models/{name}",
            }
            for name, served in sorted(self.repository.served_models().items())
        ]
        server = {
            "health": f"{root}/v2/health/ready",
            "protocol": f"{root}/v2",
            "metrics": f"{root}/metrics",
            "openapi": f"{root}/openapi.json",
        }
        return json_response({"models": models, **server})

    def _only_model(self) -> str:
        names = sorted(self.repository.served_models())
        if len(names) != 1:
            paths = ", ".join(f"{self.root_path}/predict/{name}" for name in names) or "none"
            raise PathNotFoundError(
                f"/predict without a model name requires exactly one served model; the paths are: {paths}"
            )
        return names[0]


def model_summary(served: ServedModel) -> Json:
    """Return the entry of a model in a list of models."""
    version = served.current.version
    return {"name": served.name, "version": version, "digest": served.digest, "phase": served.phase}


def prediction_response(inference: InferenceResponse) -> Response:
    """Return the HTTP response of an inference, with the model's version in its headers."""
    headers = {
        "x-model-version": inference.digest[:12],
        "x-model-digest": inference.digest,
        **inference.headers,
    }
    return Response(inference.body, headers=headers)
