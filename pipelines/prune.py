"""Removes what nobody needs any more: archives of old versions, and folders of old runs.

The newest N of each stay, and whatever their age: the versions with an alias, all that the server
serves or loads when it starts, the N versions that rollback would go back to, and the runs of all of
these. What was served can still be traced: the registered versions and the records of runs stay.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from adapters.errors import UserError
from adapters.object_store import ObjectStore, open_store
from adapters.registry import CHAMPION, Registry, Version
from components.settings import Settings

from . import verbs
from .contents import contents
from .line import read_line
from .runfolders import RunFolder, folders_of, is_unfinished
from .served import Serving, look

PRUNED = "archive_pruned"
"""The tag of a version whose archive was removed: JSON that says when, and what tracing still needs."""


@dataclass(frozen=True)
class Old:
    """What may go: versions with the sizes of their archives, and run folders."""

    versions: list[tuple[Version, int]]
    runs: list[RunFolder]
    kept: dict[str, int]


def find_old(
    name: str, keep: int, registry: Registry | None, store: ObjectStore, serving: Serving, runs: Path
) -> Old:
    """Return what of a workload may be removed; nothing is touched."""
    versions = registry.versions(name) if registry else []
    needed = _needed(name, keep, registry, serving, versions) if registry else set()
    sizes = {version.version: store.size(version.archive) for version in versions}
    there = [version for version in versions if sizes[version.version] is not None]
    served = serving.archives()
    old = [
        version for version in there if version.version not in needed and _path(store, version) not in served
    ]
    needed_runs = {version.tags.get("pipeline_run") for version in versions if version.version in needed}
    folders = folders_of(runs, name)
    old_runs = [
        folder
        for folder in folders[: max(0, len(folders) - keep)]
        if folder.run not in needed_runs and not is_unfinished(folder, store, name)
    ]
    kept = {"archives": len(there) - len(old), "runs": len(folders) - len(old_runs)}
    return Old([(version, sizes[version.version] or 0) for version in old], old_runs, kept)


def _needed(
    name: str, keep: int, registry: Registry, serving: Serving, versions: list[Version]
) -> set[str | None]:
    """Return the versions that stay: the newest, aliased, served, and those to go back to."""
    aliases = registry.aliases(name)
    line = read_line(registry.trail(name), aliases.get(CHAMPION))
    newest = [version.version for version in versions[-keep:]]
    served = [version.version for version in versions if version.digest in serving.digests()]
    return {*newest, *served, *aliases.values(), *line.way[-(keep + 1) :]}


def _path(store: ObjectStore, version: Version) -> Path | None:
    """Return where the archive lies on this machine, None when it is elsewhere."""
    root = getattr(store, "root", None)
    return root / version.archive if root else None


def remove(old: Old, registry: Registry | None, store: ObjectStore) -> None:
    """Remove what is old, each archive after its version is tagged."""
    for version, size in old.versions:
        if registry:
            # The tag first: an archive that is gone without one would look lost.
            registry.tag(version, PRUNED, _tag(version, size, store))
        store.delete(version.archive)
    for folder in old.runs:
        shutil.rmtree(folder.path)


def _tag(version: Version, size: int, store: ObjectStore) -> str:
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    found = contents(store, version.archive)
    return json.dumps({"when": now, "bytes": size, "data": found.data, "libraries": found.libraries})


def prune(name: str | None, keep: int, settings: Settings, dry_run: bool = False) -> dict[str, Any]:
    """Remove what is old of one workload or of all; returns the result as `--json` prints it.

    UserError when it cannot be told what is served: then nothing is removed.
    """
    if keep < 1:
        raise UserError(f"--keep {keep}: the newest one at least is kept; give 1 or more")
    store, runs = open_store(settings.store), settings.state / "runs"
    serving = look(settings.state)
    removed: list[dict[str, Any]] = []
    kept: dict[str, dict[str, int]] = {}
    with verbs.existing_registry(settings) as registry:
        known = sorted({version.name for version in registry.versions()} if registry else set())
        names = [name] if name else sorted({*known, *(folder.workload for folder in folders_of(runs))})
        for one in names:
            verbs.check_name(one, one in known)
            old = find_old(one, keep, registry, store, serving, runs)
            removed += _listed(one, old)
            if not dry_run:
                remove(old, registry, store)
            kept[one] = old.kept
    return {
        "verdict": "planned" if dry_run else "pruned",
        "state": str(settings.state),
        "keep": keep,
        "archives": sum(row["kind"] == "archive" for row in removed),
        "runs": sum(row["kind"] == "run" for row in removed),
        "bytes": sum(row["bytes"] for row in removed),
        "removed": removed,
        "kept": kept,
    }


def _listed(name: str, old: Old) -> list[dict[str, Any]]:
    archives = [
        {"kind": "archive", "workload": name, "version": version.version, "name": version.archive, "bytes": n}
        for version, n in old.versions
    ]
    runs = [
        {"kind": "run", "workload": name, "name": folder.run, "bytes": folder.size()} for folder in old.runs
    ]
    return archives + runs


def _show(result: dict[str, Any]) -> None:
    planned = result["verdict"] == "planned"
    for row in result["removed"]:
        version = f"version {row['version']}: " if "version" in row else ""
        print(
            f"{'would remove' if planned else 'removed'}  {version}{row['name']}  {verbs.size(row['bytes'])}"
        )
    for name, kept in result["kept"].items():
        print(f"kept of {name}: {kept['archives']} archives, {kept['runs']} run folders")
    what = f"{result['archives']} archives and {result['runs']} run folders, {verbs.size(result['bytes'])}"
    print(f"{'would remove' if planned else 'removed'} {what}" if result["removed"] else "nothing to remove")


def main(argv: list[str] | None = None) -> int:
    """Prune and list what went; returns the exit code."""
    parser = verbs.command("prune", __doc__, workload=False)
    parser.add_argument("--keep", type=_count, required=True, metavar="N", help="how many of each stay")
    parser.add_argument("--dry-run", action="store_true", help="list what would go, and remove nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args(argv)

    def work() -> dict[str, Any]:
        settings = verbs.settings_of(arguments)
        return prune(arguments.workload, arguments.keep, settings, arguments.dry_run)

    return verbs.finish(arguments, work, _show)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of things to keep: give 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
