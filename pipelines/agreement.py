"""Whether endpoint and registry say the same, and the command that mends it when they do not."""

from __future__ import annotations

from typing import Any

from adapters.registry import Version
from components.settings import Settings

from .served import Serving
from .verbs import again


def agreement(name: str, champion: Version | None, serving: Serving, settings: Settings) -> dict[str, Any]:
    """Return `agree` (None while a rollout is under way), what is wrong in words, and what mends it."""
    if serving.on_trial(name):
        trial = f"a rollout is under way: {str(serving.digest(name))[:12]} is on trial, for a minute at most"
        return {"agree": None, "trouble": trial, "mend": None}
    served = serving.digest(name)
    if champion is None and served is None:
        return {"agree": True, "trouble": None, "mend": None}
    if champion is None:
        return {
            "agree": False,
            "trouble": f"{str(served)[:12]} is served, but the registry has no champion",
            "mend": again("pipelines.run", settings, "--workload", name, "--set", "force=true"),
        }
    if served == champion.digest:
        if serving.running:
            return {"agree": True, "trouble": None, "mend": None}
        return {
            "agree": True,
            "trouble": "no server runs, so nothing answers",
            "mend": again("serving", settings, "start"),
        }
    return {
        "agree": False,
        "trouble": _difference(name, served, champion, serving),
        "mend": again("pipelines.rollback", settings, "--workload", name, "--to", champion.version),
    }


def _difference(name: str, served: str | None, champion: Version, serving: Serving) -> str:
    says = f"the registry's champion is version {champion.version} ({champion.digest[:12]})"
    if served:
        return f"{says}, but {served[:12]} is served"
    row = serving.models.get(name, {})
    if row.get("state") == "UNAVAILABLE":
        return f"{says}, but nothing answers: {row.get('reason')}"
    return f"{says}, but nothing is served under this name"
