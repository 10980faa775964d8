"""The files of a state directory by type, and the ways in which a file is damaged."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from continuous_training.adapters.sqlite_check import database_problem
from tests.pipelines.champions import NAME

FILES = {
    "record of a run": f"store/records/{NAME}/runs/*.json",
    "record of processed inputs": f"store/records/{NAME}/recipes/*.json",
    "record of the latest data": f"store/records/{NAME}/data.json",
    "alias file": f"store/aliases/{NAME}/*.json",
    "archive in the object store": f"store/archives/{NAME}/*.mar",
    "archive of the model server": f"archives/{NAME}-*.mar",
    "server.json": "serving/server.json",
    "port": "serving/port",
    "models.json": "serving/models.json",
    "lock of the model server": "serving/server.lock",
    "log of the model server": "serving/server.log",
    "unpacked archive of the model server": "serving/.work-*.tmp/*/*",
    "registry database": "mlflow/mlflow.db",
    "copy of the registry database": "mlflow/mlflow.db.backup*",
    "log of the registry": "mlflow/server.log",
    "artifact of the registry": "mlflow/artifacts/*/*/artifacts/*",
    "files of a run": "runs/*/*",
    "outputs of steps": "runs/*/artifacts/*/*/*",
}
"""The patterns of all types of files with a content, below the state directory."""

EMPTY_FILES = {"locks of rollouts, of the start and of the registry": "**/*.lock"}
"""The patterns of files that are always empty. Their content is ignored, so they are only filled."""

REGISTRY_VALUES = {
    "digest of an archive": rb"archive_digest([0-9a-f]{64})",
    "key of an archive": rb"archive_key(archives/[a-z]+/[0-9a-f]{64}\.mar)",
    "name of an alias": rb"(champion)",
    "history of the aliases": rb'("why": "[^"]+")',
    "name of the model": rb"(diabetes)",
    "input digest": rb"recipe([0-9a-f]{64})",
}
"""The values in the registry's database of which one bit is flipped, as the group of a pattern."""


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with one flipped bit."""
    damaged = bytearray(content)
    if damaged:
        damaged[int(rng.integers(len(damaged)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def truncate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the beginning of the content."""
    return content[: int(rng.integers(len(content)))] if content else content


def empty(_: bytes, __: np.random.Generator) -> bytes:
    """Return no content, as after a power cut."""
    return b""


def fill(_: bytes, rng: np.random.Generator) -> bytes:
    """Return random bytes."""
    return rng.bytes(100)


DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "one bit": flip_bit,
    "truncated": truncate,
    "emptied": empty,
    "filled": fill,
}

AFTER_POWER_CUT = ("truncated", "emptied")
"""The kinds of damage that a power cut causes. It also ends the model server."""

CASES = [
    *((name, kind) for name in FILES for kind in ("one bit", "truncated", "emptied")),
    *((name, "filled") for name in EMPTY_FILES),
]


def damage_files(state: Path, pattern: str, kind: str, rng: np.random.Generator) -> list[Path]:
    """Damage every file that the pattern matches. Return the paths of those whose content has changed."""
    damaged = []
    for path in sorted(state.glob(pattern)):
        if not path.is_file():
            continue
        content = path.read_bytes()
        # Not a new file: another process may have this one open.
        path.write_bytes(changed := DAMAGE[kind](content, rng))
        if changed != content:
            damaged.append(path)
    return damaged


def flip_bit_of_value(database: Path, pattern: bytes, rng: np.random.Generator) -> None:
    """Flip one bit of a value in the database. SQLite does not notice the damage."""
    content = database.read_bytes()
    places = [match.span(1) for match in re.finditer(pattern, content)]
    assert places, f"the database has no {pattern!r}"
    begin, end = places[int(rng.integers(len(places)))]
    damaged = content[:begin] + flip_bit(content[begin:end], rng) + content[end:]
    database.write_bytes(damaged)
    assert damaged != content
    assert database_problem(database, all_pages=True) is None
