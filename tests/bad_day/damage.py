"""The files of a state directory by type, and the ways in which a file is damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

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
    "lock files": "serving/*.lock",
    "log of the model server": "serving/server.log",
    "unpacked archive of the model server": "serving/.work-*.tmp/*/*",
    "lock of rollouts": "rollouts/*.lock",
    "registry database": "mlflow/mlflow.db",
    "log of the registry": "mlflow/server.log",
    "artifact of the registry": "mlflow/artifacts/*/*/artifacts/*",
    "files of a run": "runs/*/*",
    "outputs of steps": "runs/*/artifacts/*/*/*",
}
"""The patterns of all types of files, below the state directory."""


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


DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "one bit": flip_bit,
    "truncated": truncate,
    "emptied": empty,
}


def damage_files(state: Path, pattern: str, kind: str, rng: np.random.Generator) -> list[Path]:
    """Damage every file that the pattern matches, and return their paths."""
    files = [path for path in sorted(state.glob(pattern)) if path.is_file()]
    for path in files:
        # Not a new file: another process may have this one open.
        path.write_bytes(DAMAGE[kind](path.read_bytes(), rng))
    return files
