"""The sources of events, from the file of `--events`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject
from continuous_training.core.run_parameters import Value
from continuous_training.serving.errors import RequestError
from continuous_training.trigger.pipeline_parameters import TriggerPipeline

CLOUDEVENTS, BUCKET, GITHUB, MLFLOW, SLACK = "cloudevents", "s3", "github", "mlflow", "slack"
FILTERS = {
    CLOUDEVENTS: {"event_types"},
    BUCKET: {"bucket", "prefix", "suffix"},
    GITHUB: {"repository", "ref", "paths"},
    MLFLOW: {"event_types"},
    SLACK: {"users", "approvers", "operators", "response_url"},
}
"""The types of sources, and the filters of each type."""

SIGNED = (GITHUB, MLFLOW, SLACK)
"""The types whose requests are signed with a secret. The others send the token of a caller."""

_COMMON = {"type", "workload", "parameters", "debounce", "secret_file"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class EventSource:
    """A source of events that starts runs of one workload with fixed parameters.

    After an event, the run starts when no further event has arrived for `debounce` seconds; 0: immediately.
    `filters` select the events. `secret_file` has the secrets of the signatures, one per line.
    """

    name: str
    type: str
    workload: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    debounce: float = 0
    secret_file: Path | None = None
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def allowed(self, name: str) -> tuple[str, ...]:
        """Return the values of a filter; empty: all are accepted."""
        return self.filters.get(name, ())

    def secrets(self) -> list[bytes]:
        """Read the secrets. The file is read for each request, so that they can be rotated."""
        if self.secret_file is None:
            return []
        try:
            lines = self.secret_file.read_bytes().splitlines()
        except OSError as error:
            raise UserError(f"the secret of the events {self.name} cannot be read: {error}") from None
        return [line.strip() for line in lines if line.strip()]


def read_event_sources(path: Path, pipelines: Mapping[str, TriggerPipeline]) -> dict[str, EventSource]:
    """Read the file. Raises UserError that names the invalid field."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no file {path}; docs/trigger.md describes it") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
    events = JsonObject(content, str(path)).nested("events")
    return {str(name): _source(str(name), events.nested(name), pipelines) for name in events.value}


def _source(name: str, document: JsonObject, pipelines: Mapping[str, TriggerPipeline]) -> EventSource:
    location = f"{document.document}: events.{name}"
    kind, workload = document.text("type"), document.text("workload")
    if not _NAME.fullmatch(name) or kind not in FILTERS:
        raise UserError(f"{location}: use a name of a-z, 0-9 and '-', and a type of {', '.join(FILTERS)}")
    if unknown := set(map(str, document.value)) - _COMMON - FILTERS[kind]:
        raise UserError(f"{location}: there is no field {min(unknown)!r} for the type {kind}")
    if workload not in pipelines:
        raise UserError(f"{location}: there is no workload {workload!r}; there are {', '.join(pipelines)}")
    try:
        parameters = pipelines[workload].check(document.mapping("parameters", {}))
    except RequestError as error:
        raise UserError(f"{location}: {error}") from None
    if parameters.get("accept"):
        raise UserError(f"{location}: an event cannot set the parameter accept; only a person can")
    debounce = document.optional_number("debounce") or 0
    if not 0 <= debounce <= 86400:
        raise UserError(f"{location}: debounce must be from 0 to 86400 seconds")
    if debounce and kind == SLACK:
        raise UserError(
            f"{location}: a source of the type {kind} has no debounce: a user waits for the response"
        )
    secret = document.optional_text("secret_file")
    if (kind in SIGNED) != (secret is not None):
        expected = "needs" if kind in SIGNED else "has no"
        raise UserError(f"{location}: a source of the type {kind} {expected} secret_file")
    source = EventSource(
        name, kind, workload, parameters, debounce, Path(secret) if secret else None, _filters(document, kind)
    )
    if kind in SIGNED and not source.secrets():
        raise UserError(f"{location}: {secret} is empty")
    return source


def _filters(document: JsonObject, kind: str) -> dict[str, tuple[str, ...]]:
    """Read the filters. A text is a list with one item."""
    filters = {}
    for name in sorted(FILTERS[kind] & set(document.value)):
        value = document.value[name]
        filters[name] = (value,) if isinstance(value, str) else document.text_list(name)
    return filters
