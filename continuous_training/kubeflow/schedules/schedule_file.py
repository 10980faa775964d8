"""The schedule file: which workload runs at which times. It is validated before a server is changed.

schedules:
  - name: digits-nightly
    workload: digits
    cron: "30 2 * * *"          # five fields, or six that begin with the second
    timezone: Europe/Berlin     # default: UTC
    parameters: {max_iter: 10}  # like pipelines.run --set; default: the defaults of the workload
    paused: false
    catchup: false              # whether the server starts runs for missed times
    max_concurrency: 1          # 1 to 10: how many of its runs may be active at once
    service_account: NAME       # default: continuous-training; "" for the default of the server
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Value
from continuous_training.kubeflow.object_names import STEPS_ACCOUNT
from continuous_training.kubeflow.schedules.cron import Cron

DEFAULT_FILE = Path("schedules.yaml")


@dataclass(frozen=True)
class Schedule:
    """One schedule of the file. See the module for its keys."""

    name: str
    workload: str
    cron: Cron
    parameters: dict[str, Value] = field(default_factory=dict)
    paused: bool = False
    catchup: bool = False
    max_concurrency: int = 1
    service_account: str = STEPS_ACCOUNT


_TYPES: dict[str, type] = {
    "name": str,
    "workload": str,
    "cron": str,
    "timezone": str,
    "parameters": dict,
    "paused": bool,
    "catchup": bool,
    "max_concurrency": int,
    "service_account": str,
}
_REQUIRED = ("name", "workload", "cron")

ParseParameters = Callable[[str, Mapping[str, Any]], Mapping[str, Value]]
"""Returns all run parameters of the named workload. Raises UserError for an unknown workload or parameter."""


def read_schedules(path: Path, parse: ParseParameters) -> list[Schedule]:
    """Return the schedules of a file. Raises UserError that names the entry and the key of a mistake."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: docs/kubeflow.md shows an example; pass --file for another path"
        ) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from None
    entries = content.get("schedules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"schedules"}:
        raise UserError(f"{path}: the file must contain exactly one key, schedules, with a list")
    schedules = [
        _parse(entry, f"{path}, schedule {number}", parse) for number, entry in enumerate(entries, 1)
    ]
    names = [schedule.name for schedule in schedules]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: the name {name} is used twice, and the server would run both schedules")
    return schedules


def _parse(entry: Any, location: str, parse: ParseParameters) -> Schedule:
    if not isinstance(entry, dict):
        raise UserError(f"{location}: must be a mapping with name, workload and cron")
    for key in _REQUIRED:
        if key not in entry:
            raise UserError(f"{location}: the key {key} is missing")
    location = f"{location} ({entry['name']})"
    _validate(entry, location)
    try:
        assigned = entry.get("parameters", {})
        values = parse(entry["workload"], assigned)
        if assigned.get("as_of"):
            raise UserError(
                "parameter as_of cannot be set: the runs of a schedule use their own time. "
                "See pipelines.schedule backfill"
            )
        cron = Cron.parse(entry["cron"], entry.get("timezone", "UTC"))
    except UserError as error:
        raise UserError(f"{location}: {error}") from None
    optional = ("paused", "catchup", "max_concurrency", "service_account")
    return Schedule(
        name=entry["name"],
        workload=entry["workload"],
        cron=cron,
        parameters={name: values[name] for name in assigned},
        **{key: entry[key] for key in optional if key in entry},
    )


def _validate(entry: Mapping[str, Any], location: str) -> None:
    """Raise UserError for an unknown key, or for a value of the wrong type or outside its limits."""
    for key, value in entry.items():
        if key not in _TYPES:
            raise UserError(f"{location}: unknown key {key!r}; the keys are {', '.join(_TYPES)}")
        if type(value) is not _TYPES[key]:
            raise UserError(f"{location}, {key}: {value!r} is not of type {_TYPES[key].__name__}")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?", entry["name"]):
        raise UserError(
            f"{location}: a name has at most 62 characters: lower-case letters, digits, and '-' between them"
        )
    if not 1 <= entry.get("max_concurrency", 1) <= 10:
        raise UserError(f"{location}, max_concurrency: {entry['max_concurrency']} is not between 1 and 10")
