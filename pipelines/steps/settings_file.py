"""The file with step settings: the values that differ from the defaults.

all:                                  # every step
  node_selector: {pool: batch}
train:                                # one step
  memory: 8Gi
  tolerations: [{key: dedicated, value: training, effect: NoSchedule}]
pipeline:                             # the run as a whole
  keep_failure: 1209600
workloads:                            # one workload: `all` and steps for this workload only
  mnist:
    train: {nodes: 2}

Later sections override earlier ones. Mappings are merged key by key, lists are replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from continuous_training.core.errors import UserError
from pipelines.steps.defaults import STEPS, defaults_of
from pipelines.steps.settings import PipelineSettings, StepSettings, Toleration
from workloads import discovery
from workloads.contract import Workload

Section = Mapping[str, Any]
SettingsType = TypeVar("SettingsType", StepSettings, PipelineSettings)

TRAIN_ONLY_KEYS = ("nodes", "training_runtime")
"""Settings that only the step train has."""


@dataclass(frozen=True)
class Steps:
    """The settings of all steps of all workloads: the defaults and the changes of a file (`content`)."""

    content: Section = field(default_factory=dict)
    origin: str = "the defaults"

    def of(self, workload: Workload, step: str) -> StepSettings:
        """Return the settings of a step for a workload. Raises UserError for an invalid combination."""
        settings, location = defaults_of(workload, step), self.origin
        for location, section in self._sections(workload, step):
            settings = _override(settings, section, location)
        if settings.nodes > 1 and not workload.distributed:
            raise UserError(
                f"{location}: {workload.name} trains on one node, not on {settings.nodes}, because its code "
                "does not support several nodes. Set nodes only for a workload with `distributed = True`, "
                "in the section workloads"
            )
        return settings

    def pipeline(self, workload: Workload) -> PipelineSettings:
        """Return the settings of the whole pipeline."""
        settings = PipelineSettings()
        for location, content in self._contents(workload):
            if "pipeline" in content:
                settings = _override(settings, content["pipeline"], f"{location}, pipeline")
        return settings

    def max_duration(self, workload: Workload) -> int:
        """Return the longest possible duration of a run in seconds."""
        return sum(self.of(workload, step).max_duration for step in STEPS)

    def _sections(self, workload: Workload, step: str) -> Iterator[tuple[str, Section]]:
        for location, content in self._contents(workload):
            for name in ("all", step):
                if name in content:
                    yield f"{location}, {name}", content[name]

    def _contents(self, workload: Workload) -> Iterator[tuple[str, Section]]:
        yield self.origin, self.content
        workload_content = self.content.get("workloads", {}).get(workload.name)
        if workload_content:
            yield f"{self.origin}, workloads, {workload.name}", workload_content


DEFAULTS = Steps()


def read_steps(path: Path) -> Steps:
    """Return the settings of a file. Raises UserError that names the section and the key of a mistake."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist: python -m pipelines.steps prints the defaults as a file"
        ) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from None
    steps = Steps({} if content is None else content, str(path))
    _validate(steps.content, str(path), ("workloads",))
    for name, workload_content in steps.content.get("workloads", {}).items():
        if name not in discovery.names():
            names = ", ".join(discovery.names())
            raise UserError(f"{path}, workloads: unknown workload {name!r}; the workloads are {names}")
        _validate(workload_content, f"{path}, workloads, {name}", ())
    return steps


def add_steps_argument(parser: argparse._ActionsContainer) -> None:
    """Add --steps."""
    parser.add_argument(
        "--steps", type=Path, metavar="FILE", help="YAML file with settings of the steps; see docs/steps.md"
    )


def steps_from_arguments(arguments: argparse.Namespace) -> Steps:
    """Return the settings that --steps selects. Raises UserError for an invalid file."""
    return read_steps(arguments.steps) if arguments.steps else DEFAULTS


def _validate(content: Any, location: str, additional_sections: tuple[str, ...]) -> None:
    """Raise UserError for an unknown section or key, independent of the compiled workload."""
    allowed = ("all", *STEPS, "pipeline", *additional_sections)
    for name, section in _to_mapping(content, location).items():
        if name not in allowed:
            raise UserError(f"{location}: unknown section {name!r}; the sections are {', '.join(allowed)}")
        values = _to_mapping(section, f"{location}, {name}")
        if name == "pipeline":
            _override(PipelineSettings(), values, f"{location}, {name}")
        elif name != "workloads":
            train_only = [key for key in TRAIN_ONLY_KEYS if key in values]
            if train_only and name != "train":
                raise UserError(f"{location}, {name}: {train_only[0]} is a setting of the step train only")
            _convert_section(StepSettings, values, f"{location}, {name}")


def _override(settings: SettingsType, section: Section, location: str) -> SettingsType:
    """Return the settings with the values of a section."""
    settings_class = type(settings)
    values = _convert_section(settings_class, section, location)
    previous = {item.name: getattr(settings, item.name) for item in fields(settings_class)}
    merged = {
        name: {**previous[name], **value} if isinstance(value, dict) else value
        for name, value in values.items()
    }
    try:
        return settings_class(**(previous | merged))
    except UserError as error:
        raise UserError(f"{location}: {error}") from None


def _convert_section(settings_class: type, section: Section, location: str) -> dict[str, Any]:
    """Return the values of a section with the types of the dataclass."""
    allowed = {item.name: item for item in fields(settings_class)}
    values = {}
    for key, value in section.items():
        if key not in allowed:
            raise UserError(f"{location}: unknown key {key!r}; the keys are {', '.join(allowed)}")
        try:
            values[key] = _convert(str(allowed[key].type), value)
        except UserError as error:
            raise UserError(f"{location}, {key}: {error}") from None
    return values


def _convert(annotation: str, value: Any) -> Any:
    """Return a YAML value as the type of a field. Raises UserError for a value of another type."""
    if annotation.startswith("int"):
        if value is None and annotation.endswith("None"):
            return None
        if type(value) is not int:
            raise UserError(f"{value!r} is not an integer")
        return value
    if annotation == "str":
        return _to_text(value)
    if annotation.startswith("Mapping"):
        return {_to_text(name): _to_text(item) for name, item in _to_mapping(value, "").items()}
    if not isinstance(value, list):
        raise UserError(f"{value!r} is not a list")
    if "Toleration" in annotation:
        return tuple(_to_toleration(item) for item in value)
    return tuple(_to_text(item) for item in value)


def _to_toleration(value: Any) -> Toleration:
    return Toleration(**_convert_section(Toleration, _to_mapping(value, ""), "a toleration"))


def _to_text(value: Any) -> str:
    # YAML reads `cpu: 2` as a number, which is intended, and `gpu: yes` as a boolean, which is not.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{value!r} is not a string: put it in quotes")
    return str(value)


def _to_mapping(value: Any, location: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        prefix = f"{location}: " if location else ""
        raise UserError(f"{prefix}{value!r} is not a mapping of keys to values")
    return value
