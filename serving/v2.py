"""One inference request in the words of the Open Inference Protocol v2."""

from __future__ import annotations

from typing import Any

from .errors import RequestError
from .jsontext import encode
from .model import Model
from .tensors import read_inputs, write_outputs

PLATFORM = "onnx_onnxruntime"


def infer(model: Model, version: str, request: Any) -> bytes:
    """Answer a parsed v2 request with the bytes of a v2 response.

    RequestError when the request does not fit the model's signature; any other error is the handler's.
    """
    if not isinstance(request, dict):
        raise RequestError('the body must be a JSON object with "inputs"')
    for key, kind, words in (("id", str, "a text"), ("parameters", dict, "an object")):
        if key in request and not isinstance(request[key], kind):
            raise RequestError(f'"{key}" must be {words}')
    wanted = _wanted(request.get("outputs"), [tensor["name"] for tensor in model.outputs])
    tensors = read_inputs(request.get("inputs"), model.inputs)
    outputs = write_outputs(model.infer(tensors), model.outputs, wanted)
    named = {"id": request["id"]} if "id" in request else {}
    return encode({"model_name": model.name, "model_version": version, **named, "outputs": outputs})


def _wanted(asked: Any, known: list[str]) -> list[str]:
    if asked is None or asked == []:
        return known
    if not isinstance(asked, list) or not all(isinstance(item, dict) for item in asked):
        raise RequestError('"outputs" must be a list of objects with a "name"')
    names = [item.get("name") for item in asked]
    if unknown := [name for name in names if name not in known]:
        raise RequestError(f"the model has no outputs {unknown}; it has {known}")
    return [name for name in known if name in names]


def metadata(model: Model, versions: list[str]) -> dict[str, Any]:
    """Describe a model as v2's model metadata does."""
    return {
        "name": model.name,
        "versions": versions,
        "platform": model.metadata.get("platform", PLATFORM),
        "inputs": model.inputs,
        "outputs": model.outputs,
    }
