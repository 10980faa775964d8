"""The schedule file: which workload runs at which times. docs/kubeflow.md shows an example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Value
from continuous_training.kubeflow.config_file import ConfigModel, Text, read_config
from continuous_training.kubeflow.object_names import STEPS_ACCOUNT
from continuous_training.kubeflow.schedules.cron import Cron

DEFAULT_FILE = Path("schedules.yaml")

Name = Annotated[
    str,
    Text(
        r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?",
        "a name: at most 62 lower-case letters, digits, and '-' between them",
    ),
]


class Schedule(ConfigModel):
    """One schedule of the file."""

    name: Name
    """The name of the recurring run on the server."""
    workload: str
    """The workload whose pipeline runs."""
    expression: str = Field(alias="cron")
    """Five fields (minute hour day month weekday), or six that begin with the second."""
    timezone: str = "UTC"
    """The time zone of the cron expression: Europe/Berlin."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Run parameters, as with pipelines.run --set. Default: the workload's."""
    paused: bool = False
    """Whether the schedule starts no runs."""
    catchup: bool = False
    """Whether the server starts runs for missed times."""
    max_concurrency: Annotated[int, Field(ge=1, le=10)] = 1
    """How many runs of the schedule may be active at once."""
    service_account: str = STEPS_ACCOUNT
    """The service account of the runs; "" for the default of the server."""

    @model_validator(mode="after")
    def _check_times(self) -> Schedule:
        _ = self.cron
        if self.parameters.get("as_of"):
            raise UserError(
                "parameter as_of cannot be set: the runs of a schedule use their own time. "
                "See pipelines.schedule backfill"
            )
        if self.parameters.get("accept"):
            raise UserError(
                "parameter accept cannot be set: a person accepts data or a challenger in one run. Use "
                "pipelines.run --set accept=REASON"
            )
        return self

    @property
    def cron(self) -> Cron:
        """The times of the schedule."""
        return Cron.parse(self.expression, self.timezone)


class SchedulesFile(ConfigModel):
    """The content of a schedule file."""

    schedules: list[Schedule]
    """The schedules of a server."""

    @model_validator(mode="after")
    def _check_names(self) -> SchedulesFile:
        names = [schedule.name for schedule in self.schedules]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"the name {name} is used twice, and the server would run both schedules")
        return self


ParseParameters = Callable[[str, Mapping[str, object]], Mapping[str, Value]]
"""Returns all run parameters of the named workload. Raises UserError for an unknown workload or parameter."""


def read_schedules(path: Path, parse: ParseParameters) -> list[Schedule]:
    """Return the schedules of a file. Raises UserError that names the entry and the key of each mistake."""
    content = read_config(
        path, SchedulesFile, "docs/kubeflow.md shows an example; pass --file for another path"
    )
    return [
        _parse_parameters(schedule, parse, f"{path}: schedules[{index}]")
        for index, schedule in enumerate(content.schedules)
    ]


def _parse_parameters(schedule: Schedule, parse: ParseParameters, location: str) -> Schedule:
    """Return the schedule with the parameters as the types that the workload declares."""
    try:
        values = parse(schedule.workload, schedule.parameters)
    except UserError as error:
        raise UserError(f"{location} ({schedule.name}): {error}") from None
    return schedule.model_copy(update={"parameters": {name: values[name] for name in schedule.parameters}})
