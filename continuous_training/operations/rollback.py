"""Roll back: serve an earlier champion again, at the endpoint and in the registry."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.notifications.notification import run_notification
from continuous_training.adapters.notifications.notifier import Notifier
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RecordedRollback, RecordedVersion, RunRecord
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.interrupts import ignore_first_interrupt
from continuous_training.core.json_object import Json
from continuous_training.core.messages import extend_message, report
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings
from continuous_training.operations.archive_restore import LostArchive, find_lost_archive
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.operations.rollback_plan import RollbackPlan, check_archive, make_plan
from continuous_training.operations.rollback_writes import RollbackMetadata, record_rollback, restore_champion
from continuous_training.operations.serving_state import ServingState
from continuous_training.operations.workspace import (
    existing_registry,
    next_command,
    rollout_lock,
    rollout_settings,
)
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.open_target import open_target
from continuous_training.rollout.target_interface import DeploymentTarget

UNCHANGED, ARCHIVE_RESTORED, PLANNED = "nothing to do", "put back", "planned"
SERVED_AGAIN, ROLLED_BACK = "served again", "rolled back"
"""The verdicts of a rollback, as --json prints them."""


@dataclass(frozen=True)
class RollbackResult:
    """The result of a rollback. `resumed` says whether it completed an interrupted one."""

    plan: RollbackPlan
    metadata: RollbackMetadata
    verdict: str
    when: str
    endpoint: str | None

    @property
    def resumed(self) -> bool:
        """Whether the rollback completed an interrupted one."""
        return self.plan.unfinished is not None

    def to_record(self) -> RunRecord:
        """Return the record of the rollback as a run."""
        plan = self.plan
        rollback = RecordedRollback(
            from_version=_recorded_version(plan.champion) if plan.champion else None,
            to_version=_recorded_version(plan.version),
            previous=plan.previous,
            user=self.metadata.user,
        )
        return RunRecord(
            run=self.metadata.run,
            verdict=self.verdict,
            reasons=(self.metadata.reason,),
            version=plan.version.version,
            digest=plan.version.digest,
            endpoint=self.endpoint,
            rollback=rollback,
        )

    def to_json(self) -> Json:
        """Return the object that --json prints and that the webhook receives."""
        plan, metadata = self.plan, self.metadata
        return {
            "workload": plan.workload,
            "run": metadata.run,
            "verdict": self.verdict,
            "reasons": [metadata.reason],
            "from": _recorded_version(plan.champion).to_json() if plan.champion else None,
            "to": _recorded_version(plan.version).to_json(),
            "previous": plan.previous,
            "by": metadata.user,
            "resumed": self.resumed,
            "when": self.when,
            "endpoint": self.endpoint,
        }


def _recorded_version(version: ModelVersion) -> RecordedVersion:
    return RecordedVersion(version.version, version.digest)


def roll_back(
    name: str,
    requested: str | None,
    reason: str,
    user: str,
    settings: Settings,
    dry_run: bool = False,
    check_name: Callable[[str], object] = lambda _: None,
    expected: str = "",
) -> RollbackResult:
    """Serve an earlier version again and make it the champion: the `requested` one, or the previous champion.

    Raises UserError if there is none, if it cannot be served, or if the champion is not the `expected` one
    (empty: any), and RolloutReverted if its golden requests fail: the champion is unchanged then, and was
    verified to answer. `check_name` raises UserError for a name that is not a workload; it is called if there
    is no version of this name.
    """
    with ExitStack() as stack:
        registry = stack.enter_context(existing_registry(settings))
        if registry is None or not registry.versions(name):
            check_name(name)
        if registry is None:
            raise UserError(f"{name} was never promoted in {settings.state}, so no version can be restored")
        settings = rollout_settings(settings, name, report)
        rollback = Rollback(name, settings, registry, stack, dry_run)
        metadata = RollbackMetadata(reason, new_run_id(f"{name}-rollback"), user)
        return rollback.run(requested, metadata, expected)


class Rollback:
    """One rollback of a workload. `stack` holds the lock of the workload's rollouts until it is closed."""

    def __init__(
        self, name: str, settings: Settings, registry: Registry, stack: ExitStack, dry_run: bool
    ) -> None:
        self.name = name
        self.settings = settings
        self.registry = registry
        self.stack = stack
        self.dry_run = dry_run
        self.store: ObjectStore = open_store(settings.store, settings.store_access)
        self.runs = RunHistory(self.store, name)
        self.target: DeploymentTarget = open_target(settings, self.store, report)

    def run(self, requested: str | None, metadata: RollbackMetadata, expected: str = "") -> RollbackResult:
        """Plan the rollback, check it, and carry it out unless this is a dry run."""
        if not self.dry_run:
            self._lock()
        serving = read_serving_state(self.settings)
        plan = make_plan(self.registry, self.runs, self.name, requested, serving, self.settings, expected)
        if plan.unfinished:
            unfinished = plan.unfinished
            metadata = RollbackMetadata(unfinished.reason, unfinished.run, unfinished.user)
        lost = self._restore_archive(plan)
        if self._is_done(plan, serving) and not (lost and self.dry_run):
            verdict = ARCHIVE_RESTORED if lost else UNCHANGED
            return _result(plan, metadata, verdict, serving.url(self.name))
        if not lost:
            check_archive(plan, self.store, serving)
        if self.dry_run:
            if not lost:
                _check_digest(plan.version, self.store)
            return _result(plan, metadata, PLANNED, serving.url(self.name))
        endpoint = self._switch(plan, metadata)
        if not plan.moves_alias:
            return _result(plan, metadata, SERVED_AGAIN, endpoint)
        result = _result(plan, metadata, ROLLED_BACK, endpoint)
        self._record(result)
        # Notify after the lock is released and Ctrl-C is enabled again: a webhook can take long.
        self.stack.close()
        self._notify(result)
        return result

    def _lock(self) -> None:
        if self.settings.target == "local":
            self.stack.enter_context(rollout_lock(self.settings, self.name))
        else:
            self.stack.enter_context(self.target.rollout_lock(self.name, report))

    def _restore_archive(self, plan: RollbackPlan) -> LostArchive | None:
        """Restore the version's archive if the store has lost it. Return None if it is intact."""
        lost = find_lost_archive(plan.version, self.store, self.settings.state)
        if lost is None:
            return None
        if not self.dry_run:
            lost.restore(self.store)
        report(lost.describe("would be" if self.dry_run else "was"))
        return lost

    def _is_done(self, plan: RollbackPlan, serving: ServingState) -> bool:
        served = serving.is_running and serving.digest(self.name) == plan.version.digest
        # A process that died left its version on trial: the trial would end with the version before it.
        return served and not plan.moves_alias and not serving.on_trial(self.name)

    def _switch(self, plan: RollbackPlan, metadata: RollbackMetadata) -> str:
        """Roll the version out and move the aliases. Return the address of the endpoint."""
        version, alias_moved = plan.version, False
        champion = plan.champion.version if plan.champion else None
        status = next_command("pipelines.status", self.settings, "--workload", self.name)

        def make_champion() -> None:
            nonlocal alias_moved
            # From here on the rollback is completed: an interrupt waits until the stack is closed.
            self.stack.enter_context(ignore_first_interrupt())
            if plan.moves_alias:
                restore_champion(self.registry, version, champion, plan.previous, metadata, status)
            alias_moved = True

        try:
            with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
                archive = self.store.fetch(version.archive, Path(folder))
                roll_out(self.target, self.name, archive, version.digest, make_champion, report, status)
            mirror_aliases(self.registry, self.store, self.name, metadata.run)
        except PipelineError as error:
            aliases = self._aliases_after_error(plan, alias_moved)
            raise type(error)(extend_message(str(error), aliases)) from error
        return self.target.url(self.name)

    def _aliases_after_error(self, plan: RollbackPlan, alias_moved: bool) -> str:
        if alias_moved or plan.unfinished:
            number = plan.version.version
            command = next_command(
                "pipelines.rollback", self.settings, "--workload", self.name, "--to", number
            )
            return (
                f"the registry's champion is already version {number}. To complete the rollback:\n{command}"
            )
        champion = f"version {plan.champion.version}" if plan.champion else "none"
        return f"the registry was not changed: its champion is {champion}"

    def _record(self, result: RollbackResult) -> None:
        """Record the rollback as a run, and the discarded versions. A failure is reported as a warning."""
        plan = result.plan
        try:
            record_rollback(self.runs, plan.discarded, plan.version, result.to_record())
        except (PipelineError, OSError, KeyError) as error:
            report(
                f"warning: the rollback succeeded, but it could not be recorded: {error}. "
                "Run the same command again to record it"
            )

    def _notify(self, result: RollbackResult) -> None:
        text = f"{self.name}: rolled back to version {result.plan.version.version}. {result.metadata.reason}"
        notification = run_notification(self.name, result.to_record())
        Notifier(self.settings.notifications).send(replace(notification, text=text, record=result.to_json()))


def _check_digest(version: ModelVersion, store: ObjectStore) -> None:
    with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
        digest = digest_file(store.fetch(version.archive, Path(folder)))
    if digest != version.digest:
        raise UserError(
            f"version {version.version} of {version.name} cannot be served: the sha256 of its archive "
            f"{version.archive} is {digest}, but {version.digest} was registered"
        )


def _result(
    plan: RollbackPlan, metadata: RollbackMetadata, verdict: str, endpoint: str | None
) -> RollbackResult:
    return RollbackResult(plan, metadata, verdict, datetime.now(UTC).isoformat(timespec="seconds"), endpoint)
