"""Decide to which version a rollback goes, or why there is none, before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass

from continuous_training.adapters.model_registry import CHAMPION, ROLLBACK, ModelVersion, Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.settings import Settings
from continuous_training.operations.champion_history import (
    ChampionHistory,
    ChampionMove,
    read_champion_history,
)
from continuous_training.operations.lineage import PRUNED
from continuous_training.operations.serving_state import ServingState
from continuous_training.operations.workspace import next_command


@dataclass(frozen=True)
class RollbackPlan:
    """The version that is the champion now, and the version that becomes the champion.

    They are the same if only the endpoint has to be corrected. `previous` is the version to which the next
    rollback would go, and `discarded` are the versions to which no later rollback goes. `unfinished` is the
    recorded move of an interrupted rollback, which this rollback completes.
    """

    workload: str
    champion: ModelVersion | None
    version: ModelVersion
    previous: str | None
    discarded: tuple[ModelVersion, ...]
    unfinished: ChampionMove | None = None

    @property
    def moves_alias(self) -> bool:
        """Whether the registry's champion has to change."""
        return self.version != self.champion or self.unfinished is not None


def make_plan(
    registry: Registry,
    runs: RunHistory,
    name: str,
    requested: str | None,
    serving: ServingState,
    settings: Settings,
    expected: str = "",
) -> RollbackPlan:
    """Return the plan for a rollback to the `requested` version, or to the previous champion if None.

    Raises UserError if there is no previous champion, if the requested version never was the champion, or if
    the champion is not the `expected` version (empty: any).
    """
    versions = {version.version: version for version in registry.versions(name)}
    history = read_champion_history(registry.alias_history(name), registry.aliases(name).get(CHAMPION))
    unfinished = _unfinished_rollback(history, runs)
    if unfinished and requested in (None, unfinished.to_version):
        number, champion = str(unfinished.to_version), unfinished.from_version
        _check_expected_champion(name, expected, champion)
    else:
        unfinished, champion = None, history.champion
        _check_expected_champion(name, expected, champion)
        if requested:
            _check_former_champion(name, requested, history, versions, settings)
        number = requested or _previous_champion(name, history, settings)
    if number not in versions:
        raise UserError(
            f"version {number} of {name} was champion, but the registry no longer contains it; "
            "pass another version with --to"
        )
    plan = RollbackPlan(
        workload=name,
        champion=versions.get(champion or ""),
        version=versions[number],
        previous=history.previous_after_rollback(number),
        discarded=tuple(versions[v] for v in history.discarded_by_rollback(number) if v in versions),
        unfinished=unfinished,
    )
    _check_endpoint(plan, requested, serving, settings)
    return plan


def _unfinished_rollback(history: ChampionHistory, runs: RunHistory) -> ChampionMove | None:
    """Return the last move if it is a rollback without a record as a run, which is its last write."""
    last = history.last_move()
    if last and last.kind == ROLLBACK and last.run and runs.run(last.run) is None:
        return last
    return None


def _previous_champion(name: str, history: ChampionHistory, settings: Settings) -> str:
    command = next_command("pipelines.history", settings, "--workload", name)
    if history.champion is None:
        reason = (
            "its alias was removed; pass the version with --to"
            if history.moves
            else "no version was promoted"
        )
        raise UserError(f"{name} has no champion ({reason}). See its history:\n{command}")
    if history.previous is None:
        discarded = ", ".join(history.discarded_by_rollback(history.champion))
        hint = f" (rolled back before: {discarded}; --to serves one of them again)" if discarded else ""
        raise UserError(
            f"{name} has no champion before version {history.champion} to roll back to{hint}. "
            f"See its history:\n{command}"
        )
    return history.previous


def _check_expected_champion(name: str, expected: str, champion: str | None) -> None:
    """Raise UserError if another version than the expected one is the champion."""
    if expected and champion != expected:
        current = f"version {champion}" if champion else "none"
        raise UserError(
            f"version {expected} of {name} is not the champion, which is {current}: nothing was changed"
        )


def _check_former_champion(
    name: str,
    requested: str,
    history: ChampionHistory,
    versions: dict[str, ModelVersion],
    settings: Settings,
) -> None:
    """Raise UserError unless the requested version is or was the champion."""
    if requested in history.champions():
        return
    champions = ", ".join(sorted(history.champions(), key=int)) or "none"
    if requested not in versions:
        raise UserError(f"{name} has no version {requested!r}; its champions were: {champions}")
    command = next_command("pipelines.history", settings, "--workload", name)
    raise UserError(
        f"version {requested} of {name} was never promoted, so it must not be served; its champions were: "
        f"{champions}. See its history:\n{command}"
    )


def _check_endpoint(
    plan: RollbackPlan, requested: str | None, serving: ServingState, settings: Settings
) -> None:
    """Raise an error if it is not clear which version is the current one.

    This is the case while another version is on trial, or if the endpoint does not serve the champion: then a
    rollout was interrupted, and a rollback from the registry's champion could go one version too far.
    """
    name, served = plan.workload, serving.digest(plan.workload)
    if serving.on_trial(name) and served != plan.version.digest:
        raise TransientError(
            f"a rollout of {name} is in progress: {str(served)[:12]} is on trial. Try again in a minute"
        )
    if requested or plan.unfinished or plan.champion is None or served in (None, plan.champion.digest):
        return
    if serving.on_trial(name):
        # The same rollback was interrupted before the registry's alias moved.
        return
    command = next_command("pipelines.rollback", settings, "--workload", name, "--to", plan.champion.version)
    raise UserError(
        f"endpoint and registry of {name} disagree: the endpoint serves {str(served)[:12]}, and the champion "
        f"is version {plan.champion.version} ({plan.champion.digest[:12]}). Pass the version with --to. To "
        f"serve the champion:\n{command}"
    )


def check_archive(plan: RollbackPlan, store: ObjectStore, serving: ServingState) -> None:
    """Raise UserError with the reason if the version's archive is not in the object store."""
    version, current = plan.version, plan.champion
    if store.size(version.archive) is not None:
        return
    reason = "was removed by pipelines.prune" if PRUNED in version.tags else "is missing"
    champion = f"version {current.version}" if current else "none"
    served = serving.digest(plan.workload)
    endpoint = f"the endpoint serves {served[:12] if served else 'no version'}"
    raise UserError(
        f"version {version.version} of {plan.workload} cannot be served: its archive {version.archive} "
        f"{reason}. Nothing was changed: the registry's champion is {champion}, and "
        f"{endpoint if serving.is_running else 'no server runs'}. Pass another version with --to"
    )
