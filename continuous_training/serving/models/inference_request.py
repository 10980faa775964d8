"""One inference request: builds the input tensors and encodes the response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from continuous_training.serving.json_codec import decode, encode
from continuous_training.serving.json_limits import JsonLimits
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.versions import LoadedVersion


@dataclass(slots=True)
class InferenceResponse:
    """An encoded response, the digest of the version that produced it, and additional headers."""

    body: bytes
    digest: str
    headers: dict[str, str] = field(default_factory=dict)


Parse = Callable[[bytes, JsonLimits], Any]
"""Converts a body, whose JSON must not exceed the limits, to the argument of the handler."""


class InferenceRequest(Protocol):
    """One request for inference, in any of the supported formats."""

    def build_inputs(self, model: Model) -> Tensors:
        """Return the request as n rows of the model's input tensors. RequestError if it is invalid."""

    def encode_response(self, version: LoadedVersion, outputs: Tensors) -> InferenceResponse:
        """Encode n rows of the model's output tensors as the response."""

    def size(self) -> int:
        """Return the size of the request body in bytes."""


@dataclass(slots=True)
class PredictRequest:
    """A request in the workload's own format."""

    body: bytes
    parse: Parse = decode

    def build_inputs(self, model: Model) -> Tensors:
        """Return the tensors that the handler's `preprocess` returns."""
        return model.preprocess(self.parse(self.body, model.json_limits))

    def encode_response(self, version: LoadedVersion, outputs: Tensors) -> InferenceResponse:
        """Encode the result of the handler's `postprocess`."""
        return InferenceResponse(encode(version.model.handler.postprocess(outputs)), version.digest)

    def size(self) -> int:
        """Return the size of the request body in bytes."""
        return len(self.body)
