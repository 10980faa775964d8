"""`/predict` for people: a request and an answer in the workload's own words."""

from __future__ import annotations

from typing import Any

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
    """Answers `/predict`, and lists what can be asked."""

    def __init__(self, repository: ModelRepository, batcher: Batcher) -> None:
        self.repository = repository
        self.batcher = batcher

    def routes(self) -> list[Route]:
        """List the paths that it answers."""
        return [
            Route("POST", "/predict", self.predict, self.parse),
            Route("POST", "/predict/{model}", self.predict, self.parse),
        ]

    async def predict(self, request: EndpointRequest) -> Response:
        """Answer in the workload's own words; without a name in the path, by the only model."""
        name = request.parameters.get("model") or self._only_model()
        loaded = self.repository.get(name).current
        request.model = name
        return prediction_response(
            await self.batcher.infer(name, await parse_predict_request(request, loaded))
        )

    def parse(self, request: EndpointRequest, body: bytes) -> InferenceCall | None:
        """Read what is asked in plain JSON."""
        if not is_plain_json(request):
            return None
        name = request.parameters.get("model") or self._only_model()
        self.repository.get(name)
        request.model = name
        return InferenceCall(name, PredictRequest(body))

    async def index(self, request: EndpointRequest) -> Response:
        """List the models and where each is asked."""
        models = [
            {
                **model_summary(served),
                "predict": f"/predict/{name}",
                "infer": f"/v2/models/{name}/infer",
                "metadata": f"/v2/models/{name}",
            }
            for name, served in sorted(self.repository.served_models().items())
        ]
        more = {
            "health": "/v2/health/ready",
            "protocol": "/v2",
            "metrics": "/metrics",
            "openapi": "/openapi.json",
        }
        return json_response({"models": models, **more})

    def _only_model(self) -> str:
        names = sorted(self.repository.served_models())
        if len(names) != 1:
            paths = ", ".join(f"/predict/{name}" for name in names) or "none"
            raise PathNotFoundError(f"/predict alone is for exactly one model; served are: {paths}")
        return names[0]


def model_summary(served: ServedModel) -> dict[str, Any]:
    """Describe what is served under a name in one line."""
    version = served.current.version
    return {"name": served.name, "version": version, "digest": served.digest, "phase": served.phase}


def prediction_response(answer: InferenceResponse) -> Response:
    """Response with an answer, and with the version that gave it."""
    headers = {"x-model-version": answer.digest[:12], "x-model-digest": answer.digest, **answer.headers}
    return Response(answer.body, headers=headers)
