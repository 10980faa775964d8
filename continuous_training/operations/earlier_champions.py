"""The versions to which a workload without a champion can return."""

from __future__ import annotations

from collections.abc import Sequence

from continuous_training.adapters.model_registry import CHAMPION, ModelVersion, Registry
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.operations.champion_history import read_champion_history


def earlier_champions(registry: Registry, name: str) -> list[ModelVersion]:
    """Return the registered versions that are or were the champion, the latest champion first."""
    versions = {version.version: version for version in registry.versions(name)}
    history = read_champion_history(registry.alias_history(name), registry.aliases(name).get(CHAMPION))
    numbers = dict.fromkeys(move.to_version or "" for move in reversed(history.moves))
    return [versions[number] for number in numbers if number in versions]


def last_promotion(records: Sequence[RunRecord]) -> str | None:
    """Return the id of the last run that promoted a version, or None. `records` are the oldest first."""
    return next((record.run for record in reversed(records) if record.verdict == "promoted"), None)
