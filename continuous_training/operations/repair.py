"""Serving the champion again where the endpoint has lost it."""

from __future__ import annotations

from continuous_training.adapters.model_registry import Registry
from continuous_training.core.messages import report
from continuous_training.core.settings import Settings
from continuous_training.operations.rollback import roll_back
from continuous_training.operations.workspace import existing_registry


def serve_champion(name: str, settings: Settings) -> str | None:
    """Serve the registry's champion, proven by its golden requests; returns its address.

    None when there is no champion. PipelineError when it cannot be served.
    """
    with existing_registry(settings) as registry:
        champion = _champion(registry, name)
    if champion is None:
        return None
    report(f"{name}: nothing is served; champion {champion} is served again")
    result = roll_back(name, champion, "the endpoint had lost it", "pipelines.run", settings)
    endpoint: str | None = result["endpoint"]
    return endpoint


def _champion(registry: Registry | None, name: str) -> str | None:
    version = registry.champion(name) if registry else None
    return version.version if version else None
