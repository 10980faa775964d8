"""One request's share of an inference: its rows before, and its answer after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.versions import LoadedVersion


@dataclass(slots=True)
class InferenceResponse:
    """An answer's bytes, the digest of the version that gave it, and headers of its own."""

    body: bytes
    digest: str
    headers: dict[str, str] = field(default_factory=dict)


class InferenceRequest(Protocol):
    """What one request wants of a model."""

    def build_inputs(self, model: Model) -> Tensors:
        """Turn the request into tensors of the model's inputs, n rows; RequestError if it cannot be."""

    def encode_response(self, loaded: LoadedVersion, tensors: Tensors) -> InferenceResponse:
        """Turn the n rows of the model's outputs into the answer."""

    def size(self) -> int:
        """Tell the bytes of the request."""


@dataclass(slots=True)
class PredictRequest:
    """A request in the workload's own words; `parse` turns its body into what the handler takes."""

    body: bytes
    parse: Callable[[bytes], Any] = decode

    def build_inputs(self, model: Model) -> Tensors:
        """Let the handler read the request."""
        return preprocess(model, self.parse(self.body))

    def encode_response(self, loaded: LoadedVersion, tensors: Tensors) -> InferenceResponse:
        """Let the handler write the answer."""
        return InferenceResponse(encode(loaded.model.handler.postprocess(tensors)), loaded.digest)

    def size(self) -> int:
        """Tell the bytes of the request."""
        return len(self.body)


def preprocess(model: Model, request: Any) -> Tensors:
    """Let a handler read a request; its ValueError becomes a RequestError for the caller."""
    try:
        return dict(model.handler.preprocess(request))
    except ValueError as error:
        raise RequestError(str(error)) from error
