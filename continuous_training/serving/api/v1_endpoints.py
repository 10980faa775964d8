"""The V1 inference protocol of KServe, as InferenceGraphs and V1 clients use it.

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol
An instance is a request in the workload's own format, as `/predict` accepts it, and its prediction is the
response to it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from continuous_training.serving.api.endpoint import EndpointRequest, Response, Route, json_response
from continuous_training.serving.api.predict_endpoints import prediction_response
from continuous_training.serving.errors import OverloadedError, RequestError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.json_limits import JsonLimits
from continuous_training.serving.models.batcher import Batcher
from continuous_training.serving.models.inference_request import InferenceResponse, PredictRequest
from continuous_training.serving.models.model_repository import ModelRepository

MAX_INSTANCES = 256
"""Each instance is one request in the queue, which a single client must not fill."""

_ATTEMPTS = 3
_LARGE_BYTES = 64 * 1024
"""A larger body is parsed in another thread, because that takes longer than many inferences."""

_parser_thread = ThreadPoolExecutor(1, thread_name_prefix="json-parser")
"""Only one thread: several would hold the interpreter lock one after the other."""


class V1Endpoints:
    """Serves the paths below `/v1`."""

    def __init__(self, repository: ModelRepository, batcher: Batcher) -> None:
        self.repository = repository
        self.batcher = batcher

    def routes(self) -> list[Route]:
        """Return the routes below `/v1`."""
        return [
            Route("GET", "/v1/models", self.models),
            Route("GET", "/v1/models/{model}", self.model_ready),
            Route("POST", "/v1/models/{model}:predict", self.predict),
        ]

    async def models(self, request: EndpointRequest) -> Response:
        """List the names of the served models."""
        return json_response({"models": sorted(self.repository.served_models())})

    async def model_ready(self, request: EndpointRequest) -> Response:
        """Return HTTP 200 for a served model, 503 for one that is not loaded yet, and 404 if unknown."""
        name = request.parameters["model"]
        self.repository.get(name)
        return json_response({"name": name, "ready": True})

    async def predict(self, request: EndpointRequest) -> Response:
        """Run the model on each instance. All predictions are of the same version."""
        name = request.parameters["model"]
        limits = self.repository.get(name).model.json_limits
        request.model = name
        body = await request.body()
        if len(body) > _LARGE_BYTES:
            loop = asyncio.get_running_loop()
            instances = await loop.run_in_executor(_parser_thread, _instances, name, body, limits)
        else:
            instances = _instances(name, body, limits)
        for _ in range(_ATTEMPTS):
            responses = await self._infer(name, instances)
            # The served version may change between two batches.
            if len({response.digest for response in responses}) == 1:
                body = b'{"predictions":[' + b",".join(response.body for response in responses) + b"]}"
                return prediction_response(InferenceResponse(body, responses[0].digest))
        raise OverloadedError(f"the served version of {name} changes; try again in a moment")

    async def _infer(self, name: str, instances: list[bytes]) -> list[InferenceResponse]:
        """Return the responses in order. Raises the error of the first instance that failed."""
        calls = (self.batcher.infer(name, PredictRequest(instance)) for instance in instances)
        responses: list[InferenceResponse] = []
        for position, response in enumerate(await asyncio.gather(*calls, return_exceptions=True)):
            if isinstance(response, RequestError):
                raise RequestError(f"instances[{position}]: {response}") from response
            if isinstance(response, BaseException):
                raise response
            responses.append(response)
        return responses


def _instances(name: str, body: bytes, limits: JsonLimits) -> list[bytes]:
    """Return the instances of a request, each as JSON."""
    content = decode(body, limits)
    instances = content.get("instances") if isinstance(content, dict) else None
    if not isinstance(instances, list) or not instances:
        raise RequestError(
            'a V1 request is {"instances": [REQUEST, ...]} with at least one request in the format of '
            f"/predict/{name}"
        )
    if len(instances) > MAX_INSTANCES:
        raise RequestError(f"there are {len(instances)} instances: send at most {MAX_INSTANCES} per request")
    return [encode(instance) for instance in instances]
