"""Says what is served: which version, since when, learned from which data, and whether all agree.

It looks and changes nothing: no model server is started, and what was never made stays unmade.
"""

from __future__ import annotations

import sys
from typing import Any

from adapters.object_store import ObjectStore, open_store
from adapters.records import Records
from adapters.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from components.settings import Settings
from workloads import register

from . import verbs
from .agreement import agreement
from .line import read_line
from .origin import origin
from .served import Serving, look
from .status_table import show

RUNS = 5


def status(name: str | None, settings: Settings) -> dict[str, Any]:
    """Return what is known of one workload or of all that have ever been run, as `--json` prints it."""
    store, serving = open_store(settings.store), look(settings.state)
    with verbs.existing_registry(settings) as registry:
        names = {version.name for version in registry.versions()} if registry else set()
        names |= {*serving.models, *serving.confirmed, *_recorded(store)}
        if name:
            verbs.check_name(name, name in names)
        shown = [name] if name else sorted(names)
        workloads = [_workload(one, settings, registry, store, serving) for one in shown]
    running = serving.running
    return {
        "state": str(settings.state),
        "server": running and {"url": running.url, "pid": running.pid, "started": running.started},
        "start": None if running else verbs.again("serving", settings, "start"),
        "registered": register.names(),
        "run": verbs.again("pipelines.run", settings, "--workload", name or "NAME"),
        "workloads": workloads,
    }


def _recorded(store: ObjectStore) -> set[str]:
    """Return the workloads of which a run is on record."""
    return {key.split("/")[1] for key in store.keys("records")}


def _workload(
    name: str, settings: Settings, registry: Registry | None, store: ObjectStore, serving: Serving
) -> dict[str, Any]:
    aliases = registry.aliases(name) if registry else {}
    versions = {version.version: version for version in registry.versions(name)} if registry else {}
    champion = versions.get(aliases.get(CHAMPION, ""))
    return {
        "workload": name,
        "endpoint": serving.url(name),
        "served": _served(name, serving, versions),
        "champion": champion and registry and _champion(champion, aliases, registry, store),
        "previous": aliases.get(PREVIOUS),
        "challenger": aliases.get(CHALLENGER),
        **agreement(name, champion, serving, settings),
        "runs": [_brief(record) for record in Records(store, name).runs()[: -RUNS - 1 : -1]],
    }


def _served(name: str, serving: Serving, versions: dict[str, Version]) -> dict[str, Any] | None:
    """Return what the server says of the name, and the registry's number of that version."""
    row = serving.models.get(name) if serving.running else serving.confirmed.get(name)
    if row is None:
        return None
    number = next((v.version for v in versions.values() if v.digest == row.get("digest")), None)
    kept = {key: row.get(key) for key in ("digest", "phase", "loaded_at", "archive", "reason")}
    return {"version": number, **{key: value for key, value in kept.items() if value}}


def _champion(
    version: Version, aliases: dict[str, str], registry: Registry, store: ObjectStore
) -> dict[str, Any]:
    """Return the champion's version, since when and by what move, and where it comes from."""
    move = read_line(registry.trail(version.name), aliases[CHAMPION]).since()
    return {
        "version": version.version,
        "digest": version.digest,
        "since": move and move.when,
        "by": move and {"kind": move.kind, "run": move.run, "who": move.by, "why": move.why},
        **origin(version, registry, store),
    }


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record.get(key) for key in ("run", "ended", "verdict", "reasons", "version")}


def main(argv: list[str] | None = None) -> int:
    """Print what is served; returns the exit code."""
    parser = verbs.command("status", __doc__, workload=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(argv)
    return verbs.finish(arguments, lambda: status(arguments.workload, verbs.settings_of(arguments)), show)


if __name__ == "__main__":
    sys.exit(main())
