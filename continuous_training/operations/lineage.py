"""Where a version comes from: its run, its data, its code, its parameters, and what it won."""

from __future__ import annotations

import json
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts import archive
from continuous_training.artifacts.bundle import METADATA, BundleMetadata
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.digest import digest_file
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject

PRUNED = "archive_pruned"
"""The tag of a version whose archive was removed: JSON that says when, and what tracing still needs."""

_MOST = 64 * 1024**2


@dataclass(frozen=True)
class Contents:
    """What an archive says of itself; `trouble` tells why where it cannot be read.

    `digest` is that of the bytes as they are now; `data` has fingerprint, rows and split rule of the rows
    that were learned from, and `statistics` those of their columns.
    """

    digest: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    libraries: dict[str, str] = field(default_factory=dict)
    trouble: str = ""


def contents(store: ObjectStore, key: str) -> Contents:
    """Return what the archive under `key` says."""
    with tempfile.TemporaryDirectory(prefix="contents-") as folder:
        try:
            path = store.fetch(key, Path(folder))
            digest = digest_file(path)
            manifest = archive.read_manifest(path)
            data = _metadata(path).require_training(path).data.to_json()
            statistics = data.pop("statistics")
            return Contents(digest, data, statistics, dict(manifest.provenance), dict(manifest.libraries))
        except (UserError, zipfile.BadZipFile, KeyError) as error:
            return Contents(trouble=str(error))


def _metadata(path: Path) -> BundleMetadata:
    with zipfile.ZipFile(path) as opened, opened.open(METADATA) as member:
        return BundleMetadata.from_json(
            JsonObject.parse(member.read(_MOST), f"{path}: {METADATA}", ArchiveError)
        )


def origin(version: ModelVersion, registry: Registry, store: ObjectStore) -> dict[str, Any]:
    """Return what archive, registry and judgement tell of a version; what is not known is None.

    The judgement is the `evaluation.json` of the MLflow run that registered the version; the rows it
    learned from stand in its archive, or in the tag that pruning has left in its place.
    """
    judged = (registry.read_json(version.run_id, "evaluation.json") if version.run_id else None) or {}
    pruned = json.loads(version.tags.get(PRUNED, "{}"))
    size = store.size(version.archive)
    found = Contents() if size is None else contents(store, version.archive)
    data, told = found.data or pruned.get("data") or {}, judged.get("data") or {}
    return {
        "run": version.tags.get("pipeline_run"),
        "mlflow_run": version.run_id or None,
        "code": version.tags.get("code"),
        "recipe": version.tags.get("recipe"),
        "model_digest": version.tags.get("model_digest"),
        "data": {
            "fingerprint": version.tags.get("data_fingerprint"),
            "rows": {"train": data.get("rows"), "holdout": judged.get("rows")},
            "source": told.get("source"),
            "as_of": told.get("as_of"),
            "split_rule": told.get("split_rule") or data.get("split_rule"),
        },
        "statistics": found.statistics or None,
        "parameters": judged.get("parameters") or found.provenance.get("parameters"),
        "libraries": found.libraries or pruned.get("libraries"),
        "metric": (judged.get("rule") or {}).get("metric"),
        "metrics": judged.get("metrics") or {},
        "against": _against(judged),
        "reasons": judged.get("reasons"),
        "archive": {
            "key": version.archive,
            "bytes": size,
            "intact": None if size is None else found.digest == version.digest and not found.trouble,
            "trouble": found.trouble or None,
            "pruned": pruned.get("when"),
        },
    }


def _against(judged: dict[str, Any]) -> dict[str, Any] | None:
    """Return the champion that was beaten, and by how much; None for a first model."""
    champion = judged.get("champion")
    if not champion:
        return None
    return {
        "version": champion["version"],
        "digest": champion.get("digest"),
        "difference": judged.get("difference"),
    }
