"""The versions that are served, and whether the registry agrees."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.core.json_object import Json
from continuous_training.core.settings import Settings
from continuous_training.operations.workspace import next_command
from continuous_training.serving.models.model_status import UNAVAILABLE, ModelStatus
from continuous_training.serving.models.persisted_versions import PersistedVersion
from continuous_training.serving.process.state_files import RunningServer


@dataclass(frozen=True)
class ServerAddress:
    """Where the servers are. A cluster has no single process: `pid` and `started` are None."""

    url: str
    pid: int | None = None
    started: str | None = None

    def to_json(self) -> Json:
        """Return the three fields."""
        return {"url": self.url, "pid": self.pid, "started": self.started}


@dataclass(frozen=True)
class ServingState:
    """The server of a state directory and its models.

    `running` is None if no server runs. `models` are the models of the running server by name, and
    `persisted` the versions that a restart loads. `problem` states why those are unknown, if they are.
    """

    running: RunningServer | None
    models: Mapping[str, ModelStatus]
    persisted: Mapping[str, PersistedVersion]
    problem: str | None = field(default=None, kw_only=True)

    @property
    def is_running(self) -> bool:
        """Whether a server runs."""
        return self.running is not None

    def server(self) -> ServerAddress | None:
        """Return the server's address, or None if no server runs."""
        running = self.running
        return ServerAddress(running.url, running.pid, running.started) if running else None

    def digest(self, name: str) -> str | None:
        """Return the digest that is served under a name, or that a restart loads. None if there is none."""
        if self.is_running:
            return self.models[name].digest if name in self.models else None
        return self.persisted[name].digest if name in self.persisted else None

    def on_trial(self, name: str) -> bool:
        """Return whether the served version is on trial, which means that a rollout is in progress."""
        return name in self.models and self.models[name].on_trial

    def url(self, name: str) -> str | None:
        """Return the address of the endpoint, or None if it does not answer."""
        return f"{self.running.url}/predict/{name}" if self.running and self.digest(name) else None

    def digests(self) -> set[str]:
        """Return every digest that is served, kept for a revert of a trial, or loaded by a restart."""
        models = self.models.values()
        served = {digest for model in models for digest in (model.digest, model.previous_digest) if digest}
        return served | {version.digest for version in self.persisted.values()}


@dataclass(frozen=True)
class ClusterServingState(ServingState):
    """The versions that a namespace serves. `addresses` are those inside the cluster."""

    addresses: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""

    @property
    def is_running(self) -> bool:
        """Always true: the API server of the cluster has responded."""
        return True

    def server(self) -> ServerAddress | None:
        """Return the namespace of the servers."""
        return ServerAddress(f"the cluster, namespace {self.namespace}")

    def url(self, name: str) -> str | None:
        """Return the address of the endpoint inside the cluster."""
        return self.addresses.get(name)


@dataclass(frozen=True)
class Agreement:
    """Whether endpoint and registry agree: None during a rollout, or if the registry is unreachable.

    `problem` describes the difference, and `remedy` is the shell command that corrects it.
    """

    agree: bool | None
    problem: str | None = None
    remedy: str | None = None

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        return {"agree": self.agree, "trouble": self.problem, "mend": self.remedy}


def check_agreement(
    name: str,
    champion: ModelVersion | None,
    serving: ServingState,
    settings: Settings,
    candidates: Sequence[ModelVersion] = (),
    promoted: str | None = None,
) -> Agreement:
    """Compare the served version of a workload with the registry's champion.

    `candidates` are the versions that can become the champion again if there is none, the best one first.
    `promoted` is the id of the last run that promoted a version according to the store, or None.
    """
    served = serving.digest(name)
    if serving.on_trial(name):
        digest = str(served)[:12]
        return Agreement(None, f"a rollout is in progress: {digest} is on trial, for at most a minute")
    if champion is None:
        if served is None:
            return Agreement(True)
        problem = f"{served[:12]} is served, but the registry has no champion"
        if promoted and not candidates:
            # A run would be rejected: it cannot compare its model with the champion that was lost.
            lost = f"run {promoted} promoted a version that the registry does not contain"
            return Agreement(False, f"{problem}, and {lost}: restore the registry")
        return Agreement(False, problem, _without_champion(name, served, candidates, settings))
    if served != champion.digest:
        remedy = next_command("pipelines.rollback", settings, "--workload", name, "--to", champion.version)
        return Agreement(False, _difference(name, champion, serving), remedy)
    if not serving.is_running:
        remedy = shlex.join(["python", "-m", "serving", "start", "--state", str(settings.state)])
        return Agreement(True, "no server runs, so the endpoint does not answer", remedy)
    return Agreement(True)


def _without_champion(name: str, served: str, candidates: Sequence[ModelVersion], settings: Settings) -> str:
    """Return the command that makes an earlier champion the champion again, or promotes a first one."""
    if not candidates:
        return next_command("pipelines.run", settings, "--workload", name, "--set", "force=true")
    version = next((version for version in candidates if version.digest == served), candidates[0])
    return next_command("pipelines.rollback", settings, "--workload", name, "--to", version.version)


def _difference(name: str, champion: ModelVersion, serving: ServingState) -> str:
    expected = f"the registry's champion is version {champion.version} ({champion.digest[:12]})"
    if served := serving.digest(name):
        return f"{expected}, but {served[:12]} is served"
    model = serving.models.get(name)
    if model and model.state == UNAVAILABLE:
        return f"{expected}, but the endpoint does not answer: {model.reason}"
    return f"{expected}, but no version is served under this name"
