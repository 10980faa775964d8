"""The status of workloads: the served version, the champion and its lineage, and whether both agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.data_checks import DataChecks
from continuous_training.artifacts.run_record import DataRecord, RunRecord
from continuous_training.core.errors import TransientError
from continuous_training.core.json_object import Json
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import ChampionMove, read_champion_history
from continuous_training.operations.champion_score import ChampionScore, champion_score
from continuous_training.operations.drift_status import DriftSinceChampion, drift_since_champion
from continuous_training.operations.earlier_champions import earlier_champions, last_promotion
from continuous_training.operations.lineage import Lineage, read_lineage
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.operations.serving_state import (
    Agreement,
    ServerAddress,
    ServingState,
    check_agreement,
)
from continuous_training.operations.waiting_status import WaitingStatus, waiting_status
from continuous_training.operations.workspace import existing_registry, next_command
from continuous_training.serving.models.model_status import ON_TRIAL

MAX_RUNS = 5
"""The number of runs of a workload in its status, the latest first."""


@dataclass(frozen=True)
class ServedVersion:
    """The version that the server reports for a name, or that a restart loads.

    `version` is the registry's number of the digest, None if it is not registered. `reason` says why the
    model is unavailable.
    """

    version: str | None
    digest: str | None = None
    phase: str | None = None
    loaded_at: str | None = None
    archive: str | None = None
    reason: str | None = None

    @property
    def on_trial(self) -> bool:
        """Whether the version is on trial."""
        return self.phase == ON_TRIAL

    def to_json(self) -> Json:
        """Return the version, and the other fields that are known."""
        fields = ("digest", "phase", "loaded_at", "archive", "reason")
        return {
            "version": self.version,
            **{name: value for name in fields if (value := getattr(self, name))},
        }


@dataclass(frozen=True)
class ChampionStatus:
    """The champion, the move that made it the champion, its origin, and the drift of the latest data.

    `score` is its primary metric when it was promoted and today, or None if that is not known.
    """

    version: str
    digest: str
    move: ChampionMove | None
    lineage: Lineage
    drift: DriftSinceChampion
    score: ChampionScore | None = None

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        move = self.move
        return {
            "version": self.version,
            "digest": self.digest,
            "since": move.time if move else None,
            "by": {"kind": move.kind, "run": move.run, "who": move.user, "why": move.reason}
            if move
            else None,
            **self.lineage.to_json(),
            "drift": self.drift.to_json(),
            "score": self.score.to_json() if self.score else None,
        }


@dataclass(frozen=True)
class RunSummary:
    """The result of a run."""

    run: str
    ended: str
    verdict: str
    reasons: tuple[str, ...]
    version: str | None

    @classmethod
    def from_record(cls, record: RunRecord) -> RunSummary:
        """Return the summary of a run's record."""
        return cls(record.run, record.ended, record.verdict, record.reasons, record.version)

    def to_json(self) -> Json:
        """Return the five fields."""
        return {**vars(self), "reasons": list(self.reasons)}


@dataclass(frozen=True)
class WorkloadStatus:
    """The status of one workload. `previous` and `challenger` are version numbers.

    `data` are the checks of the latest run's data, or None if they are not recorded. `waiting` is the version
    that waits for approval, or None.
    """

    name: str
    endpoint: str | None
    served: ServedVersion | None
    champion: ChampionStatus | None
    previous: str | None
    challenger: str | None
    agreement: Agreement
    runs: tuple[RunSummary, ...]
    data: DataChecks | None = None
    waiting: WaitingStatus | None = None

    def to_json(self) -> Json:
        """Return the fields under their keys in --json."""
        return {
            "workload": self.name,
            "endpoint": self.endpoint,
            "served": self.served.to_json() if self.served else None,
            "champion": self.champion.to_json() if self.champion else None,
            "previous": self.previous,
            "challenger": self.challenger,
            **self.agreement.to_json(),
            "runs": [run.to_json() for run in self.runs],
            "data": self.data.to_json() if self.data else None,
            **({"waiting": self.waiting.to_json()} if self.waiting else {}),
        }


@dataclass(frozen=True)
class Status:
    """The status of one workload or of all.

    `registry_problem` is the error if the registry is unreachable. `registered` are the names of all
    workloads, and `run_command` is the shell command that starts a run.
    """

    state: str
    server: ServerAddress | None
    registry: str
    registry_problem: str | None
    registered: tuple[str, ...]
    run_command: str
    workloads: tuple[WorkloadStatus, ...]

    def to_json(self) -> Json:
        """Return the object that --json prints."""
        return {
            "state": self.state,
            "server": self.server.to_json() if self.server else None,
            "registry": {"uri": self.registry, "trouble": self.registry_problem},
            "registered": list(self.registered),
            "run": self.run_command,
            "workloads": [workload.to_json() for workload in self.workloads],
        }


def read_status(
    name: str | None,
    settings: Settings,
    registered: Sequence[str],
    check_name: Callable[[str, bool], None],
) -> Status:
    """Return the status of one workload, or of all that were ever run.

    `registered` are the names of the workloads of this checkout. `check_name(name, has_data)` raises
    UserError for an unknown workload.
    """
    store, serving = open_store(settings.store, settings.store_access), read_serving_state(settings)
    names = {*serving.models, *serving.persisted, *_recorded_workloads(store)}
    problem = None
    with ExitStack() as stack:
        registry = stack.enter_context(existing_registry(settings))
        try:
            names |= {version.name for version in registry.versions()} if registry else set()
        except TransientError as error:
            registry, problem = None, str(error)
        if name:
            check_name(name, name in names)
        reader = _StatusReader(settings, registry, problem is not None, store, serving)
        workloads = [reader.read(workload) for workload in ([name] if name else sorted(names))]
    return Status(
        state=str(settings.state),
        server=serving.server(),
        registry=settings.registry,
        registry_problem=problem,
        registered=tuple(registered),
        run_command=next_command("pipelines.run", settings, "--workload", name or "NAME"),
        workloads=tuple(workloads),
    )


def _recorded_workloads(store: ObjectStore) -> set[str]:
    return {key.split("/")[1] for key in store.keys("records")}


@dataclass(frozen=True)
class _StatusReader:
    settings: Settings
    registry: Registry | None
    registry_failed: bool
    store: ObjectStore
    serving: ServingState

    def read(self, name: str) -> WorkloadStatus:
        registry, runs = self.registry, RunHistory(self.store, name)
        records, data = runs.runs(), runs.data()
        aliases = registry.aliases(name) if registry else {}
        versions = {v.version: v for v in registry.versions(name)} if registry else {}
        champion = versions.get(aliases.get(CHAMPION, ""))
        if self.registry_failed:
            agreement = Agreement(None, "the registry is unreachable")
        else:
            candidates = earlier_champions(registry, name) if registry and champion is None else []
            promoted = last_promotion(records) if champion is None else None
            agreement = check_agreement(name, champion, self.serving, self.settings, candidates, promoted)
        return WorkloadStatus(
            name=name,
            endpoint=self.serving.url(name),
            served=self._served_version(name, versions),
            champion=self._champion_status(champion, registry, records, data)
            if champion and registry
            else None,
            previous=aliases.get(PREVIOUS),
            challenger=aliases.get(CHALLENGER),
            agreement=agreement,
            runs=tuple(RunSummary.from_record(record) for record in records[: -MAX_RUNS - 1 : -1]),
            data=data.checks if data else None,
            waiting=waiting_status(name, versions.values(), aliases, self.settings),
        )

    def _served_version(self, name: str, versions: Mapping[str, ModelVersion]) -> ServedVersion | None:
        def version_number(digest: str | None) -> str | None:
            return next((v.version for v in versions.values() if v.digest == digest), None)

        if not self.serving.is_running:
            stored = self.serving.persisted.get(name)
            if stored is None:
                return None
            return ServedVersion(version_number(stored.digest), stored.digest, archive=str(stored.archive))
        model = self.serving.models.get(name)
        if model is None:
            return None
        return ServedVersion(
            version=version_number(model.digest),
            digest=model.digest,
            phase=model.phase,
            loaded_at=model.loaded_at,
            archive=model.archive,
            reason=model.reason,
        )

    def _champion_status(
        self,
        champion: ModelVersion,
        registry: Registry,
        records: Sequence[RunRecord],
        data: DataRecord | None,
    ) -> ChampionStatus:
        history = read_champion_history(registry.alias_history(champion.name), champion.version)
        lineage = read_lineage(champion, registry, self.store)
        return ChampionStatus(
            version=champion.version,
            digest=champion.digest,
            move=history.last_move_to_champion(),
            lineage=lineage,
            drift=drift_since_champion(lineage.statistics, lineage.data.fingerprint, data),
            score=champion_score(champion.version, lineage, records),
        )
