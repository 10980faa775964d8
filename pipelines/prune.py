"""Removes what nobody needs any more: archives of old versions, and folders of old runs.

The newest N of each stay, and whatever their age: the versions with an alias, all that the server
serves or loads when it starts, the N versions that rollback would go back to, the runs of all of these
with their data, and runs that still go on. What was served can be traced all the same: the registered
versions and the records of runs stay.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.formatting import size
from continuous_training.operations.lineage import PRUNED, contents
from continuous_training.operations.read_serving_state import look
from continuous_training.operations.retention import Old, find_old, folders_of
from continuous_training.operations.workspace import existing_registry, rollout_lock
from pipelines import command_line

COUNTED = ("archives", "runs", "snapshots", "bytes")
PATIENCE = 60.0
"""Seconds to wait for a rollout that is under way."""


def prune(name: str | None, keep: int, settings: Settings, dry_run: bool = False) -> dict[str, Any]:
    """Remove what is old of one workload or of all; returns the result as `--json` prints it.

    UserError when it cannot be told what is served: then nothing is removed.
    """
    if keep < 1:
        raise UserError(f"--keep {keep}: the newest one at least is kept; give 1 or more")
    store, runs = open_store(settings.store), settings.state / "runs"
    removed: list[dict[str, Any]] = []
    kept: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        registry = stack.enter_context(existing_registry(settings))
        known = sorted({version.name for version in registry.versions()} if registry else set())
        names = [name] if name else sorted({*known, *(folder.workload for folder in folders_of(runs))})
        for one in names:
            command_line.check_workload(one, one in known)
        for one in names:
            old = find_old(one, keep, registry, store, look(settings), runs)
            with ExitStack() as lock:
                if (old.versions or old.runs) and not dry_run:
                    lock.enter_context(rollout_lock(settings, one, PATIENCE))
                    # Once more, now that no rollout can come to need anything.
                    old = find_old(one, keep, registry, store, look(settings), runs)
                removed += _rows(one, old)
                if not dry_run:
                    _remove(old, registry, store)
            kept[one] = old.kept
    return {
        "verdict": "planned" if dry_run else "pruned",
        "state": str(settings.state),
        "keep": keep,
        **{key: sum(row[key] for row in removed) for key in COUNTED},
        "removed": removed,
        "kept": kept,
    }


def _remove(old: Old, registry: Registry | None, store: ObjectStore) -> None:
    """Remove what is old, each archive after its version is tagged."""
    for version, count in old.versions:
        if registry:
            # The tag first: an archive that is gone without one would look lost.
            registry.tag(version, PRUNED, _tag(version, count, store))
            store.delete(version.archive)
    for folder in old.runs:
        shutil.rmtree(folder.path)


def _tag(version: ModelVersion, count: int, store: ObjectStore) -> str:
    """Return what is kept of an archive: its size in bytes, the rows it was learned from, its libraries."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    found = contents(store, version.archive)
    return json.dumps({"when": now, "bytes": count, "data": found.data, "libraries": found.libraries})


def _rows(name: str, old: Old) -> list[dict[str, Any]]:
    """Return what is told of each thing that goes, and how much of what it counts for."""

    def row(what: str, count: int, version: str | None = None, **counts: int) -> dict[str, Any]:
        nothing = dict.fromkeys(COUNTED, 0)
        return {"workload": name, "version": version, "name": what, **nothing, "bytes": count, **counts}

    return [
        *(row(version.archive, count, version.version, archives=1) for version, count in old.versions),
        *(row(f"runs/{one.run}", one.size(), runs=1, snapshots=one.snapshots()) for one in old.runs),
    ]


def _counted(counts: dict[str, int]) -> str:
    """Return the counts in words: 2 archives, 1 run folder, 1 data snapshot."""
    names = {"archives": "archive", "runs": "run folder", "snapshots": "data snapshot"}
    return ", ".join(f"{counts[key]} {word}{'' if counts[key] == 1 else 's'}" for key, word in names.items())


def _show(result: dict[str, Any]) -> None:
    verb = "would remove" if result["verdict"] == "planned" else "removed"
    for row in result["removed"]:
        version = f"version {row['version']}: " if row["version"] else ""
        print(f"{verb}  {version}{row['name']}  {size(row['bytes'])}")
    for name, kept in result["kept"].items():
        print(f"kept of {name}: {_counted(kept)}")
    told = f"{verb} {_counted(result)}; {size(result['bytes'])}"
    print(told if result["removed"] else "nothing to remove")


def main(argv: list[str] | None = None) -> int:
    """Prune and list what went; returns the exit code."""
    parser = command_line.create_parser("prune", __doc__, workload=False)
    parser.add_argument("--keep", type=_count, required=True, metavar="N", help="how many of each stay")
    parser.add_argument("--dry-run", action="store_true", help="list what would go, and remove nothing")
    arguments = parser.parse_args(argv)

    def work() -> dict[str, Any]:
        settings = command_line.read_settings(arguments)
        return prune(arguments.workload, arguments.keep, settings, arguments.dry_run)

    return command_line.print_result(arguments, work, _show)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of things to keep: give 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
