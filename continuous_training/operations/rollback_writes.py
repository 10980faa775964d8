"""The writes of a rollback: first the registry's aliases, then the records. Each can be repeated."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from continuous_training.adapters.model_registry import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    ROLLBACK,
    ModelVersion,
    Registry,
)
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.core.errors import PipelineError, TransientError


@dataclass(frozen=True)
class RollbackMetadata:
    """The reason of a rollback, its own run id and the user who started it. The registry records them."""

    reason: str
    run: str
    user: str


def restore_champion(
    registry: Registry,
    version: ModelVersion,
    expected: str | None,
    previous: str | None,
    metadata: RollbackMetadata,
    status_command: str,
) -> None:
    """Point `champion` at an earlier version, and `previous` at the champion before it.

    `expected` is the current champion, and `status_command` shows the served version. Raises TransientError
    if another version became champion meanwhile. The alias `champion` moves last: after an error it is
    unchanged, and so is `previous`, unless the registry is unreachable.
    """
    name, aliases = version.name, registry.aliases(version.name)
    if aliases.get(CHAMPION) not in (expected, version.version):
        champion = f"version {aliases[CHAMPION]}" if CHAMPION in aliases else "none"
        raise TransientError(
            f"the champion of {name} is now {champion}, and no longer {expected or 'none'}. Check the "
            f"served version, then try again:\n{status_command}"
        )
    try:
        _move_alias(registry, name, PREVIOUS, previous, metadata)
        _move_alias(registry, name, CHAMPION, version.version, metadata)
    except BaseException:
        with suppress(PipelineError):
            failed = replace(metadata, reason="the rollback failed")
            _move_alias(registry, name, PREVIOUS, aliases.get(PREVIOUS), failed)
        raise
    if aliases.get(CHALLENGER) == version.version:
        with suppress(PipelineError):
            registry.remove_alias(name, CHALLENGER)


def _move_alias(
    registry: Registry, name: str, alias: str, version: str | None, metadata: RollbackMetadata
) -> None:
    if version is None:
        registry.remove_alias(name, alias)
    else:
        registry.move_alias(
            name, alias, version, metadata.reason, metadata.run, user=metadata.user, kind=ROLLBACK
        )


def record_rollback(
    history: RunHistory,
    discarded: tuple[ModelVersion, ...],
    version: ModelVersion,
    record: RunRecord,
) -> None:
    """Record the result for each version's input digest, and last the rollback itself as a run.

    The input digest of a discarded version stays processed, so that no run repeats it on the same data. Its
    record no longer names a served version. The record of the run completes the rollback.
    """
    for discarded_version in discarded:
        _withdraw(history, discarded_version, record.run)
    _reinstate(history, version)
    history.write_run(record)


def _withdraw(history: RunHistory, version: ModelVersion, rollback: str) -> None:
    input_digest = version.tags["recipe"]
    processed = history.find_processed(input_digest) or ProcessedInputs(
        RunRecord(
            run=version.tags["pipeline_run"],
            verdict="promoted",
            input_digest=input_digest,
            version=version.version,
            digest=version.digest,
        )
    )
    if processed.withdrawal is None:
        history.record_processed(input_digest, processed.withdraw(rollback))


def _reinstate(history: RunHistory, version: ModelVersion) -> None:
    """Record that the version of an input digest is served again. No effect if it was not withdrawn."""
    input_digest = version.tags["recipe"]
    processed = history.find_processed(input_digest)
    if processed and processed.withdrawal:
        history.record_processed(input_digest, processed.reinstate())
