"""JSON Schemas and examples of the Open Inference Protocol's requests and responses for one model."""

from __future__ import annotations

from typing import Any

import numpy as np

from continuous_training.serving.api.tensors import DTYPES
from continuous_training.serving.errors import RequestError
from continuous_training.serving.models.inference_request import preprocess
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.model_schema import ModelSchema

Schema = dict[str, Any]

_ITEMS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "O": "string"}


def infer_request(model: Model) -> Schema:
    """Describe the body of `/infer`: every input of the signature, and maybe which outputs are wanted."""
    inputs = [_tensor(tensor, rows=1) for tensor in model.inputs]
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "comes back with the answer"},
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "items": inputs[0] if len(inputs) == 1 else {"oneOf": inputs},
                "minItems": len(inputs),
                "maxItems": len(inputs),
            },
            "outputs": {
                "type": ["array", "null"],
                "description": "the outputs that are wanted; all when left out",
                "items": {
                    "type": "object",
                    "properties": {"name": {"enum": [tensor["name"] for tensor in model.outputs]}},
                    "required": ["name"],
                },
            },
        },
        "required": ["inputs"],
    }


def infer_response(model: Model) -> Schema:
    """Describe the answer of `/infer`."""
    outputs = [_tensor(tensor, rows=0) for tensor in model.outputs]
    return {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "model_name": {"const": model.name},
            "model_version": {"type": "string"},
            "outputs": {
                "type": "array",
                "items": outputs[0] if len(outputs) == 1 else {"anyOf": outputs},
            },
        },
        "required": ["model_name", "model_version", "outputs"],
    }


def infer_example(model: Model, interface: ModelSchema) -> Any:
    """Write the first golden request as tensors; None when there is none, or the handler refuses it."""
    for example in interface.examples:
        try:
            tensors = preprocess(model, example.request)
        except RequestError:
            continue
        return {"inputs": [_written(tensor, tensors[tensor["name"]]) for tensor in model.inputs]}
    return None


def _tensor(tensor: dict[str, Any], rows: int) -> Schema:
    depth = len(tensor["shape"])
    return {
        "type": "object",
        "properties": {
            "name": {"const": tensor["name"]},
            "datatype": {"const": tensor["datatype"]},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": rows},
                "minItems": depth,
                "maxItems": depth,
                "description": f"{tensor['shape']}, where -1 is any number of rows",
            },
            "parameters": {"type": "object"},
            "data": _data(tensor["datatype"], depth),
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _data(datatype: str, depth: int) -> Schema:
    """Describe a tensor's values, flat or nested as its shape."""
    kind = np.dtype(DTYPES[datatype]).kind
    item: Schema = {"type": _ITEMS[kind]}
    if kind in "iu":
        limits = np.iinfo(DTYPES[datatype])
        item |= {"minimum": int(limits.min), "maximum": int(limits.max)}
    flat: Schema = {"type": "array", "items": item}
    if depth < 2:
        return flat
    nested = flat
    for _ in range(depth - 1):
        nested = {"type": "array", "items": nested}
    return {"anyOf": [flat, nested], "description": "flat in row-major order, or nested as the shape"}


def _written(tensor: dict[str, Any], array: np.ndarray) -> dict[str, Any]:
    values = np.asarray(array).ravel().tolist()
    data = [value.decode() if isinstance(value, bytes) else value for value in values]
    return {
        "name": tensor["name"],
        "datatype": tensor["datatype"],
        "shape": list(np.asarray(array).shape),
        "data": data,
    }
