"""From a served answer back to what it was learned from: archive, version, run, code, data, parameters.

DIGEST is what an answer's header x-model-version or x-model-digest holds, six digits of it at least.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import read_line
from continuous_training.operations.formatting import moment, span, stored, won
from continuous_training.operations.lineage import contents, origin
from continuous_training.operations.source_commit import commit_of, is_current
from continuous_training.operations.workspace import existing_registry
from continuous_training.report.formatting import label
from pipelines import command_line
from workloads import discovery

LEAST = 6


def trace(digest: str, settings: Settings) -> dict[str, Any]:
    """Return all that is known of the version whose archive's digest begins so, as `--json` prints it.

    UserError when no version is known by it, or several are.
    """
    wanted = digest.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{LEAST},64}}", wanted):
        raise UserError(
            f"{digest!r} is no version's digest: give {LEAST} to 64 hexadecimal digits, as in an answer's "
            "header x-model-version"
        )
    store = open_store(settings.store)
    with existing_registry(settings) as registry:
        versions = registry.versions() if registry else []
        known = {(v.name, v.digest): v for v in versions if "archive_digest" in v.tags}
        stored = [key for key in store.keys("archives") if key.endswith(".mar")]
        everything = {*known, *((key.split("/")[1], key.split("/")[-1][:-4]) for key in stored)}
        name, whole = _only(wanted, everything, settings)
        version = known.get((name, whole))
        found = {"digest": whole, "workload": name}
        if registry and version:
            return found | _registered(version, registry, store) | _files(version, settings.state)
        return found | _unregistered(name, store, f"archives/{name}/{whole}.mar")


def _only(wanted: str, everything: set[tuple[str, str]], settings: Settings) -> tuple[str, str]:
    """Return the one workload and digest that begins so."""
    found = sorted(pair for pair in everything if pair[1].startswith(wanted))
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{digest} ({name})" for name, digest in found)
        raise UserError(f"{wanted} begins the digests of {len(found)} versions; give more digits: {listed}")
    raise UserError(
        f"no version's digest begins with {wanted}; {len(everything)} are known in {settings.registry} and "
        f"{settings.store}. Is it another state folder's, or the digest of something else?"
    )


def _registered(version: ModelVersion, registry: Registry, store: ObjectStore) -> dict[str, Any]:
    aliases = registry.aliases(version.name)
    moves = read_line(registry.trail(version.name), aliases.get(CHAMPION)).moves
    told = origin(version, registry, store)
    del told["statistics"]
    return {
        "version": version.version,
        "aliases": sorted(alias for alias, number in aliases.items() if number == version.version),
        "champion": [
            {"when": move.when, "became": move.to == version.version, "kind": move.kind, "run": move.run}
            for move in moves
            if version.version in (move.to, move.source)
        ],
        **told,
        "commit": commit_of(discovery.find_folder(version.name), told["code"]),
        "code_is_here": is_current(discovery.find_folder(version.name), told["code"]),
    }


def _files(version: ModelVersion, state: Path) -> dict[str, Any]:
    """Return where the run's report and the very rows are, None when its folder is not on this machine."""
    folder = state / "runs" / version.tags.get("pipeline_run", "unknown")
    report = folder / "report.html"
    rows = next(folder.glob("artifacts/*/prep-data/data/train.parquet"), None)
    return {"report": str(report) if report.is_file() else None, "rows_at": rows and str(rows)}


def _unregistered(name: str, store: ObjectStore, key: str) -> dict[str, Any]:
    """Return what the archive alone tells: it was stored, and never registered."""
    found = contents(store, key)
    told = found.provenance
    intact = not found.trouble and key.endswith(f"{found.digest}.mar")
    return {
        "version": None,
        "code": told.get("code"),
        "commit": commit_of(discovery.find_folder(name), told.get("code")),
        "code_is_here": is_current(discovery.find_folder(name), told.get("code")),
        "recipe": told.get("recipe"),
        "data": {
            "fingerprint": found.data.get("fingerprint"),
            "rows": {"train": found.data.get("rows"), "holdout": None},
            "split_rule": found.data.get("split_rule"),
        },
        "parameters": told.get("parameters"),
        "libraries": found.libraries,
        "archive": {"key": key, "bytes": store.size(key), "intact": intact, "trouble": found.trouble or None},
    }


def _show(found: dict[str, Any]) -> None:
    data, rows = found["data"], found["data"]["rows"]
    version = f"version {found['version']}" if found["version"] else "never registered"
    aliases = f", {' and '.join(found['aliases'])}" if found.get("aliases") else ""
    lines = [("digest", found["digest"]), ("version", f"{found['workload']} {version}{aliases}")]
    for move in found.get("champion", []):
        what = "became champion" if move["became"] else "champion no more"
        lines.append(("", f"{moment(move['when'])}  {what}, by {move['kind']} {move['run']}".rstrip()))
    lines += [("archive", stored(found["archive"])), ("run", str(found.get("run") or "unknown"))]
    if found.get("metric") in found.get("metrics", {}):
        lines.append((label(found["metric"]), span(found["metrics"][found["metric"]])))
        lines.append(("won against", won(found)))
    lines += [
        ("code", _code(found)),
        ("data", f"fingerprint {data['fingerprint']}"),
        ("", f"{rows['train'] or 'unknown'} rows learned from, {rows['holdout'] or 'unknown'} held out"),
        ("", f"source {data.get('source') or 'unknown'}, as of {moment(data.get('as_of'))}"),
        ("", f"split {data['split_rule'] or 'unknown'}"),
        ("", f"rows at {found.get('rows_at') or 'no place on this machine'}"),
        ("parameters", _pairs(found["parameters"])),
        ("libraries", _pairs(found["libraries"])),
    ]
    lines += [("report", found["report"])] if found.get("report") else []
    for name, words in lines:
        print(f"{name:<12} {words}")


def _code(found: dict[str, Any]) -> str:
    commit, here = found["commit"], found["code_is_here"]
    where = f"commit {commit}" if commit else "in no commit that is known here"
    same = "" if here is None else f", {'the same as' if here else 'another one than'} in this checkout"
    return f"{where}{same} (digest {str(found['code'])[:12]})"


def _pairs(values: dict[str, Any] | None) -> str:
    return " ".join(f"{name}={value}" for name, value in (values or {}).items()) or "unknown"


def main(argv: list[str] | None = None) -> int:
    """Trace and print; returns the exit code."""
    parser = command_line.create_parser("trace", __doc__)
    parser.add_argument("digest", metavar="DIGEST", help="from an answer's header x-model-version")
    arguments = parser.parse_args(argv)
    return command_line.print_result(
        arguments, lambda: trace(arguments.digest, command_line.read_settings(arguments)), _show
    )


if __name__ == "__main__":
    sys.exit(main())
