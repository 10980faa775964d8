"""YAML files that users write, as pydantic models: parsing, errors that name file and key, JSON schema."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import ErrorDetails, core_schema

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json

Model = TypeVar("Model", bound=BaseModel)

_REQUIREMENTS = {
    "missing": "this key is required",
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of keys to values",
    "list_type": "must be a list",
    "invalid_key": "this key must be a string: put it in quotes",
}
"""Messages that replace pydantic's messages, which use terms of Python."""


class ConfigModel(BaseModel):
    """A mapping in a file. Unknown keys are rejected, and values are not converted to other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


@dataclass(frozen=True)
class Text:
    """The annotation of a string that matches a pattern. Numbers are converted to strings.

    YAML reads `cpu: 2` as a number, which is intended, and `gpu: yes` as a boolean, which is not.
    """

    pattern: str = ".*"
    expected: str = "a valid string"

    def parse(self, value: Any) -> str:
        """Return the value as a string. Raises ValueError if it has another type or does not match."""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{value!r} is not a string: put it in quotes")
        if not re.fullmatch(self.pattern, str(value), re.DOTALL):
            raise ValueError(f"{str(value)!r} is not {self.expected}")
        return str(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return core_schema.no_info_plain_validator_function(
            self.parse, json_schema_input_schema=core_schema.str_schema()
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Json:
        pattern = {} if self.pattern == ".*" else {"pattern": f"^({self.pattern})$"}
        return {"type": ["string", "number"], **pattern}


def read_config(path: Path, model: type[Model], hint: str) -> Model:
    """Return the content of a YAML file. `hint` states what to do if the file does not exist.

    Raises UserError with one line for each mistake.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: {hint}") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from None
    return validate(model, {} if content is None else content, str(path))


def validate(model: type[Model], values: Any, location: str) -> Model:
    """Return the values as a model. Raises UserError with one line for each mistake."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        mistakes = [_describe(model, details) for details in error.errors()]
        raise UserError("\n".join(f"{location}: {mistake}" for mistake in mistakes)) from None


def json_schema(model: type[BaseModel]) -> str:
    """Return the JSON schema of a file, for editors."""
    return json.dumps(model.model_json_schema(), indent=2)


def _describe(model: type[BaseModel], details: ErrorDetails) -> str:
    """Return one mistake as `train.timeout: must be a valid integer, not '1h'`."""
    kind, value, path = details["type"], details["input"], list(details["loc"])
    requirement = _REQUIREMENTS.get(kind, details["msg"].replace("Input should be", "must be"))
    if kind == "extra_forbidden":
        key = path.pop()
        requirement = f"unknown key {key!r}; the keys are {', '.join(_fields(_model_at(model, path)))}"
    elif kind == "value_error":
        requirement = str(details["ctx"]["error"])
    elif kind not in ("missing", "invalid_key"):
        requirement = f"{requirement}, not {value!r}"
    location = _format_path(path)
    return f"{location}: {requirement}" if location else requirement


def _fields(model: type[BaseModel]) -> Json:
    """Return the keys of a mapping with the types of their values."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model_at(model: type[BaseModel], path: Sequence[int | str]) -> type[BaseModel]:
    """Return the model of the mapping at a path of a file."""
    annotation: Any = model
    for key in path:
        # The last type argument of list[Item] and of dict[str, Item] is the type of the items.
        arguments = get_args(annotation)
        annotation = arguments[-1] if arguments else _fields(annotation)[str(key)]
    return cast("type[BaseModel]", annotation)


def _format_path(keys: Sequence[int | str]) -> str:
    """Return the keys as `schedules[0].cron`. pydantic marks an invalid key of a mapping with `[key]`."""
    names = [f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys if key != "[key]"]
    return "".join(names).removeprefix(".")
