"""The version to transfer: its registry entry, its evaluation, and a verified copy of its archive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.operations.read_evaluation import read_evaluation
from continuous_training.operations.workspace import existing_registry, next_command

from .environment import Environment


@dataclass(frozen=True)
class SourceVersion:
    """A version of the source environment, and a file with its archive, which has the registered digest.

    `evaluation` is None if the registry does not have it.
    """

    environment: str
    version: ModelVersion
    archive: Path
    evaluation: Evaluation | None

    def __str__(self) -> str:
        version = self.version
        return f"version {version.version} ({version.digest[:12]}) of {self.environment}"


def read_source(name: str, number: str | None, source: Environment, folder: Path) -> SourceVersion:
    """Return the champion of the source, or version `number`. Its archive may be downloaded to `folder`.

    Raises UserError if there is no such version, or if its archive is missing or altered.
    """
    with source.errors("read the version"), existing_registry(source.settings) as registry:
        if registry is None:
            raise UserError(f"there is no registry: no version of {name} was promoted here")
        version = _select(registry, name, number)
        archive = _fetch(version, source, folder)
        return SourceVersion(source.name, version, archive, read_evaluation(version, registry))


def _select(registry: Registry, name: str, number: str | None) -> ModelVersion:
    if number is None:
        if champion := registry.champion(name):
            return champion
        raise UserError(f"{name} has no champion; pass a version with --version")
    versions = {version.version: version for version in registry.versions(name)}
    if number not in versions:
        raise UserError(f"{name} has no version {number!r}; registered are: {', '.join(versions) or 'none'}")
    return versions[number]


def _fetch(version: ModelVersion, source: Environment, folder: Path) -> Path:
    store = open_store(source.settings.store, source.settings.store_access)
    problem = "is missing"
    if store.size(version.archive) is not None:
        archive = store.fetch(version.archive, folder)
        if digest_file(archive) == version.digest:
            return archive
        problem = "was altered: its sha256 differs from the registered one"
    command = next_command(
        "pipelines.rollback", source.settings, "--workload", version.name, "--to", version.version
    )
    raise UserError(
        f"the archive of version {version.version} of {version.name}, {version.archive} in "
        f"{source.settings.store}, {problem}. Pass another version with --version, or restore the archive in "
        f"the source environment. If an endpoint there still has a copy, this command restores it:\n{command}"
    )
