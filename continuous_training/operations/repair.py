"""Serve the champion again after the endpoint has lost it."""

from __future__ import annotations

from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.operations.rollback import roll_back
from continuous_training.operations.workspace import existing_registry


def serve_champion(name: str, settings: Settings) -> str | None:
    """Serve the registry's champion after its golden requests pass, and return its address.

    Returns None if there is no champion. Raises PipelineError if the champion cannot be served.
    """
    with existing_registry(settings) as registry:
        champion = registry.champion(name) if registry else None
    if champion is None:
        return None
    report(f"{name}: the endpoint serves no version; serving champion {champion.version} again")
    result = roll_back(name, champion.version, "the endpoint had lost it", "pipelines.run", settings)
    return result.endpoint
