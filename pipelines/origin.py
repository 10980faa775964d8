"""Where a registered version comes from: its run, its data, its code, its parameters, and what it won."""

from __future__ import annotations

import json
from typing import Any

from adapters.object_store import ObjectStore
from adapters.registry import Registry, Version

from .contents import contents
from .prune import PRUNED


def origin(version: Version, registry: Registry, store: ObjectStore) -> dict[str, Any]:
    """Return what archive, registry and judgement tell of a version; what is not known is None.

    The judgement is the `evaluation.json` of the MLflow run that registered the version; the rows it
    learned from stand in its archive, or in the tag that pruning has left in its place.
    """
    judged = (registry.read_json(version.run_id, "evaluation.json") if version.run_id else None) or {}
    pruned = json.loads(version.tags.get(PRUNED, "{}"))
    size = store.size(version.archive)
    found = contents(store, version.archive) if size is not None else None
    data = (found.data if found else {}) or pruned.get("data") or {}
    told = judged.get("data") or {}
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
        "parameters": judged.get("parameters") or (found.provenance.get("parameters") if found else None),
        "libraries": (found.libraries if found else {}) or pruned.get("libraries"),
        "metric": (judged.get("rule") or {}).get("metric"),
        "metrics": judged.get("metrics") or {},
        "against": _against(judged),
        "reasons": judged.get("reasons"),
        "archive": {
            "key": version.archive,
            "bytes": size,
            "intact": found and not found.trouble and found.digest == version.digest,
            "trouble": (found.trouble or None) if found else None,
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
