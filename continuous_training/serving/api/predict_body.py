"""What a person asks at `/predict`: JSON or picture files, and whether the answer is to be looked at."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from continuous_training.serving.api.endpoint import EndpointRequest
from continuous_training.serving.api.multipart import is_upload, parse_upload
from continuous_training.serving.errors import InvalidQueryError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.inference_request import (
    InferenceRequest,
    InferenceResponse,
    PredictRequest,
    preprocess,
)
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.model_schema import model_schema
from continuous_training.serving.models.versions import LoadedVersion

ILLUSTRATE = "illustrate"
# Two at a time, since a decoded picture takes up to 64 MB.
_decoders = ThreadPoolExecutor(2, thread_name_prefix="picture")
_WORDS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True)
class IllustratedPredictRequest:
    """A request whose answer is `{"request", "answer"}`: what the model was given, and its answer with
    what helps to see it."""

    body: bytes
    given: Any

    def build_inputs(self, model: Model) -> Tensors:
        """Let the handler read the request."""
        return preprocess(model, self.given)

    def encode_response(self, loaded: LoadedVersion, tensors: Tensors) -> InferenceResponse:
        """Let the handler write the answer and illustrate it, if it can."""
        handler = loaded.model.handler
        answer = handler.postprocess(tensors)
        illustrate = getattr(handler, "illustrate", None)
        shown = {"request": self.given, "answer": illustrate(answer) if illustrate else answer}
        return InferenceResponse(encode(shown), loaded.digest)

    def size(self) -> int:
        """Tell the bytes of the request."""
        return len(self.body)


async def parse_predict_request(request: EndpointRequest, loaded: LoadedVersion) -> InferenceRequest:
    """Read what is asked of a model; RequestError says what cannot be read."""
    illustrate = _wants_illustration(request)
    body = await request.body()
    content_type = request.header(b"content-type") or ""
    if is_upload(content_type):
        schema = model_schema(loaded).request
        # In a thread: a photograph takes longer to decode than many requests to answer.
        loop = asyncio.get_running_loop()
        given = await loop.run_in_executor(_decoders, parse_upload, content_type, body, schema)
        return IllustratedPredictRequest(body, given) if illustrate else PredictRequest(body, lambda _: given)
    return IllustratedPredictRequest(body, decode(body)) if illustrate else PredictRequest(body)


def is_plain_json(request: EndpointRequest) -> bool:
    """Tell whether a request is JSON whose answer is not to be illustrated."""
    content_type = request.header(b"content-type")
    plain = content_type is None or content_type == "application/json" or not is_upload(content_type)
    return plain and not request.query_string


def _wants_illustration(request: EndpointRequest) -> bool:
    query = request.query_string
    if not query:
        return False
    words = parse_qs(query.decode("latin-1"), keep_blank_values=True).get(ILLUSTRATE, ["false"])
    if len(words) != 1 or words[0].lower() not in _WORDS:
        raise InvalidQueryError(f"{ILLUSTRATE} is true or false, not {', '.join(words)!r:.100}")
    return _WORDS[words[0].lower()]
