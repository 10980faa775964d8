"""Parsing of `/predict` requests: JSON or image files, with an optional illustration of the response."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from continuous_training.serving.api.endpoint import EndpointRequest
from continuous_training.serving.api.multipart import is_upload, parse_upload
from continuous_training.serving.errors import InvalidQueryError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.inference_request import (
    InferenceRequest,
    InferenceResponse,
    Parse,
    PredictRequest,
)
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.model_schema import model_schema
from continuous_training.serving.models.versions import LoadedVersion

ILLUSTRATE = "illustrate"
# Only two threads, because a decoded image takes up to 64 MB.
_decoder_threads = ThreadPoolExecutor(2, thread_name_prefix="image-decoder")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(slots=True)
class IllustratedPredictRequest:
    """A request whose response is `{"request", "answer"}`.

    `request` is the result of `parse`. `answer` is the handler's response. If the handler has a method
    `illustrate`, it adds explanations for a person, for example images.
    """

    body: bytes
    parse: Parse = decode
    _request: Any = field(default=None, init=False)

    def build_inputs(self, model: Model) -> Tensors:
        """Return the tensors that the handler's `preprocess` returns."""
        self._request = self.parse(self.body, model.json_limits)
        return model.preprocess(self._request)

    def encode_response(self, version: LoadedVersion, outputs: Tensors) -> InferenceResponse:
        """Encode the request and the illustrated result of the handler's `postprocess`."""
        handler = version.model.handler
        response = handler.postprocess(outputs)
        illustrate = getattr(handler, "illustrate", None)
        content = {"request": self._request, "answer": illustrate(response) if illustrate else response}
        return InferenceResponse(encode(content), version.digest)

    def size(self) -> int:
        """Return the size of the request body in bytes."""
        return len(self.body)


async def parse_predict_request(request: EndpointRequest, version: LoadedVersion) -> InferenceRequest:
    """Read a request to `/predict`. RequestError if it is invalid."""
    request_type = IllustratedPredictRequest if _illustrate(request) else PredictRequest
    body = await request.body()
    content_type = request.header(b"content-type") or ""
    if is_upload(content_type):
        schema = model_schema(version).request
        read_image = getattr(version.model.handler, "read_image", None)
        # In a thread, because decoding a photograph takes longer than many inferences.
        loop = asyncio.get_running_loop()
        decoded = await loop.run_in_executor(
            _decoder_threads, parse_upload, content_type, body, schema, read_image
        )
        return request_type(body, lambda *_: decoded)
    return request_type(body)


def is_plain_json(request: EndpointRequest) -> bool:
    """Return whether a request is JSON without options in the query string."""
    content_type = request.header(b"content-type")
    is_json = content_type is None or content_type == "application/json" or not is_upload(content_type)
    return is_json and not request.query_string


def _illustrate(request: EndpointRequest) -> bool:
    query = request.query_string
    if not query:
        return False
    values = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(ILLUSTRATE, ["false"])
    if len(values) != 1 or values[0].lower() not in _BOOLEANS:
        raise InvalidQueryError(f"{ILLUSTRATE} must be true or false, not {', '.join(values)!r:.100}")
    return _BOOLEANS[values[0].lower()]
