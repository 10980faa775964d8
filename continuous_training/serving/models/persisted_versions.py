"""The versions that are confirmed, on disk, so that a restart serves them again."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

Records = dict[str, dict[str, str]]
"""By model name: the archive's absolute path and its sha256."""


class PersistedVersions:
    """Remembers the confirmed versions in one file, replaced whole at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = self._read()

    def put(self, name: str, archive: Path, digest: str) -> None:
        """Remember a version as the confirmed one of its name."""
        self._write({**self.records, name: {"archive": str(archive), "digest": digest}})

    def remove(self, name: str) -> None:
        """Forget a name; nothing happens when it is not known."""
        if name in self.records:
            self._write({key: value for key, value in self.records.items() if key != name})

    def _read(self) -> Records:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            return self._set_aside(error)
        good = isinstance(found, dict) and all(map(_is_record, found.values()))
        return found if good else self._set_aside(ValueError("not an object of archive and digest by name"))

    def _set_aside(self, error: ValueError) -> Records:
        aside = self.path.with_suffix(".unreadable")
        log.error("%s cannot be read (%s); it is kept as %s, and no model is served", self.path, error, aside)
        self.path.replace(aside)
        return {}

    def _write(self, records: Records) -> None:
        handle, beside = tempfile.mkstemp(prefix=".models-", dir=self.path.parent)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(records, stream, indent=2, sort_keys=True)
            stream.flush()
            os.fsync(stream.fileno())
        Path(beside).replace(self.path)
        self.records = records


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("archive", "digest"))
