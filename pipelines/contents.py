"""What an archive says of its own origin: data, parameters, libraries; for tracing, after it is gone too."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.errors import UserError
from adapters.object_store import ObjectStore
from components.train.step import DESCRIPTION
from serving import archive
from serving.digest import digest_file

_MOST = 64 * 1024**2


@dataclass(frozen=True)
class Contents:
    """`digest` is that of the bytes as they are now; `data` has fingerprint, rows and split rule."""

    digest: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


def contents(store: ObjectStore, key: str) -> Contents:
    """Return what the archive under `key` says; `trouble` tells why where it cannot be read."""
    with tempfile.TemporaryDirectory(prefix="contents-") as folder:
        try:
            path = store.fetch(key, Path(folder))
            digest = digest_file(path)
            manifest = archive.read_manifest(path)
            data = {k: v for k, v in _model(path)["data"].items() if k != "statistics"}
        except (UserError, zipfile.BadZipFile, KeyError, ValueError) as error:
            return Contents(trouble=str(error))
    return Contents(digest, data, dict(manifest["provenance"]), dict(manifest["libraries"]))


def _model(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as opened, opened.open(DESCRIPTION) as member:
        found = json.loads(member.read(_MOST))
    return dict(found)
