"""One Open Inference Protocol v2 inference request, including the binary tensor data extension.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from continuous_training.serving.api.tensor_inputs import decode_inputs
from continuous_training.serving.api.tensor_outputs import RequestedOutput, encode_outputs
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate, decode, encode
from continuous_training.serving.models.inference_request import InferenceResponse
from continuous_training.serving.models.model import Model, Tensors
from continuous_training.serving.models.versions import LoadedVersion

HEADER_LENGTH = "inference-header-content-length"

_UNSUPPORTED_PARAMETERS = ("classification", "shared_memory_region")


@dataclass
class InferRequest:
    """A v2 request. With `header_length`, the body is that many bytes of JSON followed by raw tensors."""

    body: bytes
    header_length: int | None = None
    _id: str | None = field(default=None, init=False)
    _outputs: list[RequestedOutput] = field(default_factory=list, init=False)

    def build_inputs(self, model: Model) -> Tensors:
        """Decode the input tensors. RequestError if they do not fit the model."""
        length = self.header_length
        if length is not None and not 0 < length <= len(self.body):
            raise RequestError(
                f"{HEADER_LENGTH} is {length}, and the body has {len(self.body)} bytes: it must be the "
                f"length of the JSON at the start of the body"
            )
        request = decode(self.body if length is None else memoryview(self.body)[:length], model.json_limits)
        if not isinstance(request, dict):
            raise RequestError('the body must be a JSON object with "inputs"')
        for key, json_type, description in (("id", str, "a string"), ("parameters", dict, "an object")):
            if request.get(key) is not None and not isinstance(request[key], json_type):
                raise RequestError(f'"{key}" must be {description}')
        self._id = request.get("id")
        binary = (request.get("parameters") or {}).get("binary_data_output", False)
        names = [spec.name for spec in model.outputs]
        self._outputs = _requested_outputs(request.get("outputs"), names, binary)
        raw = memoryview(self.body)[length:] if length is not None else memoryview(b"")
        tensors = decode_inputs(request.get("inputs"), model.inputs, raw)
        model.check_inputs(tensors)
        return tensors

    def encode_response(self, version: LoadedVersion, outputs: Tensors) -> InferenceResponse:
        """Encode the v2 response, with the raw tensors that were requested after its JSON."""
        values, raw = encode_outputs(outputs, version.model.outputs, self._outputs)
        request_id = {} if self._id is None else {"id": self._id}
        text = encode(
            {
                "model_name": version.name,
                "model_version": version.version,
                **request_id,
                "outputs": values,
            }
        )
        if not raw:
            return InferenceResponse(text, version.digest)
        headers = {HEADER_LENGTH: str(len(text)), "content-type": "application/octet-stream"}
        return InferenceResponse(b"".join([text, *raw]), version.digest, headers)

    def size(self) -> int:
        """Return the size of the request body in bytes."""
        return len(self.body)


def _requested_outputs(outputs: Any, names: list[str], binary: Any) -> list[RequestedOutput]:
    """Return the requested outputs; without `outputs`, all. `binary` is the default of `binary_data`."""
    if not isinstance(binary, bool):
        raise RequestError("binary_data_output must be true or false")
    if outputs is None or outputs == []:
        return [RequestedOutput(name, binary) for name in names]
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise RequestError('"outputs" must be a list of objects with a "name"')
    requested: dict[str, RequestedOutput] = {}
    for output in outputs:
        name, parameters = output.get("name"), output.get("parameters")
        parameters = {} if parameters is None else parameters
        if not isinstance(name, str) or name not in names:
            raise RequestError(f"the model has no output {abbreviate(name)}; its outputs are {names}")
        if name in requested:
            raise RequestError(f"the output {name!r} is requested twice")
        if not isinstance(parameters, dict):
            raise RequestError(f"output {name!r}: parameters must be an object")
        for parameter in _UNSUPPORTED_PARAMETERS:
            if parameter in parameters:
                raise RequestError(f"output {name!r}: {parameter} is not supported; remove it")
        as_binary = parameters.get("binary_data", binary)
        if not isinstance(as_binary, bool):
            raise RequestError(f"output {name!r}: binary_data must be true or false")
        requested[name] = RequestedOutput(name, as_binary)
    return list(requested.values())
