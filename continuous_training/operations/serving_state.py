"""What is served, by the server of a state folder or on a cluster, and whether the registry says the same.

It looks and starts nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.core.errors import UserError
from continuous_training.core.settings import Settings
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.server_state import RunningServer
from pipelines.command_line import again


@dataclass(frozen=True)
class Serving:
    """`running` is None when no server lives; `models` are its rows, `confirmed` what a restart loads."""

    running: RunningServer | None
    models: dict[str, dict[str, Any]]
    confirmed: dict[str, dict[str, str]]

    @property
    def alive(self) -> bool:
        """Tell whether there is a server."""
        return self.running is not None

    def server(self) -> dict[str, Any] | None:
        """Return where the server is, in words for a person and for `--json`; None when there is none."""
        running = self.running
        if running is None:
            return None
        return {"url": running.url, "pid": running.pid, "started": running.started}

    def digest(self, name: str) -> str | None:
        """Return the digest that answers for a name, or will after a start; None for none."""
        if self.alive:
            return self.models.get(name, {}).get("digest")
        return self.confirmed.get(name, {}).get("digest")

    def on_trial(self, name: str) -> bool:
        """Tell whether a version is on probation: a rollout is under way."""
        return self.models.get(name, {}).get("phase") == "probation"

    def url(self, name: str) -> str | None:
        """Return the endpoint's address when it answers."""
        return f"{self.running.url}/predict/{name}" if self.running and self.digest(name) else None

    def digests(self) -> set[str]:
        """Return every digest that is served, stands ready behind one that is, or will be loaded again."""
        rows = [*self.models.values(), *self.confirmed.values()]
        return {row[key] for row in rows for key in ("digest", "former") if row.get(key)}


def look(settings: Settings) -> Serving:
    """Return what is served; UserError when what a restart would load cannot be read.

    On a cluster TransientError when it cannot be reached.
    """
    if settings.target != "local":
        from continuous_training.operations.serving_state_kubernetes import look_at_cluster

        return look_at_cluster(settings)
    state = settings.state
    running = daemon.status(state)
    rows = [model.to_json() for model in ServerClient(running).models()] if running else []
    return Serving(running, {row["name"]: row for row in rows}, _confirmed(state / "serving" / "models.json"))


def _confirmed(path: Path) -> dict[str, dict[str, str]]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: {key: str(row[key]) for key in ("archive", "digest")} for name, row in found.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read ({error!r}), so it is unknown what is served after a restart; "
            "the next rollout writes it anew"
        ) from None


def agreement(
    name: str, champion: ModelVersion | None, serving: Serving, settings: Settings
) -> dict[str, Any]:
    """Return `agree` (None while a rollout is under way), what is wrong in words, and what mends it."""
    served = serving.digest(name)
    if serving.on_trial(name):
        trial = f"a rollout is under way: {str(served)[:12]} is on trial, for a minute at most"
        return _found(None, trial)
    if champion is None:
        if served is None:
            return _found(True)
        run = again("pipelines.run", settings, "--workload", name, "--set", "force=true")
        return _found(False, f"{served[:12]} is served, but the registry has no champion", run)
    if served != champion.digest:
        serve = again("pipelines.rollback", settings, "--workload", name, "--to", champion.version)
        return _found(False, _difference(name, champion, serving), serve)
    if not serving.alive:
        start = f"python -m serving start --state {settings.state}"
        return _found(True, "no server runs, so nothing answers", start)
    return _found(True)


def _found(agree: bool | None, trouble: str | None = None, mend: str | None = None) -> dict[str, Any]:
    return {"agree": agree, "trouble": trouble, "mend": mend}


def _difference(name: str, champion: ModelVersion, serving: Serving) -> str:
    says = f"the registry's champion is version {champion.version} ({champion.digest[:12]})"
    if served := serving.digest(name):
        return f"{says}, but {served[:12]} is served"
    row = serving.models.get(name, {})
    if row.get("state") == "UNAVAILABLE":
        return f"{says}, but nothing answers: {row.get('reason')}"
    return f"{says}, but nothing is served under this name"
