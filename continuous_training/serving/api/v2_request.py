"""One inference request in the words of the Open Inference Protocol v2, its binary extension included.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from continuous_training.serving.api.tensor_outputs import RequestedOutput, encode_outputs
from continuous_training.serving.api.tensors import decode_inputs
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate, decode, encode
from continuous_training.serving.models.inference_request import InferenceResponse
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.versions import LoadedVersion

PLATFORM = "onnx_onnxruntime"
HEADER_LENGTH = "inference-header-content-length"

_CHANGES_THE_ANSWER = ("classification", "shared_memory_region")


@dataclass
class InferRequest:
    """A v2 request: JSON, and behind its first `header_length` bytes, if that is given, raw tensors."""

    body: bytes
    header_length: int | None = None
    _id: str | None = field(default=None, init=False)
    _wanted: list[RequestedOutput] = field(default_factory=list, init=False)

    def build_inputs(self, model: Model) -> Tensors:
        """Read the request against the model's signature; RequestError says what does not fit it."""
        length = self.header_length
        if length is not None and not 0 < length <= len(self.body):
            raise RequestError(
                f"{HEADER_LENGTH} is {length}, and the body has {len(self.body)} bytes: it must be the "
                f"number of the bytes of JSON that the body begins with"
            )
        request = decode(self.body if length is None else memoryview(self.body)[:length])
        if not isinstance(request, dict):
            raise RequestError('the body must be a JSON object with "inputs"')
        for key, kind, words in (("id", str, "a text"), ("parameters", dict, "an object")):
            if key in request and not isinstance(request[key], kind):
                raise RequestError(f'"{key}" must be {words}')
        self._id = request.get("id")
        binary = request.get("parameters", {}).get("binary_data_output", False)
        self._wanted = _wanted(request.get("outputs"), [t["name"] for t in model.outputs], binary)
        tail = memoryview(self.body)[length:] if length is not None else memoryview(b"")
        return decode_inputs(request.get("inputs"), model.inputs, tail)

    def encode_response(self, loaded: LoadedVersion, tensors: Tensors) -> InferenceResponse:
        """Write the v2 response, with raw tensors behind its JSON where they were asked for."""
        outputs, raw = encode_outputs(tensors, loaded.model.outputs, self._wanted)
        named = {} if self._id is None else {"id": self._id}
        text = encode(
            {"model_name": loaded.name, "model_version": loaded.version, **named, "outputs": outputs}
        )
        if not raw:
            return InferenceResponse(text, loaded.digest)
        headers = {HEADER_LENGTH: str(len(text)), "content-type": "application/octet-stream"}
        return InferenceResponse(b"".join([text, *raw]), loaded.digest, headers)

    def size(self) -> int:
        """Tell the bytes of the request."""
        return len(self.body)


def _wanted(asked: Any, known: list[str], binary: Any) -> list[RequestedOutput]:
    if not isinstance(binary, bool):
        raise RequestError("binary_data_output must be true or false")
    if asked is None or asked == []:
        return [RequestedOutput(name, binary) for name in known]
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise RequestError('"outputs" must be a list of objects with a "name"')
    wanted: dict[str, RequestedOutput] = {}
    for item in asked:
        name, parameters = item.get("name"), item.get("parameters", {})
        if not isinstance(name, str) or name not in known:
            raise RequestError(f"the model has no output {abbreviate(name)}; it has {known}")
        if name in wanted:
            raise RequestError(f"the output {name!r} is asked for twice")
        if not isinstance(parameters, dict):
            raise RequestError(f"output {name!r}: parameters must be an object")
        for word in _CHANGES_THE_ANSWER:
            if word in parameters:
                raise RequestError(f"output {name!r}: {word} is not supported; leave it out")
        as_bytes = parameters.get("binary_data", binary)
        if not isinstance(as_bytes, bool):
            raise RequestError(f"output {name!r}: binary_data must be true or false")
        wanted[name] = RequestedOutput(name, as_bytes)
    return list(wanted.values())


def metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    """Describe a model as v2's model metadata does."""
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.metadata.platform or PLATFORM,
        "inputs": model.inputs,
        "outputs": model.outputs,
    }
