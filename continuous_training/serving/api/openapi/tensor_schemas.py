"""JSON Schemas and examples of a model's Open Inference Protocol requests and responses."""

from __future__ import annotations

from typing import Any

import numpy as np

from continuous_training.artifacts.bundle import TensorSpec
from continuous_training.artifacts.tensor_datatypes import NUMPY_DTYPES
from continuous_training.serving.errors import RequestError
from continuous_training.serving.models.model import Model
from continuous_training.serving.models.model_schema import ModelSchema
from continuous_training.serving.models.schema_inference import Schema

_JSON_TYPES = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "O": "string"}


def infer_request(model: Model) -> Schema:
    """Return the schema of a request to `/infer`: all inputs, and optionally the requested outputs."""
    inputs = [_tensor(spec, {"prefixItems": [_axis(size) for size in spec.shape]}) for spec in model.inputs]
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"], "description": "is returned in the response"},
            "parameters": {"type": ["object", "null"]},
            "inputs": {
                "type": "array",
                "items": inputs[0] if len(inputs) == 1 else {"oneOf": inputs},
                "minItems": len(inputs),
                "maxItems": len(inputs),
            },
            "outputs": {
                "type": ["array", "null"],
                "description": "the requested outputs (default: all)",
                "items": {
                    "type": "object",
                    "properties": {"name": {"enum": [spec.name for spec in model.outputs]}},
                    "required": ["name"],
                },
            },
        },
        "required": ["inputs"],
    }


def infer_response(model: Model) -> Schema:
    """Return the schema of a response of `/infer`."""
    # No prefixItems: schemathesis 4.32 rewrites them in responses to a form that its validator rejects.
    outputs = [_tensor(spec, {"items": {"type": "integer", "minimum": 0}}) for spec in model.outputs]
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


def infer_example(model: Model, schema: ModelSchema) -> Any:
    """Return the first golden request that the handler accepts as tensors, or None."""
    for example in schema.examples:
        try:
            tensors = model.preprocess(example.request)
        except RequestError:
            continue
        return {"inputs": [_encode(spec, tensors[spec.name]) for spec in model.inputs]}
    return None


def _tensor(spec: TensorSpec, axes: Schema) -> Schema:
    """Return the schema of a tensor. `axes` is the schema of the elements of its shape."""
    depth = len(spec.shape)
    return {
        "type": "object",
        "properties": {
            "name": {"const": spec.name},
            "datatype": {"const": spec.datatype},
            "shape": {
                "type": "array",
                **axes,
                "minItems": depth,
                "maxItems": depth,
                "description": f"{list(spec.shape)}, where -1 is any number of rows",
            },
            "parameters": {"type": ["object", "null"]},
            "data": _data(spec),
        },
        "required": ["name", "datatype", "shape", "data"],
    }


def _axis(size: int) -> Schema:
    return {"type": "integer", "minimum": 1} if size < 0 else {"const": size}


def _data(spec: TensorSpec) -> Schema:
    """Return the schema of a tensor's elements, flat or nested like the shape."""
    kind = np.dtype(NUMPY_DTYPES[spec.datatype]).kind
    item: Schema = {"type": _JSON_TYPES[kind]}
    if kind in "iu":
        limits = np.iinfo(NUMPY_DTYPES[spec.datatype])
        item |= {"minimum": int(limits.min), "maximum": int(limits.max)}
    for key, limit in (("minimum", spec.minimum), ("maximum", spec.maximum)):
        item |= {} if limit is None else {key: limit}
    if len(spec.shape) < 2:
        return {"type": "array", "items": item}
    nested = item
    for size in reversed(spec.shape):
        nested = {"type": "array", "items": nested, **_exact_size(size)}
    return {
        "anyOf": [{"type": "array", "items": item}, nested],
        "description": "flat in row-major order, or nested as the shape",
    }


def _exact_size(size: int) -> dict[str, int]:
    return {} if size < 0 else {"minItems": size, "maxItems": size}


def _encode(spec: TensorSpec, array: np.ndarray) -> Schema:
    elements = np.asarray(array).ravel().tolist()
    return {
        **spec.metadata(),
        "shape": list(np.asarray(array).shape),
        "data": [item.decode() if isinstance(item, bytes) else item for item in elements],
    }
