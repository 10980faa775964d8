"""Puts a former champion back, at the endpoint and in the registry, in one go.

It proves itself by its golden requests, asked through the endpoint, before the alias moves; otherwise
all is left as it was. Without --to it is the version that was champion before the present one; a second
rollback goes to the one before that, and never to one that was rolled back. --to names any version that
ever was champion; with the present one's number it makes the endpoint serve what the registry says.
An archive that is missing from the store, or was altered there, is put back from the endpoint's own copy
where that has the registered digest.
A rollback that was cut off, by whatever, is finished by the same command.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.step_cli import new_run_id
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.notifications import Notifier
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.operations.archive_restore import Loss, find_loss
from continuous_training.operations.rollback_plan import Plan, check_archive, make_plan
from continuous_training.operations.rollback_writes import make_champion_again, remember
from continuous_training.operations.serving_state import look
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.open_target import open_target
from continuous_training.rollout.target import DeploymentTarget
from pipelines import command_line

LONGEST_WHY = 500


@dataclass(frozen=True)
class Words:
    """What the trail says of a rollback: why, the rollback's own id, and by whom."""

    why: str
    run: str
    by: str


def roll_back(
    name: str, to: str | None, why: str, by: str, settings: Settings, dry_run: bool = False
) -> dict[str, Any]:
    """Serve a former champion again and make it the champion; returns the result as `--json` prints it.

    Raises UserError when there is none or it cannot be served, RolloutReverted when it does not prove itself:
    the champion is then as before, and answers.
    """
    with ExitStack() as stack:
        registry = stack.enter_context(command_line.existing_registry(settings))
        if registry is None:
            command_line.check_name(name, False)
            raise UserError(f"{name} was never promoted in {settings.state}: there is nothing to go back to")
        command_line.check_name(name, bool(registry.versions(name)))
        store = open_store(settings.store)
        target = open_target(settings, store, report)
        if not dry_run:
            local = settings.target == "local"
            stack.enter_context(
                command_line.alone(settings, name) if local else target.rollout_lock(name, report)
            )
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
        finishing.enter_context(command_line.uninterrupted())
        if plan.to != plan.source or plan.begun:
            make_champion_again(registry, to, source, plan.previous, **vars(words))
        moved = True

    try:
        with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
            archive = store.fetch(to.archive, Path(folder))
            roll_out(target, plan.workload, archive, to.digest, make_champion, report)
        mirror_aliases(registry, store, plan.workload, words.run)
    except PipelineError as error:
        mend = command_line.again(
            "pipelines.rollback", settings, "--workload", plan.workload, "--to", to.version
        )
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


def _show(result: dict[str, Any]) -> None:
    name, to, source = result["workload"], result["to"], result["from"]
    version = f"version {to['version']} ({to['digest'][:12]})"
    former = f"version {source['version']} ({source['digest'][:12]})" if source else "no champion"
    behind = f"version {result['previous']}" if result["previous"] else "nothing"
    if result["resumed"]:
        print(f"{name}: a rollback was cut off ({result['run']}); this is its end, and no step further back")
    print(
        {
            "nothing to do": f"{name}: {version} is the champion and is served: nothing to do",
            "put back": f"{name}: {version} is the champion and is served; its archive is in the store again",
            "planned": f"{name}: would go from {former} to {version}; behind it stands {behind}",
            "served again": f"{name}: {version} is served again, as the registry says",
            "rolled back": f"{name}: {version} is served and is the champion again, instead of {former}; "
            f"behind it stands {behind}",
        }[result["verdict"]]
    )
    if result["endpoint"]:
        print(f"endpoint: {result['endpoint']}")


def main(argv: list[str] | None = None) -> int:
    """Roll back and say what came of it; returns the exit code."""
    parser = command_line.command("rollback", __doc__, workload=True, codes="4 it did not prove itself, ")
    parser.add_argument("--to", metavar="VERSION", help="the registry's number of a former champion")
    parser.add_argument("--why", default="rolled back by hand", metavar="TEXT", help="kept in the trail")
    parser.add_argument("--dry-run", action="store_true", help="check all that can be, and change nothing")
    arguments = parser.parse_args(argv)
    return command_line.finish(arguments, lambda: _work(arguments), _show)


def _work(arguments: argparse.Namespace) -> dict[str, Any]:
    if len(arguments.why) > LONGEST_WHY:
        raise UserError(
            f"--why is longer than {LONGEST_WHY} characters; the trail keeps a sentence, not a letter"
        )
    settings = command_line.settings_of(arguments)
    return roll_back(arguments.workload, arguments.to, arguments.why, _user(), settings, arguments.dry_run)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
