"""Store the archive of a transferred version in the target, and register it there."""

from __future__ import annotations

from components.archive.registration import register_version
from components.run_context import RunContext
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.model_store import Pointer
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.stored_archive import archive_problem, put_archive
from continuous_training.artifacts.archive_writer import read_manifest
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.core.errors import TransientError
from continuous_training.core.progress import Progress
from continuous_training.operations.approvals import APPROVAL_TAG
from continuous_training.operations.lineage import PRUNED, read_metadata
from continuous_training.operations.read_evaluation import EVALUATION_RUN

from .source_version import SourceVersion

TRANSFERRED_FROM, TRANSFERRED_VERSION = "transferred_from", "transferred_version"
"""The tags of a transferred version: the source environment, and the version's number there."""

_OF_SOURCE = (PRUNED, EVALUATION_RUN, APPROVAL_TAG)
"""The tags that are not copied."""


def copy_archive(source: SourceVersion, store: ObjectStore, progress: Progress) -> None:
    """Store the archive in the target, and verify the stored bytes. An intact archive is not written again.

    Raises TransientError if the stored bytes differ.
    """
    version = source.version
    key = Pointer(version.name, version.digest).key
    progress(f"copying {key}, {source.archive.stat().st_size / 1e3:,.0f} kB")
    put_archive(store, key, source.archive, version.digest, progress)
    if problem := archive_problem(store, key, version.digest):
        raise TransientError(f"the copy of {key} {problem}: run the same command again")


def register_in_target(context: RunContext, source: SourceVersion, evaluation: Evaluation) -> ModelVersion:
    """Return the version of the archive in the target's registry, with the tags of the source.

    A version that an earlier transfer registered gets the tags of this one.
    """
    version, registry = source.version, context.registry
    own = {
        "archive_key": Pointer(version.name, version.digest).key,
        "pipeline_run": context.run_id,
        TRANSFERRED_FROM: source.environment,
        TRANSFERRED_VERSION: version.version,
    }
    tags = {key: value for key, value in version.tags.items() if key not in _OF_SOURCE} | own
    signature, golden = read_metadata(source.archive).signature, read_manifest(source.archive).golden
    registered = register_version(registry, version.name, context.run_id, signature, golden, tags)
    if registered.tags.get("pipeline_run") != context.run_id and TRANSFERRED_FROM in registered.tags:
        _update(registry, registered, {**own, EVALUATION_RUN: evaluation.registry.run})
    return registered


def _update(registry: Registry, version: ModelVersion, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        registry.tag(version, key, value)
