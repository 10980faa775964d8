"""Trace a prediction: from the digest of a version to its run, its code, its data and its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Values
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import ChampionMove, read_champion_history
from continuous_training.operations.lineage import Lineage, StoredArchive, read_contents, read_lineage
from continuous_training.operations.source_commit import commit_of, is_current
from continuous_training.operations.workspace import existing_registry

MIN_DIGITS = 6
"""The number of digits of a digest that trace requires."""


@dataclass(frozen=True)
class SourceCode:
    """The code of a version: its digest, the commit that contains it, and whether this checkout has it."""

    digest: str | None
    commit: str | None
    is_current: bool | None


@dataclass(frozen=True)
class RegisteredTrace:
    """The origin of a registered version.

    `moves` are the moves of the alias `champion` to this version or away from it. `report` and `rows` are
    files of the version's run, None if its folder is not on this machine.
    """

    digest: str
    workload: str
    version: str
    aliases: tuple[str, ...]
    moves: tuple[ChampionMove, ...]
    lineage: Lineage
    code: SourceCode
    report: Path | None
    rows: Path | None

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {
            "digest": self.digest,
            "workload": self.workload,
            "version": self.version,
            "aliases": list(self.aliases),
            "champion": [
                {
                    "when": move.time,
                    "became": move.to_version == self.version,
                    "kind": move.kind,
                    "run": move.run,
                }
                for move in self.moves
            ],
            **self.lineage.to_json(),
            "commit": self.code.commit,
            "code_is_here": self.code.is_current,
            "report": str(self.report) if self.report else None,
            "rows_at": str(self.rows) if self.rows else None,
        }


@dataclass(frozen=True)
class UnregisteredTrace:
    """The metadata of an archive that was stored and never registered."""

    digest: str
    workload: str
    code: SourceCode
    input_digest: str | None
    fingerprint: str | None
    train_rows: int | None
    split_rule: str | None
    parameters: Values | None
    libraries: dict[str, str]
    archive: StoredArchive

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        archive = self.archive.to_json()
        del archive["pruned"]
        return {
            "digest": self.digest,
            "workload": self.workload,
            "version": None,
            "code": self.code.digest,
            "commit": self.code.commit,
            "code_is_here": self.code.is_current,
            "recipe": self.input_digest,
            "data": {
                "fingerprint": self.fingerprint,
                "rows": {"train": self.train_rows, "holdout": None},
                "split_rule": self.split_rule,
            },
            "parameters": self.parameters,
            "libraries": self.libraries,
            "archive": archive,
        }


Trace = RegisteredTrace | UnregisteredTrace


def trace(prefix: str, settings: Settings, find_folder: Callable[[str], Path | None]) -> Trace:
    """Return the origin of the version whose archive digest begins with `prefix`.

    Raises UserError if no version or several versions match. `find_folder` returns the folder of a workload's
    code, or None.
    """
    digits = prefix.strip().lower()
    if not re.fullmatch(rf"[0-9a-f]{{{MIN_DIGITS},64}}", digits):
        raise UserError(
            f"{prefix!r} is not a digest: pass {MIN_DIGITS} to 64 hexadecimal digits, for example from the "
            "header x-model-version of a response"
        )
    store = open_store(settings.store, settings.store_access)
    with existing_registry(settings) as registry:
        versions = registry.versions() if registry else []
        registered = {(v.name, v.digest): v for v in versions if "archive_digest" in v.tags}
        stored = {_split_key(key) for key in store.keys("archives") if key.endswith(".mar")}
        name, digest = _match(digits, {*registered, *stored}, settings)
        version = registered.get((name, digest))
        folder = find_folder(name)
        if registry and version:
            return _trace_registered(version, registry, store, folder, settings.state)
        return _trace_unregistered(name, digest, store, folder)


def _split_key(key: str) -> tuple[str, str]:
    """Return the workload and the digest in the key of an archive."""
    parts = key.split("/")
    return parts[1], parts[-1].removesuffix(".mar")


def _match(digits: str, candidates: set[tuple[str, str]], settings: Settings) -> tuple[str, str]:
    """Return the only workload and digest that match."""
    matches = sorted(candidate for candidate in candidates if candidate[1].startswith(digits))
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(f"{digest} ({name})" for name, digest in matches)
        raise UserError(
            f"{len(matches)} versions have digests that begin with {digits}: {names}. Pass more digits"
        )
    raise UserError(
        f"no digest of a version begins with {digits}. {len(candidates)} are known in {settings.registry} "
        f"and {settings.store}. Check the state directory, and whether this is the digest of an archive"
    )


def _source_code(folder: Path | None, digest: str | None, modules: Mapping[str, str]) -> SourceCode:
    return SourceCode(digest, commit_of(folder, digest, modules), is_current(folder, digest, modules))


def _trace_registered(
    version: ModelVersion, registry: Registry, store: ObjectStore, folder: Path | None, state: Path
) -> RegisteredTrace:
    aliases = registry.aliases(version.name)
    history = read_champion_history(registry.alias_history(version.name), aliases.get(CHAMPION))
    lineage = read_lineage(version, registry, store)
    run_folder = state / "runs" / version.tags.get("pipeline_run", "unknown")
    report = run_folder / "report.html"
    return RegisteredTrace(
        digest=version.digest,
        workload=version.name,
        version=version.version,
        aliases=tuple(sorted(alias for alias, number in aliases.items() if number == version.version)),
        moves=tuple(
            move for move in history.moves if version.version in (move.to_version, move.from_version)
        ),
        lineage=lineage,
        code=_source_code(folder, lineage.code, lineage.modules),
        report=report if report.is_file() else None,
        rows=next(run_folder.glob("artifacts/*/prep-data/data/train.parquet"), None),
    )


def _trace_unregistered(name: str, digest: str, store: ObjectStore, folder: Path | None) -> UnregisteredTrace:
    key = f"archives/{name}/{digest}.mar"
    contents = read_contents(store, key)
    intact = not contents.problem and contents.digest == digest
    data = contents.data
    return UnregisteredTrace(
        digest=digest,
        workload=name,
        code=_source_code(folder, contents.code, contents.modules),
        input_digest=contents.input_digest,
        fingerprint=data.fingerprint if data else None,
        train_rows=data.rows if data else None,
        split_rule=data.split_rule if data else None,
        parameters=contents.parameters,
        libraries=dict(contents.libraries),
        archive=StoredArchive(key, store.size(key), intact, contents.problem or None),
    )
