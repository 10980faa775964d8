"""Says what is served: which version, since when, learned from which data, and whether all agree.

It looks and changes nothing: no model server is started, and what was never made stays unmade. When the
registry cannot be reached it says what is served all the same, and ends with exit code 75.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import Any

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import TransientError
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import read_line
from continuous_training.operations.drift_since_champion import drift_since
from continuous_training.operations.lineage import origin
from continuous_training.operations.read_serving_state import look
from continuous_training.operations.serving_state import Serving, agreement
from continuous_training.operations.status_table import show
from continuous_training.operations.workspace import existing_registry, next_command
from pipelines import command_line
from workloads import discovery

RUNS = 5


def status(name: str | None, settings: Settings) -> dict[str, Any]:
    """Return what is known of one workload or of all that have ever been run, as `--json` prints it."""
    store, serving = open_store(settings.store), look(settings)
    trouble, names = (
        None,
        {*serving.models, *serving.confirmed, *_recorded(store)},
    )
    with ExitStack() as stack:
        registry = stack.enter_context(existing_registry(settings))
        try:
            names |= {version.name for version in registry.versions()} if registry else set()
        except TransientError as error:
            registry, trouble = None, str(error)
        if name:
            command_line.check_workload(name, name in names)
        shown = [name] if name else sorted(names)
        workloads = [_workload(one, settings, registry, trouble, store, serving) for one in shown]
    return {
        "state": str(settings.state),
        "server": serving.server(),
        "registry": {"uri": settings.registry, "trouble": trouble},
        "registered": discovery.names(),
        "run": next_command("pipelines.run", settings, "--workload", name or "NAME"),
        "workloads": workloads,
    }


def _recorded(store: ObjectStore) -> set[str]:
    """Return the workloads of which a run is on record."""
    return {key.split("/")[1] for key in store.keys("records")}


def _workload(
    name: str,
    settings: Settings,
    registry: Registry | None,
    trouble: str | None,
    store: ObjectStore,
    serving: Serving,
) -> dict[str, Any]:
    aliases = registry.aliases(name) if registry else {}
    versions = {version.version: version for version in registry.versions(name)} if registry else {}
    champion, records = versions.get(aliases.get(CHAMPION, "")), RunHistory(store, name)
    unknown = {"agree": None, "trouble": "the registry cannot be reached", "mend": None}
    return {
        "workload": name,
        "endpoint": serving.url(name),
        "served": _served(name, serving, versions),
        "champion": champion and registry and _champion(champion, aliases, registry, store, records),
        "previous": aliases.get(PREVIOUS),
        "challenger": aliases.get(CHALLENGER),
        **(unknown if trouble else agreement(name, champion, serving, settings)),
        "runs": [_brief(record) for record in records.runs()[: -RUNS - 1 : -1]],
    }


def _served(name: str, serving: Serving, versions: dict[str, ModelVersion]) -> dict[str, Any] | None:
    """Return what the server says of the name, and the registry's number of that version."""
    row = serving.models.get(name) if serving.alive else serving.confirmed.get(name)
    if row is None:
        return None
    number = next((v.version for v in versions.values() if v.digest == row.get("digest")), None)
    kept = {key: row.get(key) for key in ("digest", "phase", "loaded_at", "archive", "reason")}
    return {"version": number, **{key: value for key, value in kept.items() if value}}


def _champion(
    version: ModelVersion,
    aliases: dict[str, str],
    registry: Registry,
    store: ObjectStore,
    records: RunHistory,
) -> dict[str, Any]:
    """Return the champion's version, since when and by what move, and where it comes from."""
    move = read_line(registry.trail(version.name), aliases[CHAMPION]).since()
    told = origin(version, registry, store)
    learned, fingerprint = told.pop("statistics"), told["data"]["fingerprint"]
    return {
        "version": version.version,
        "digest": version.digest,
        "since": move and move.when,
        "by": move and {"kind": move.kind, "run": move.run, "who": move.by, "why": move.why},
        **told,
        "drift": drift_since(learned, fingerprint, records.data()),
    }


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    return {key: record.get(key) for key in ("run", "ended", "verdict", "reasons", "version")}


def main(argv: list[str] | None = None) -> int:
    """Print what is served; returns the exit code."""
    arguments = command_line.create_parser("status", __doc__, workload=False).parse_args(argv)
    found: dict[str, Any] = {}

    def work() -> dict[str, Any]:
        found.update(status(arguments.workload, command_line.read_settings(arguments)))
        return found

    code = command_line.print_result(arguments, work, show)
    return TransientError.exit_code if found and found["registry"]["trouble"] else code


if __name__ == "__main__":
    sys.exit(main())
