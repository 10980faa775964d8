"""What is served, by the server of a state folder or on a cluster, and whether the registry says the same.

It looks and starts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.core.settings import Settings
from continuous_training.operations.workspace import next_command
from continuous_training.serving.process.server_state import RunningServer


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


@dataclass(frozen=True)
class ClusterServing(Serving):
    """The same for a namespace; `addresses` are those inside the cluster."""

    addresses: dict[str, str] = field(default_factory=dict)
    namespace: str = ""

    @property
    def alive(self) -> bool:
        """A cluster that has answered is there."""
        return True

    def server(self) -> dict[str, Any] | None:
        """Return where the servers are; they have no one process."""
        return {"url": f"the cluster, namespace {self.namespace}", "pid": None, "started": None}

    def url(self, name: str) -> str | None:
        """Return the endpoint's address inside the cluster."""
        return self.addresses.get(name)


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
        run = next_command("pipelines.run", settings, "--workload", name, "--set", "force=true")
        return _found(False, f"{served[:12]} is served, but the registry has no champion", run)
    if served != champion.digest:
        serve = next_command("pipelines.rollback", settings, "--workload", name, "--to", champion.version)
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
