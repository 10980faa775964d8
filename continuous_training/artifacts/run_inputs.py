"""The inputs that decide the result of a run, and their changes since another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from continuous_training.core.digest import digest_of
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a run. Their digest is the input digest.

    `fingerprint` identifies the rows. `rule` has the fields of the promotion rule that are not at their
    defaults. `modules` are the sha256 of the workload's Python files and of the modules under `workloads`
    that it imports, by path. `packages` are the locked versions that the train step installs, by name; empty
    if they are not known. `training_version` is TRAINING_VERSION.
    """

    workload: str
    fingerprint: str
    parameters: Mapping[str, Value]
    rule: Json
    modules: Mapping[str, str]
    packages: Mapping[str, str]
    training_version: int

    @property
    def digest(self) -> str:
        """The input digest."""
        return digest_of(self.to_json())

    @property
    def environment(self) -> str:
        """The digest of modules and packages."""
        return digest_of([self.modules, self.packages])

    @classmethod
    def from_json(cls, document: JsonObject) -> RunInputs:
        """Read inputs. Raises the document's error for a missing or damaged field."""
        return cls(
            workload=document.text("workload"),
            fingerprint=document.text("fingerprint"),
            parameters=document.scalars("parameters"),
            rule=document.mapping("rule"),
            modules=document.texts("modules"),
            packages=document.texts("packages"),
            training_version=document.integer("training_version"),
        )

    def to_json(self) -> Json:
        """Return the stored fields."""
        return asdict(self)

    def changes_since(self, previous: RunInputs) -> tuple[str, ...]:
        """Return one line for each kind of input that has changed since another run."""
        versions = (
            {"training version": previous.training_version},
            {"training version": self.training_version},
        )
        changes = {
            "parameters": _changed_values(previous.parameters, self.parameters),
            "promotion rule": _changed_values(previous.rule, self.rule),
            "code": _changed_files(previous.modules, self.modules),
            "packages": _changed_values(previous.packages, self.packages),
            "library": _changed_values(*versions),
        }
        data = ("data: the rows changed",) if previous.fingerprint != self.fingerprint else ()
        return data + tuple(f"{kind}: {', '.join(changed)}" for kind, changed in changes.items() if changed)


def _changed_values(previous: Mapping[str, object], current: Mapping[str, object]) -> list[str]:
    """Return `NAME PREVIOUS → CURRENT` for each value that differs."""
    names = sorted(previous.keys() | current.keys())
    pairs = ((name, previous.get(name, "none"), current.get(name, "none")) for name in names)
    return [f"{name} {before} → {after}" for name, before, after in pairs if before != after]


def _changed_files(previous: Mapping[str, str], current: Mapping[str, str]) -> list[str]:
    """Return the path of each file that differs, and whether it is new or no longer used."""
    marks = dict.fromkeys(current.keys() - previous.keys(), " (new)")
    marks |= dict.fromkeys(previous.keys() - current.keys(), " (no longer used)")
    marks |= {path: "" for path in current.keys() & previous.keys() if current[path] != previous[path]}
    return [f"{path}{mark}" for path, mark in sorted(marks.items())]
