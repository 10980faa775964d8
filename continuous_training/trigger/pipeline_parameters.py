"""The pipelines that the service starts: names, typed run parameters and their JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Parameter, Value, Values
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


@dataclass(frozen=True)
class TriggerPipeline:
    """A pipeline with its run parameters.

    `parse` returns the value of each parameter and raises UserError for a value that is not allowed.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    parse: Callable[[Mapping[str, object]], Values]

    def check(self, parameters: Mapping[str, object]) -> dict[str, Value]:
        """Return the typed values of the parameters in a request. Raises RequestError for invalid ones."""
        types = {parameter.name: parameter.type for parameter in self.parameters}
        for name, value in parameters.items():
            if name in types and not _has_type(value, types[name]):
                expected = _JSON_TYPES[types[name]]
                raise RequestError(
                    f"parameter {name}: {abbreviate(value)} is not of the JSON type {expected}"
                )
        try:
            values = self.parse(parameters)
        except UserError as error:
            raise RequestError(str(error)) from error
        return {name: values[name] for name in parameters}

    def schema(self) -> Json:
        """Return the JSON Schema of the parameters."""
        properties = {parameter.name: _schema(parameter) for parameter in self.parameters}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    def to_json(self) -> Json:
        """Return the entry of the pipeline in `GET /pipelines`."""
        return {"name": self.name, "summary": self.summary, "parameters": self.schema()}


def _has_type(value: object, expected: type) -> bool:
    # bool is a subclass of int, and JSON writes whole numbers of a float without a point.
    if isinstance(value, bool):
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)


def _schema(parameter: Parameter) -> Json:
    optional = {
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "enum": list(parameter.choices) or None,
        # An empty text is always valid: it is the default of most parameters.
        "pattern": f"^(?:{parameter.pattern})?$" if parameter.pattern else None,
    }
    return {
        "type": _JSON_TYPES[parameter.type],
        "default": parameter.default,
        "description": f"{parameter.help}: {parameter.allowed()}",
        **{name: value for name, value in optional.items() if value is not None},
    }
