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

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ConfigDict, Field

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.config_file import ConfigModel, read_config, validate
from pipelines.steps.defaults import STEPS, defaults_of
from pipelines.steps.settings import (
    PipelineSettings,
    StepSection,
    StepSettings,
    TrainSection,
    remove_defaults,
)
from workloads import discovery
from workloads.contract import Workload

SettingsType = TypeVar("SettingsType", StepSettings, PipelineSettings)


class Sections(ConfigModel):
    """The sections for every step, for one step, and for the run as a whole."""

    model_config = ConfigDict(
        alias_generator=lambda name: name.replace("_", "-"), json_schema_extra=remove_defaults
    )

    all: StepSection = StepSection()
    """Settings of every step."""
    prep_data: StepSection = StepSection()
    train: TrainSection = TrainSection()
    evaluate: StepSection = StepSection()
    archive: StepSection = StepSection()
    deploy_serving: StepSection = StepSection()
    notify: StepSection = StepSection()
    pipeline: PipelineSettings = PipelineSettings()
    """Settings of the run as a whole."""

    def of(self, step: str) -> StepSection:
        """Return the section of a step."""
        section: StepSection = getattr(self, step.replace("-", "_"))
        return section


def _check_workload(name: str) -> str:
    if name not in discovery.names():
        raise UserError(f"unknown workload; the workloads are {', '.join(discovery.names())}")
    return name


class StepsFile(Sections):
    """The content of a settings file."""

    workloads: dict[Annotated[str, AfterValidator(_check_workload)], Sections] = Field(default_factory=dict)
    """Sections for one workload only."""


@dataclass(frozen=True)
class Steps:
    """The settings of all steps of all workloads: the defaults and the changes of a file (`content`)."""

    content: StepsFile = field(default_factory=StepsFile)
    origin: str = "the defaults"

    def of(self, workload: Workload, step: str) -> StepSettings:
        """Return the settings of a step for a workload. Raises UserError for an invalid combination."""
        settings, location = defaults_of(workload, step), self.origin
        for parent, sections in self._sections(workload):
            for name, section in (("all", sections.all), (step, sections.of(step))):
                if section.model_fields_set:
                    location = f"{parent}{name}"
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
        for parent, sections in self._sections(workload):
            settings = _override(settings, sections.pipeline, f"{parent}pipeline")
        return settings

    def max_duration(self, workload: Workload) -> int:
        """Return the longest possible duration of a run in seconds."""
        return sum(self.of(workload, step).max_duration for step in STEPS)

    def _sections(self, workload: Workload) -> Iterator[tuple[str, Sections]]:
        """Yield the sections that apply to a workload, each with the start of its location in the file."""
        yield f"{self.origin}: ", self.content
        if workload.name in self.content.workloads:
            yield f"{self.origin}: workloads.{workload.name}.", self.content.workloads[workload.name]


DEFAULTS = Steps()


def read_steps(path: Path) -> Steps:
    """Return the settings of a file. Raises UserError that names the section and the key of each mistake."""
    content = read_config(path, StepsFile, "python -m pipelines.steps prints the defaults as a file")
    return Steps(content, str(path))


def _override(settings: SettingsType, section: StepSection | PipelineSettings, location: str) -> SettingsType:
    """Return the settings with the values that a section of the file sets."""
    values = dict(settings)
    for name in section.model_fields_set:
        value = getattr(section, name)
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    return validate(type(settings), values, location)
