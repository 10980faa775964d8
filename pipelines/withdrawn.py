"""What the records say of a recipe whose version was rolled back: it stays judged, and is served no more."""

from __future__ import annotations

from adapters.records import Records
from adapters.registry import Version

VERDICT = "promoted (and since rolled back)"
_SERVED = ("version", "digest", "endpoint")


def withdraw(records: Records, version: Version, run: str) -> None:
    """Remember that the version's recipe was carried through and rolled back, so that no run repeats it.

    A run on the same data with the same parameters says so and stops; it names no version as served.
    """
    recipe = version.tags["recipe"]
    judged = records.judged(recipe) or {
        "run": version.tags["pipeline_run"],
        "recipe": recipe,
        "version": version.version,
        "digest": version.digest,
    }
    if "withdrawn" in judged:
        return
    served = {key: judged.pop(key) for key in _SERVED if key in judged}
    records.settle(recipe, {**judged, "verdict": VERDICT, "withdrawn": {"run": run, **served}})


def restore(records: Records, version: Version) -> None:
    """Remember that the version's recipe is served again; nothing happens when it was not withdrawn."""
    judged = records.judged(version.tags["recipe"])
    if judged and "withdrawn" in judged:
        served = judged.pop("withdrawn")
        kept = {key: served[key] for key in _SERVED if key in served}
        records.settle(version.tags["recipe"], {**judged, **kept, "verdict": "promoted"})
