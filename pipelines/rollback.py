"""Puts a former champion back, at the endpoint and in the registry, in one go.

It proves itself by its golden requests, asked through the endpoint, before the alias moves; otherwise
all is left as it was. Without --to it is the version that was champion before the present one; a second
rollback goes to the one before that, and never to one that was rolled back. --to names any version that
ever was champion; with the present one's number it makes the endpoint serve what the registry says.
"""

from __future__ import annotations

import argparse
import getpass
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from adapters.errors import PipelineError, UserError
from adapters.notifications import Notifier
from adapters.object_store import ObjectStore, open_store
from adapters.records import Records
from adapters.registry import Registry, Version
from components.deploy_serving.local import LocalTarget
from components.deploy_serving.rollout import roll_out
from components.runtime import new_run_id
from components.settings import Settings
from serving.digest import digest_file

from . import verbs
from .aliases import make_champion_again
from .plan import Plan, check_archive, check_endpoint, make_plan
from .served import look
from .withdrawn import restore, withdraw


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

    Raises UserError when there is none or it cannot be served, RolledBack when it does not prove itself:
    the champion is then as before, and answers.
    """
    with verbs.existing_registry(settings) as registry:
        if registry is None:
            verbs.check_name(name, False)
            raise UserError(f"{name} was never promoted in {settings.state}: there is nothing to go back to")
        verbs.check_name(name, bool(registry.versions(name)))
        store = open_store(settings.store)
        plan = make_plan(registry, name, to, settings)
        serving = look(settings.state)
        check_endpoint(plan, to, serving, settings)
        words = Words(why, new_run_id(f"{name}-rollback"), by)
        if plan.to == plan.source and serving.running and serving.digest(name) == plan.to.digest:
            return _result(plan, words, "nothing to do", serving.url(name))
        check_archive(plan, store, serving)
        if dry_run:
            _check_digest(plan.to, store)
            return _result(plan, words, "planned", serving.url(name))
        endpoint = _switch(plan, words, registry, store, settings)
        verdict = "served again" if plan.to == plan.source else "rolled back"
        result = _result(plan, words, verdict, endpoint)
        if plan.to != plan.source:
            _remember(plan, result, store, settings)
        return result


def _switch(plan: Plan, words: Words, registry: Registry, store: ObjectStore, settings: Settings) -> str:
    """Roll the version out and move the aliases; returns the endpoint's address."""
    to, moved = plan.to, False
    source = plan.source.version if plan.source else None

    def make_champion() -> None:
        nonlocal moved
        if plan.to != plan.source:
            make_champion_again(registry, to, source, plan.previous, **vars(words))
        moved = True

    try:
        target = LocalTarget(settings.state)
        with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
            archive = store.fetch(to.archive, Path(folder))
            roll_out(target, plan.workload, archive, to.digest, make_champion, _tell)
    except PipelineError as error:
        mend = verbs.again("pipelines.rollback", settings, "--workload", plan.workload, "--to", to.version)
        fact = (
            f"the registry's champion is version {to.version} already; this finishes it: {mend}"
            if moved
            else f"the registry was not moved: its champion is {f'version {source}' if source else 'none'}"
        )
        raise type(error)(f"{error}; {fact}") from error
    return target.url(plan.workload)


def _remember(plan: Plan, result: dict[str, Any], store: ObjectStore, settings: Settings) -> None:
    """Write the rollback among the runs, mark what was rolled back, and tell people.

    The rollback is done: a failure here is a warning, for a second try would go back once more.
    """
    records = Records(store, plan.workload)
    kept = ("verdict", "reasons", "from", "to", "previous", "by", "endpoint")
    record = {key: result[key] for key in kept} | {"version": plan.to.version, "digest": plan.to.digest}
    try:
        for version in plan.passed:
            withdraw(records, version, result["run"])
        restore(records, plan.to)
        records.write_run(result["run"], record)
    except (PipelineError, OSError, KeyError) as error:
        print(f"warning: rolled back, but the records do not tell of it: {error}", file=sys.stderr)
    text = f"{plan.workload}: rolled back to version {plan.to.version}. {result['reasons'][0]}"
    Notifier(settings.webhook).send(text, {"workload": plan.workload, **record})


def _check_digest(to: Version, store: ObjectStore) -> None:
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
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "endpoint": endpoint,
    }


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _show(result: dict[str, Any]) -> None:
    name, to, source = result["workload"], result["to"], result["from"]
    version = f"version {to['version']} ({to['digest'][:12]})"
    former = f"version {source['version']} ({source['digest'][:12]})" if source else "no champion"
    behind = f"version {result['previous']}" if result["previous"] else "nothing"
    print(
        {
            "nothing to do": f"{name}: {version} is the champion and is served: nothing to do",
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
    parser = verbs.command("rollback", __doc__, workload=True)
    parser.add_argument("--to", metavar="VERSION", help="the registry's number of a former champion")
    parser.add_argument("--why", default="rolled back by hand", metavar="TEXT", help="kept in the trail")
    parser.add_argument("--dry-run", action="store_true", help="check all that can be, and change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(argv)
    return verbs.finish(arguments, lambda: _work(arguments), _show)


def _work(arguments: argparse.Namespace) -> dict[str, Any]:
    if len(arguments.why) > 500:
        raise UserError("--why is longer than 500 characters; the trail keeps a sentence, not a letter")
    settings = verbs.settings_of(arguments)
    return roll_back(arguments.workload, arguments.to, arguments.why, _user(), settings, arguments.dry_run)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's numeric user has no name.
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
