"""The content of a notification about a run."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.notifications.slack_buttons import buttons_of
from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.json_object import Json


@dataclass(frozen=True)
class Notification:
    """The result of a run for people and programs.

    `text` is one line. `details` are labels with their values: metric, difference, version, command. `page`
    is the URL of the run's report, or empty. `record` is the run record as JSON, with the workload. `buttons`
    are the useful buttons of a message in Slack.
    """

    workload: str
    run: str
    verdict: str
    text: str
    record: Json
    details: tuple[tuple[str, str], ...] = ()
    page: str = ""
    version: str = ""
    buttons: tuple[str, ...] = ()


def run_notification(workload: str, record: RunRecord, command: str = "", approve: str = "") -> Notification:
    """Return the notification about a run.

    `command` shows more about a failed run, and `approve` is the command that approves a version that waits.
    """
    return Notification(
        workload=workload,
        run=record.run,
        verdict=record.verdict,
        text=f"{workload}: {record.verdict}. " + "; ".join(record.reasons),
        record={"workload": workload, **record.to_json()},
        details=_details(record, command, approve),
        page=record.registry.url if record.registry else "",
        version=record.version or "",
        buttons=buttons_of(record),
    )


def _details(record: RunRecord, command: str, approve: str) -> tuple[tuple[str, str], ...]:
    details = []
    if record.metrics:
        # The first metric is the one that the promotion rule names.
        name, interval = next(iter(record.metrics.items()))
        details.append((name, _interval_text(interval)))
    if record.difference and record.champion:
        details.append((f"difference to champion {record.champion.version}", _signed(record.difference)))
    if record.version:
        details.append(("version", record.version))
    if approve and record.approval and record.approval.is_waiting:
        details.append(("approve", approve))
    if command:
        details.append(("more", command))
    return tuple(details)


def _interval_text(interval: Interval) -> str:
    return f"{interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g})"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.4g} ({interval.low:+.4g} to {interval.high:+.4g})"
