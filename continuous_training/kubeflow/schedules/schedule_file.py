"""The file of schedules: what runs when, checked before anything is changed on a server.

schedules:
  - name: digits-nightly
    workload: digits
    cron: "30 2 * * *"          # five fields, or six with the seconds in front
    timezone: Europe/Berlin     # default: UTC
    parameters: {max_iter: 10}  # as with pipelines.run --set; default: the workload's own
    paused: false
    catchup: false              # whether missed times are made up for
    max_concurrency: 1          # 1 to 10: how many of its runs go on at once
    service_account: NAME       # default: continuous-training; "" for the server's own
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from continuous_training.core.errors import UserError
from continuous_training.core.parameters import Value
from continuous_training.kubeflow.object_names import STEPS_ACCOUNT
from continuous_training.kubeflow.schedules.cron import Cron

DEFAULT_FILE = Path("schedules.yaml")


@dataclass(frozen=True)
class Schedule:
    """One schedule; see the module's text."""

    name: str
    workload: str
    cron: Cron
    parameters: dict[str, Value] = field(default_factory=dict)
    paused: bool = False
    catchup: bool = False
    max_concurrency: int = 1
    service_account: str = STEPS_ACCOUNT

    def account(self) -> dict[str, str]:
        """Return what the request for a run says of the service account."""
        return {"service_account": self.service_account} if self.service_account else {}


_KINDS: dict[str, type] = {
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


ParseParameters = Callable[[str, Mapping[str, Any]], Mapping[str, Value]]
"""Returns all run parameters of the named workload. Raises UserError for an unknown workload or parameter."""


def read_schedules(path: Path, parse: ParseParameters) -> list[Schedule]:
    """Return the schedules of a file; UserError with the entry and the key for what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}; docs/kubeflow.md shows one, and --file names another") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from None
    entries = content.get("schedules") if isinstance(content, dict) else None
    if not isinstance(entries, list) or set(content) != {"schedules"}:
        raise UserError(f"{path}: holds one key, schedules, with a list")
    found = [_schedule(entry, f"{path}, schedule {number}", parse) for number, entry in enumerate(entries, 1)]
    names = [schedule.name for schedule in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path}: the name {name} is there twice; the server would run both")
    return found


def _schedule(entry: Any, where: str, parse: ParseParameters) -> Schedule:
    if not isinstance(entry, dict):
        raise UserError(f"{where}: is no mapping of name, workload and cron")
    for key in ("name", "workload", "cron"):
        if key not in entry:
            raise UserError(f"{where}: has no {key}")
    where = f"{where} ({entry['name']})"
    for key, value in entry.items():
        if key not in _KINDS:
            raise UserError(f"{where}: there is no key {key!r}; the keys are {', '.join(_KINDS)}")
        if type(value) is not _KINDS[key]:
            raise UserError(f"{where}, {key}: {value!r} is no {_KINDS[key].__name__}")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?", entry["name"]):
        raise UserError(f"{where}: a name has small letters, digits and '-' between them, 62 at most")
    if not 1 <= entry.get("max_concurrency", 1) <= 10:
        raise UserError(f"{where}, max_concurrency: {entry['max_concurrency']} is not from 1 to 10")
    try:
        given = entry.get("parameters", {})
        values = parse(entry["workload"], given)
        if given.get("as_of"):
            raise UserError("parameter as_of: a schedule's runs take their own time; see backfill")
        cron = Cron.parse(entry["cron"], entry.get("timezone", "UTC"))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    known = {spec.name for spec in fields(Schedule)} & set(entry)
    return Schedule(
        **{key: entry[key] for key in known - {"cron", "parameters"}},
        cron=cron,
        parameters={name: values[name] for name in given},
    )
