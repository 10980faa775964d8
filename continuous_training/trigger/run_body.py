"""The JSON body of a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import abbreviate, decode

MAX_KEY = 200
MAX_REASON = 500
MAX_VERSION = 200
_TEXT_FIELDS = {
    "reason": MAX_REASON,
    "key": MAX_KEY,
    "version": MAX_VERSION,
    "champion": MAX_VERSION,
    "workload": MAX_KEY,
}
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class RunBody:
    """The fields of a request.

    `parameters` are not checked yet. `key` is the idempotency key, and `version` the version of the pipeline;
    empty for none and for the current version. Only `/train` reads `workload`. In a rollback, `version` is
    that of the model, and `champion` the version that must be the champion.
    """

    parameters: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    key: str = ""
    version: str = ""
    workload: str = ""
    champion: str = ""

    @classmethod
    def parse(cls, body: bytes, fields: tuple[str, ...]) -> RunBody:
        """Read the JSON object of a body, which may be empty. `fields` are the fields that it may have.

        Raises RequestError for another value, an unknown field or a field of another type.
        """
        content = decode(body) if body.strip() else {}
        if not isinstance(content, dict):
            raise RequestError(f"the body is {abbreviate(content)}; send a JSON object")
        unknown = sorted(content.keys() - set(fields))
        if unknown:
            raise RequestError(f"unknown field {abbreviate(unknown[0])}; the fields are {', '.join(fields)}")
        parameters = content.pop("parameters", {})
        if not isinstance(parameters, dict):
            raise RequestError('"parameters" must be a JSON object of run parameters')
        return cls(parameters, **{name: _text(name, value) for name, value in content.items()})


def _text(name: str, value: object) -> str:
    limit = _TEXT_FIELDS[name]
    if not isinstance(value, str) or len(value) > limit or _CONTROL_CHARACTER.search(value):
        raise RequestError(f'"{name}" must be a text of up to {limit} characters on one line')
    return value
