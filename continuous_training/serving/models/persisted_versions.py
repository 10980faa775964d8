"""The confirmed versions on disk, which a server loads again after a restart."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.core.files import replace_durably
from continuous_training.core.temporary_files import temporary_file

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PersistedVersion:
    """The archive of a confirmed version: its absolute path and its SHA-256 digest."""

    archive: Path
    digest: str

    @classmethod
    def from_json(cls, value: Any, model: str) -> PersistedVersion:
        """Read a version. ValueError names the model and the damaged field."""
        if not isinstance(value, dict):
            raise ValueError(f"the entry of {model!r} is not an object")
        for field in ("archive", "digest"):
            if not isinstance(value.get(field), str):
                raise ValueError(f"the field {field!r} of {model!r} is missing or not a string")
        return cls(Path(value["archive"]), value["digest"])

    def to_json(self) -> dict[str, str]:
        """Return the version as it is stored."""
        return {"archive": str(self.archive), "digest": self.digest}


class PersistedVersions:
    """Stores the confirmed version of each model in one JSON file, which each change replaces atomically."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self.versions = self._read()

    def put(self, name: str, archive: Path, digest: str) -> None:
        """Store the confirmed version of a model."""
        self._write({**self.versions, name: PersistedVersion(archive, digest)})

    def remove(self, name: str) -> None:
        """Remove a model if it is stored."""
        if name in self.versions:
            self._write({key: version for key, version in self.versions.items() if key != name})

    def repair(self) -> None:
        """Write the file again if its content was damaged or removed."""
        with self._lock:
            if self.versions and _read_bytes(self.path) != _encode(self.versions):
                log.warning("%s was damaged: it is written again", self.path)
                self._replace(self.versions)

    def _read(self) -> dict[str, PersistedVersion]:
        try:
            stored = json.loads(self.path.read_text(encoding="utf-8"))
            if not isinstance(stored, dict):
                raise ValueError("the file is not a JSON object")
            return {name: PersistedVersion.from_json(value, name) for name, value in stored.items()}
        except FileNotFoundError:
            return {}
        except ValueError as error:
            self._move_aside(error)
            return {}

    def _move_aside(self, error: ValueError) -> None:
        backup = self.path.with_suffix(".unreadable")
        log.error("%s is damaged (%s); it is moved to %s, and no model is served", self.path, error, backup)
        self.path.replace(backup)

    def _write(self, versions: dict[str, PersistedVersion]) -> None:
        with self._lock:
            self._replace(versions)
            self.versions = versions

    def _replace(self, versions: dict[str, PersistedVersion]) -> None:
        with temporary_file(self.path, mode=0o600) as temporary:
            temporary.write_bytes(_encode(versions))
            replace_durably(temporary, self.path)


def _encode(versions: dict[str, PersistedVersion]) -> bytes:
    stored = {name: version.to_json() for name, version in versions.items()}
    return json.dumps(stored, indent=2, sort_keys=True).encode()


def _read_bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
