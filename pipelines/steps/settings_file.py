"""The file of step settings: what differs from the defaults.

all:                                  # every step
  node_selector: {pool: batch}
train:                                # one step
  memory: 8Gi
  tolerations: [{key: dedicated, value: training, effect: NoSchedule}]
pipeline:                             # the run as a whole
  keep_failure: 1209600
workloads:                            # one workload; its own `all` and steps
  mnist:
    train: {nodes: 2}

What stands further down goes before what stands above. Mappings are joined key by key, lists replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from continuous_training.core.errors import UserError
from pipelines.steps.defaults import STEPS, defaults_of
from pipelines.steps.settings import PipelineSettings, StepSettings, Toleration
from workloads import discovery
from workloads.contract import Workload

Section = Mapping[str, Any]

_TRAIN_ALONE = ("nodes", "training_runtime")


@dataclass(frozen=True)
class Steps:
    """The settings of every step of every workload: the defaults, and what a file changed."""

    content: Section = field(default_factory=dict)
    origin: str = "the defaults"

    def of(self, workload: Workload, step: str) -> StepSettings:
        """Return a step's settings for a workload; UserError for a combination that cannot be."""
        found, where = defaults_of(workload, step), self.origin
        for place, section in self._sections(workload, step):
            where = place
            found = _changed(found, section, place)
        if found.nodes > 1 and not workload.distributed:
            raise UserError(
                f"{where}: {workload.name} trains on one node, not on {found.nodes}: its code "
                "knows nothing of others. Set nodes for a workload with `distributed = True`, "
                "in the section workloads"
            )
        return found

    def pipeline(self, workload: Workload) -> PipelineSettings:
        """Return the settings of the whole pipeline."""
        found = PipelineSettings()
        for place, content in self._contents(workload):
            if "pipeline" in content:
                found = _changed(found, content["pipeline"], f"{place}, pipeline")
        return found

    def longest(self, workload: Workload) -> int:
        """Seconds that a run may take at most."""
        return sum(self.of(workload, step).longest for step in STEPS)

    def _sections(self, workload: Workload, step: str) -> Iterator[tuple[str, Section]]:
        for place, content in self._contents(workload):
            for name in ("all", step):
                if name in content:
                    yield f"{place}, {name}", content[name]

    def _contents(self, workload: Workload) -> Iterator[tuple[str, Section]]:
        yield self.origin, self.content
        own = self.content.get("workloads", {}).get(workload.name)
        if own:
            yield f"{self.origin}, workloads, {workload.name}", own


DEFAULTS = Steps()


def read_steps(path: Path) -> Steps:
    """Return the settings of a file; UserError with the section and the key for what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no {path}; python -m pipelines.steps prints the defaults as one") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from None
    steps = Steps({} if content is None else content, str(path))
    _check(steps.content, str(path), ("workloads",))
    for name, own in steps.content.get("workloads", {}).items():
        if name not in discovery.names():
            known = ", ".join(discovery.names())
            raise UserError(f"{path}, workloads: there is no workload {name!r}; registered are: {known}")
        _check(own, f"{path}, workloads, {name}", ())
    return steps


def add_steps_argument(parser: argparse._ActionsContainer) -> None:
    """Add --steps."""
    parser.add_argument(
        "--steps", type=Path, metavar="FILE", help="YAML that changes how steps run; docs/steps.md"
    )


def steps_of(arguments: argparse.Namespace) -> Steps:
    """Return the settings that the arguments name; UserError for a file that is none."""
    return read_steps(arguments.steps) if arguments.steps else DEFAULTS


def _check(content: Any, where: str, more: tuple[str, ...]) -> None:
    """UserError for a section or a key that is none, whichever workload is compiled."""
    known = ("all", *STEPS, "pipeline", *more)
    for name, section in _mapping(content, where).items():
        if name not in known:
            raise UserError(f"{where}: there is no section {name!r}; the sections are {', '.join(known)}")
        keys = _mapping(section, f"{where}, {name}")
        if name == "pipeline":
            _changed(PipelineSettings(), keys, f"{where}, {name}")
        elif name != "workloads":
            alone = [key for key in _TRAIN_ALONE if key in keys]
            if alone and name != "train":
                raise UserError(f"{where}, {name}: {alone[0]} is a setting of train alone")
            _typed(StepSettings, keys, f"{where}, {name}")


def _changed(settings: Any, section: Section, where: str) -> Any:
    """Return the settings with what a section says."""
    kind = type(settings)
    given = _typed(kind, section, where)
    before = {item.name: getattr(settings, item.name) for item in fields(kind)}
    joined = {
        name: {**before[name], **value} if isinstance(value, dict) else value for name, value in given.items()
    }
    try:
        return kind(**(before | joined))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _typed(kind: type, section: Section, where: str) -> dict[str, Any]:
    """Return a section's values in the types of the dataclass `kind`."""
    known = {item.name: item for item in fields(kind)}
    found = {}
    for key, value in section.items():
        if key not in known:
            raise UserError(f"{where}: there is no key {key!r}; the keys are {', '.join(known)}")
        try:
            found[key] = _value(str(known[key].type), value)
        except UserError as error:
            raise UserError(f"{where}, {key}: {error}") from None
    return found


def _value(kind: str, value: Any) -> Any:
    """Return a YAML value as a field of the type `kind` holds it; UserError for another."""
    if kind.startswith("int"):
        if value is None and kind.endswith("None"):
            return None
        if type(value) is not int:
            raise UserError(f"{value!r} is no whole number")
        return value
    if kind == "str":
        return _text(value)
    if kind.startswith("Mapping"):
        return {_text(name): _text(each) for name, each in _mapping(value, "").items()}
    if not isinstance(value, list):
        raise UserError(f"{value!r} is no list")
    if "Toleration" in kind:
        return tuple(Toleration(**_typed(Toleration, _mapping(each, ""), "a toleration")) for each in value)
    return tuple(_text(each) for each in value)


def _text(value: Any) -> str:
    # YAML reads `cpu: 2` as a number, which is meant so, and `gpu: yes` as a truth, which is not.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UserError(f"{value!r} is no text: put it between quotes")
    return str(value)


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"{where + ': ' if where else ''}{value!r} is no mapping of keys to values")
    return value
