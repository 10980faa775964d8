"""Roll back: serve an earlier champion again, at the endpoint and in the registry."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.notifications import Notifier
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.interrupts import postpone_interrupt
from continuous_training.core.messages import report
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings
from continuous_training.operations.archive_restore import Loss, find_loss
from continuous_training.operations.read_serving_state import look
from continuous_training.operations.rollback_plan import Plan, check_archive, make_plan
from continuous_training.operations.rollback_writes import make_champion_again, remember
from continuous_training.operations.workspace import existing_registry, next_command, rollout_lock
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.open_target import open_target
from continuous_training.rollout.target import DeploymentTarget


@dataclass(frozen=True)
class Words:
    """What the trail says of a rollback: why, the rollback's own id, and by whom."""

    why: str
    run: str
    by: str


def roll_back(
    name: str,
    to: str | None,
    why: str,
    by: str,
    settings: Settings,
    dry_run: bool = False,
    check_name: Callable[[str], object] = lambda _: None,
) -> dict[str, Any]:
    """Serve a former champion again and make it the champion; returns the result as `--json` prints it.

    Raises UserError when there is none or it cannot be served, RolloutReverted when it does not prove itself:
    the champion is then as before, and answers.
    """
    with ExitStack() as stack:
        registry = stack.enter_context(existing_registry(settings))
        if registry is None:
            check_name(name)
            raise UserError(f"{name} was never promoted in {settings.state}: there is nothing to go back to")
        if not registry.versions(name):
            check_name(name)
        store = open_store(settings.store)
        target = open_target(settings, store, report)
        if not dry_run:
            local = settings.target == "local"
            stack.enter_context(rollout_lock(settings, name) if local else target.rollout_lock(name, report))
        serving = look(settings)
        records = RunHistory(store, name)
        plan = make_plan(registry, records, name, to, serving, settings)
        words = Words(why, new_run_id(f"{name}-rollback"), by)
        if plan.begun:
            words = Words(plan.begun.why, plan.begun.run, plan.begun.by)
        loss = find_loss(plan.to, store, settings.state)
        if loss and not dry_run:
            loss.put_back(store)
        if loss:
            report(_told(loss, dry_run))
        served = plan.to == plan.source and serving.alive and serving.digest(name) == plan.to.digest
        if served and not plan.begun and not (loss and dry_run):
            return _result(plan, words, "put back" if loss else "nothing to do", serving.url(name))
        if not loss:
            check_archive(plan, store, serving)
        if dry_run:
            if not loss:
                _check_digest(plan.to, store)
            return _result(plan, words, "planned", serving.url(name))
        # What follows the alias's move is done whole: from there on, Ctrl-C waits.
        endpoint = _switch(plan, words, registry, store, target, settings, stack)
        if plan.to == plan.source and not plan.begun:
            return _result(plan, words, "served again", endpoint)
        result = _result(plan, words, "rolled back", endpoint)
        _remember(plan, result, records)
    _announce(plan, result, settings)
    return result


def _told(loss: Loss, dry_run: bool) -> str:
    done = "would be" if dry_run else "was"
    return (
        f"the archive of version {loss.version.version}, {loss.version.archive}, {loss.trouble} in the "
        f"store; it {done} put back from the endpoint's copy, {loss.copy}"
    )


def _switch(
    plan: Plan,
    words: Words,
    registry: Registry,
    store: ObjectStore,
    target: DeploymentTarget,
    settings: Settings,
    finishing: ExitStack,
) -> str:
    """Roll the version out and move the aliases; returns the endpoint's address."""
    to, moved = plan.to, False
    source = plan.source.version if plan.source else None

    def make_champion() -> None:
        nonlocal moved
        finishing.enter_context(postpone_interrupt())
        if plan.to != plan.source or plan.begun:
            make_champion_again(registry, to, source, plan.previous, **vars(words))
        moved = True

    try:
        with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
            archive = store.fetch(to.archive, Path(folder))
            roll_out(target, plan.workload, archive, to.digest, make_champion, report)
        mirror_aliases(registry, store, plan.workload, words.run)
    except PipelineError as error:
        mend = next_command("pipelines.rollback", settings, "--workload", plan.workload, "--to", to.version)
        fact = (
            f"the registry's champion is version {to.version} already; this finishes it: {mend}"
            if moved or plan.begun
            else f"the registry was not moved: its champion is {f'version {source}' if source else 'none'}"
        )
        raise type(error)(f"{error}; {fact}") from error
    return target.url(plan.workload)


def _remember(plan: Plan, result: dict[str, Any], records: RunHistory) -> None:
    """Write the rollback among the runs, and mark what was rolled back; a failure here is a warning."""
    kept = ("verdict", "reasons", "from", "to", "previous", "by", "endpoint")
    record = {key: result[key] for key in kept} | {"version": plan.to.version, "digest": plan.to.digest}
    try:
        remember(records, plan.left, plan.to, result["run"], record)
    except (PipelineError, OSError, KeyError) as error:
        report(
            f"warning: rolled back, but the records do not tell of it: {error}; the same command again does"
        )


def _announce(plan: Plan, result: dict[str, Any], settings: Settings) -> None:
    text = f"{plan.workload}: rolled back to version {plan.to.version}. {result['reasons'][0]}"
    Notifier(settings.webhook).send(text, result)


def _check_digest(to: ModelVersion, store: ObjectStore) -> None:
    with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
        found = digest_file(store.fetch(to.archive, Path(folder)))
    if found != to.digest:
        raise UserError(
            f"version {to.version} of {to.name} cannot be served: the sha256 of its archive {to.archive} is "
            f"{found}, not the {to.digest} that was registered"
        )


def _result(plan: Plan, words: Words, verdict: str, endpoint: str | None) -> dict[str, Any]:
    return {
        "workload": plan.workload,
        "run": words.run,
        "verdict": verdict,
        "reasons": [words.why],
        "from": plan.source and {"version": plan.source.version, "digest": plan.source.digest},
        "to": {"version": plan.to.version, "digest": plan.to.digest},
        "previous": plan.previous,
        "by": words.by,
        "resumed": plan.begun is not None,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "endpoint": endpoint,
    }
