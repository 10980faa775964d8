"""A version that waits for the approval of a person instead of a rollout."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.approval import REPLACED, Approval
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.artifacts.run_record import ProcessedInputs, RunRecord
from continuous_training.operations.approvals import read_approval, read_approvals, write_approval

from .promotion import Services, record_result
from .stored_holdout import remove_holdout, store_holdout


def wait_for_approval(
    model: ArchivedModel,
    days: int,
    version: ModelVersion,
    starter: str,
    services: Services,
    data: Path | None,
) -> RunRecord:
    """Record that the version waits for `days` days, and return the record of its run.

    `starter` is the person who started the run, unless that was a caller of the trigger service. `data` is
    the output of prep-data, whose holdout is stored. If a person has already decided about the version of
    this run, the decision remains. The rollout lock is held.
    """
    registry, store = services.registry, services.store
    history, approval = RunHistory(store, model.workload), read_approval(version)
    if approval is None or approval.run != model.run:
        trigger = history.trigger(model.run)
        approval = Approval.begin(model.run, days, trigger.caller if trigger else starter, datetime.now(UTC))
    if not approval.is_waiting and (record := history.run(model.run)):
        return record
    if data:
        store_holdout(data, store, model.workload, model.run)
    replace_waiting_versions(version, model.run, services)
    write_approval(registry, version, approval)
    return record_result(model, "waiting", registry, store, approval=approval)


def replace_waiting_versions(version: ModelVersion, run: str, services: Services) -> None:
    """Record for each version that waits that the version of a later run has replaced it."""
    for entry in read_approvals(services.registry, version.name):
        approval = entry.approval
        if not approval.is_waiting or approval.run == run:
            continue
        reason = f"version {version.version}"
        replaced = approval.decide(REPLACED, f"run {run}", reason, datetime.now(UTC))
        _record_replacement(replaced, version.name, services)
        write_approval(services.registry, entry.version, replaced)
        number = entry.version.version
        services.progress(f"version {number} no longer waits for approval: {replaced.describe()}")


def _record_replacement(approval: Approval, workload: str, services: Services) -> None:
    history = RunHistory(services.store, workload)
    record = history.run(approval.run)
    if record and record.approval:
        waiting = record.approval.describe()
        reasons = tuple(reason for reason in record.reasons if reason != waiting)
        record = replace(record, approval=approval, reasons=(approval.describe(), *reasons))
        history.write_run(record)
        if record.input_digest:
            history.record_processed(record.input_digest, ProcessedInputs(record))
    remove_holdout(services.store, workload, approval.run)
