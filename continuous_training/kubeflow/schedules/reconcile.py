"""Makes the server's recurring runs match the file: what to do, decided first and done afterwards.

The server cannot change a recurring run, its names are not unique, and deleting one kills its running
work. So a changed schedule is disabled, a new one made, and the old one deleted when none of its runs
goes on: at once, or by a later apply. Doing it again, after a crash too, leads to the same end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from continuous_training.kubeflow.api import FINAL, Kubeflow, Object
from continuous_training.kubeflow.schedules.schedule_file import Schedule
from continuous_training.kubeflow.upload import Uploaded

MARK = "kept by pipelines.schedule"
"""Begins the description of every recurring run that was made from a file; others are left alone."""


@dataclass(frozen=True)
class Change:
    """What differs for one name: `verb` is create, replace, pause, resume, or nothing to do."""

    name: str
    verb: str
    body: Object
    why: tuple[str, ...] = ()
    current: Object | None = None
    old: tuple[Object, ...] = ()
    strangers: tuple[Object, ...] = field(default_factory=tuple)


def ours(row: Object) -> bool:
    """Tell whether the recurring run was made from a file."""
    return str(row.get("description") or "").startswith(MARK)


def body_of(schedule: Schedule, uploaded: Uploaded, experiment_id: str, now: datetime) -> Object:
    """Return the recurring run that says what the schedule says."""
    cron = schedule.cron
    body: Object = {
        "display_name": schedule.name,
        "description": f"{MARK}: {schedule.workload}, {cron.text} {cron.zone}",
        "pipeline_version_reference": {
            "pipeline_id": uploaded.pipeline_id,
            "pipeline_version_id": uploaded.version_id,
        },
        "runtime_config": {"parameters": schedule.parameters},
        "max_concurrency": schedule.max_concurrency,
        "trigger": {"cron_schedule": {"cron": cron.in_utc(now).text}},
        "mode": "DISABLE" if schedule.paused else "ENABLE",
        "no_catchup": not schedule.catchup,
        "experiment_id": experiment_id,
    }
    return body | schedule.account()


def change_of(body: Object, rows: Iterable[Object]) -> Change:
    """Return what has to be done so that the recurring run is there once and as the file has it."""
    named = [row for row in rows if row.get("display_name") == body["display_name"]]
    own = sorted(
        (row for row in named if ours(row)), key=lambda row: str(row.get("created_at")), reverse=True
    )
    strangers = tuple(row for row in named if not ours(row))
    name = body["display_name"]
    current = next((row for row in own if not differences(body, row)), None)
    old = tuple(row for row in own if row is not current)
    if current is None:
        why = tuple(differences(body, own[0])) if own else ()
        return Change(name, "replace" if own else "create", body, why, None, old, strangers)
    verb = ""
    if current.get("mode") != body["mode"]:
        verb = "pause" if body["mode"] == "DISABLE" else "resume"
    return Change(name, verb or ("tidy" if old else "nothing to do"), body, (), current, old, strangers)


def differences(body: Object, row: Object) -> list[str]:
    """Say in words where a recurring run is not as it should be; its mode can be changed and is left out."""
    found = []
    for label, wanted, there in (
        ("pipeline version", _version(body), _version(row)),
        ("cron", _cron(body), _cron(row)),
        ("parameters", _parameters(body), _parameters(row)),
        ("max_concurrency", _concurrency(body), _concurrency(row)),
        ("catchup", not body.get("no_catchup"), not row.get("no_catchup")),
        ("experiment", body["experiment_id"], row.get("experiment_id")),
        (
            "service account",
            body.get("service_account") or row.get("service_account"),
            row.get("service_account"),
        ),
    ):
        if wanted != there:
            found.append(f"{label}: {there} -> {wanted}")
    return found


def carry_out(kubeflow: Kubeflow, change: Change) -> list[str]:
    """Do it; returns what was done and what is left, in words."""
    done = []
    for row in change.old:
        if row.get("mode") != "DISABLE":
            kubeflow.disable(row["recurring_run_id"])
            done.append(f"disabled the former one ({row['recurring_run_id']})")
    if change.current is None:
        made = kubeflow.create_schedule(change.body)
        done.append(f"created {made['recurring_run_id']}")
    elif change.verb == "pause":
        kubeflow.disable(change.current["recurring_run_id"])
        done.append("paused")
    elif change.verb == "resume":
        kubeflow.enable(change.current["recurring_run_id"])
        done.append("resumed")
    return done + [remove(kubeflow, row) for row in change.old]


def remove(kubeflow: Kubeflow, row: Object) -> str:
    """Delete a disabled recurring run when none of its runs goes on; returns what came of it."""
    going = in_flight(kubeflow, row)
    if going:
        names = ", ".join(str(run.get("display_name")) for run in going)
        return (
            f"kept the former one, disabled ({row['recurring_run_id']}): {names} goes on, and deleting it "
            "would kill that; a later apply removes it"
        )
    kubeflow.delete_schedule(row["recurring_run_id"])
    return f"deleted the former one ({row['recurring_run_id']})"


def in_flight(kubeflow: Kubeflow, row: Object) -> list[Object]:
    """Return the runs of a recurring run that have not ended."""
    return [
        run
        for run in kubeflow.runs(row["experiment_id"])
        if run.get("recurring_run_id") == row["recurring_run_id"] and run.get("state") not in FINAL
    ]


def _version(row: Object) -> Any:
    return (row.get("pipeline_version_reference") or {}).get("pipeline_version_id")


def _cron(row: Object) -> Any:
    return ((row.get("trigger") or {}).get("cron_schedule") or {}).get("cron")


def _parameters(row: Object) -> Any:
    # The server answers without the key where there are none.
    return (row.get("runtime_config") or {}).get("parameters") or {}


def _concurrency(row: Object) -> int:
    # A 64-bit number is text in the server's JSON.
    return int(row.get("max_concurrency") or 1)
