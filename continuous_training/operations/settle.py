"""Let the endpoint serve the registry's champion at the end of a run.

A process that is killed between the move of the alias and the end of the trial leaves an endpoint that serves
another version than the champion. docs/rollout.md describes where a run calls this, and why.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from continuous_training.adapters import model_store
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import PipelineError, UnsettledError
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.operations.earlier_champions import earlier_champions, last_promotion
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.operations.serving_state import Agreement, check_agreement
from continuous_training.operations.workspace import existing_registry, next_command
from continuous_training.rollout.alias_mirror import mirror_aliases
from continuous_training.rollout.engine import roll_out
from continuous_training.rollout.open_target import open_target


def settle(name: str, settings: Settings, run: str, progress: Progress) -> None:
    """Serve the registry's champion unless the endpoint serves it. Waits for a rollout that is in progress.

    `run` is the run that ends. Raises UnsettledError if endpoint and registry still disagree, and
    TransientError if the registry or the cluster is unreachable, or if another rollout takes too long.
    """
    with existing_registry(settings) as registry:
        if registry:
            _repair_aliases(name, registry, settings, run, progress)
        agreement = _check(name, registry, settings)
        if agreement.agree:
            return
        if registry is None:
            raise _unsettled(name, settings, agreement)
        try:
            agreement = _serve_champion(name, settings, registry, run, progress)
        except PipelineError as error:
            # While another rollout holds the lock, it is not known whether endpoint and registry disagree.
            if agreement.agree is None or isinstance(error, UnsettledError):
                raise
            raise _unsettled(name, settings, agreement, error) from error
    if agreement.agree is False:
        raise _unsettled(name, settings, agreement)


def _repair_aliases(name: str, registry: Registry, settings: Settings, run: str, progress: Progress) -> None:
    """Write the damaged alias files of the store again."""
    store = open_store(settings.store, settings.store_access)
    if damaged := model_store.damaged_aliases(store, name):
        mirror_aliases(registry, store, name, run)
        progress(f"damaged files in the object store were written again: {', '.join(damaged)}")


def _serve_champion(
    name: str, settings: Settings, registry: Registry, run: str, progress: Progress
) -> Agreement:
    """Acquire the lock, and roll the champion out if it is still not served. Return the new agreement."""
    store = open_store(settings.store, settings.store_access)
    target = open_target(settings, store, progress)
    with target.rollout_lock(name, progress):
        agreement, champion = _check(name, registry, settings), registry.champion(name)
        if agreement.agree or champion is None:
            return agreement
        progress(
            f"the endpoint of {name} does not serve the champion, version {champion.version}: serving it"
        )
        try:
            with tempfile.TemporaryDirectory(prefix="settle-") as folder:
                archive = store.fetch(champion.archive, Path(folder))
                roll_out(target, name, archive, champion.digest, lambda: None, progress)
        except PipelineError as error:
            raise _unsettled(name, settings, agreement, error) from error
        mirror_aliases(registry, store, name, run)
        return _check(name, registry, settings)


def _check(name: str, registry: Registry | None, settings: Settings) -> Agreement:
    champion = registry.champion(name) if registry else None
    if champion:
        return check_agreement(name, champion, read_serving_state(settings), settings)
    candidates = earlier_champions(registry, name) if registry else []
    records = RunHistory(open_store(settings.store, settings.store_access), name).runs()
    serving, promoted = read_serving_state(settings), last_promotion(records)
    return check_agreement(name, None, serving, settings, candidates, promoted)


def _unsettled(name: str, settings: Settings, agreement: Agreement, cause: object = "") -> UnsettledError:
    """Return the error for an endpoint that does not serve the champion, with the command for a person."""
    problem = "a version is on trial whose rollout was interrupted"
    if agreement.agree is False:
        problem = str(agreement.problem)
    reason = f", and this could not be corrected: {cause}" if cause else ""
    remedy = agreement.remedy or next_command("pipelines.status", settings, "--workload", name)
    return UnsettledError(
        f"endpoint and registry of {name} disagree: {problem}{reason}. To correct this:\n{remedy}"
    )
