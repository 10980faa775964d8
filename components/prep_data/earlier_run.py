"""Find the earlier run that processed the same inputs, or report why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from components.former_input_digest import former_input_digest
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_inputs import RunInputs
from continuous_training.artifacts.run_record import DataRecord, RunRecord
from workloads.contract import Values, Workload


@dataclass(frozen=True)
class EarlierRun:
    """The run that processed the same inputs, None if there is none.

    `reasons` state why the inputs are new, as lines of text; empty in the first run of a workload.
    `baseline` is the state of modules and packages with which records of former versions are accepted.
    """

    record: RunRecord | None = None
    reasons: tuple[str, ...] = ()
    baseline: str | None = None


def find_earlier_run(
    records: RunHistory, workload: Workload, values: Values, inputs: RunInputs
) -> EarlierRun:
    """Return the run that processed these inputs, also if a former version recorded it.

    A former version recorded neither the imported modules nor the packages. The first run after an upgrade
    accepts its records: nothing is known to have changed. Later runs accept them only with the modules and
    packages of that run.
    """
    latest = records.data()
    baseline = _baseline(latest, inputs)
    processed = records.find_processed(inputs.digest)
    if processed is None and baseline == inputs.environment:
        digest = former_input_digest(workload, values, inputs)
        processed = records.find_processed(digest) if digest else None
    if processed and values["force"]:
        return EarlierRun(None, ("force=true",), baseline)
    if processed and values["accept"] and processed.record.verdict == "rejected":
        return EarlierRun(None, (f"accept={values['accept']}",), baseline)
    if processed and not _is_decided(processed.record):
        reason = f"the version of run {processed.record.run} no longer waits for approval"
        return EarlierRun(None, (reason,), baseline)
    if processed:
        return EarlierRun(processed.record, baseline=baseline)
    return EarlierRun(None, _reasons(latest, inputs), baseline)


def _is_decided(record: RunRecord) -> bool:
    """Return whether the inputs of a run need no other run: its version was accepted, rejected, or waits."""
    approval = record.approval
    if record.verdict != "waiting" or approval is None:
        return True
    return approval.is_waiting and not approval.is_expired(datetime.now(UTC))


def _baseline(latest: DataRecord | None, inputs: RunInputs) -> str | None:
    """Return the recorded baseline. The first run after a former version defines it."""
    if latest and latest.inputs is None:
        return inputs.environment
    return latest.baseline if latest else None


def _reasons(latest: DataRecord | None, inputs: RunInputs) -> tuple[str, ...]:
    if latest is None:
        return ()
    if latest.inputs is None:
        return (f"run {latest.run} was made by a former version, which did not record its inputs",)
    return inputs.changes_since(latest.inputs) or (
        f"no run with the inputs of run {latest.run} has completed",
    )
