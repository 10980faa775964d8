"""Transfer a version: copy it to the target, evaluate it there, and roll it out."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from components.evaluate.tracking import run_record_of
from components.run_context import RunContext
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.model_registry import ModelVersion, Registry
from continuous_training.adapters.notifications.notification import run_notification
from continuous_training.adapters.notifications.notifier import Notifier
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import UserError
from continuous_training.core.messages import report
from continuous_training.core.run_id import new_run_id
from continuous_training.operations.read_serving_state import read_serving_state
from continuous_training.operations.settle import settle
from continuous_training.operations.workspace import existing_registry
from workloads import discovery

from .environment import Environment
from .registration import copy_archive, register_in_target
from .result import PLANNED, UNCHANGED, TransferResult
from .source_version import SourceVersion, read_source
from .target_data import TargetData, find_target_data
from .target_evaluation import evaluate_on_target, take_over_evaluation
from .target_rollout import roll_out_version


@dataclass(frozen=True)
class TransferRequest:
    """The version to transfer (None: the champion), the address of the target's data, and the user."""

    workload: str
    version: str | None
    data: str | None
    user: str
    dry_run: bool = False


@dataclass(frozen=True)
class _Transfer:
    """A version, the target environment, and the target's state before the transfer."""

    source: SourceVersion
    target: Environment
    champion: ModelVersion | None
    data: TargetData | None

    @property
    def same_champion(self) -> bool:
        """Whether the target's champion has the same archive."""
        return self.champion is not None and self.champion.digest == self.source.version.digest

    def result(self, verdict: str, *reasons: str) -> TransferResult:
        """Return the result before anything is written."""
        version = self.source.version
        return TransferResult(
            workload=version.name,
            source=self.source.environment,
            target=self.target.name,
            version=version.version,
            digest=version.digest,
            verdict=verdict,
            reasons=reasons,
            champion=self.champion.version if self.champion else None,
            data=str(self.data) if self.data else None,
        )


def transfer(request: TransferRequest, source: Environment, target: Environment) -> TransferResult:
    """Transfer the version to the target. A repeated call completes an interrupted one.

    Raises UserError if the archive in the source is damaged, or if the target has a champion and no rows.
    """
    workload = discovery.get(request.workload)
    locations = [(side.settings.registry, side.settings.store) for side in (source, target)]
    if locations[0] == locations[1]:
        raise UserError(f"--from and --to are the same environment, {target.name}: pass another one")
    with tempfile.TemporaryDirectory(prefix="transfer-") as temporary:
        folders = [Path(temporary, name) for name in ("source", "data", "rollout")]
        for folder in folders:
            folder.mkdir()
        version = read_source(workload.name, request.version, source, folders[0])
        with target.errors(f"transfer {version}"), _open_target(request, target) as registry:
            data = find_target_data(workload, target.settings, request.data, folders[1])
            champion = registry.champion(workload.name) if registry else None
            plan = _Transfer(version, target, champion, data)
            store = open_store(target.settings.store, target.settings.store_access)
            if plan.same_champion and _is_recorded(champion, RunHistory(store, workload.name)):
                return _settle(plan, request)
            _check_data(plan)
            if request.dry_run or registry is None:
                return plan.result(PLANNED, _describe(plan))
            run = new_run_id(f"{workload.name}-transfer")
            context = RunContext(workload, run, registry, store, report, target.settings)
            context.history.write_trigger(context.run_id, RunTrigger(request.user, f"transfer of {version}"))
            return _execute(plan, context, folders[2])


def _open_target(request: TransferRequest, target: Environment) -> AbstractContextManager[Registry | None]:
    """Open the target's registry. A dry run does not create one."""
    if request.dry_run:
        return existing_registry(target.settings)
    return open_registry(*target.settings.registry_access)


def _is_recorded(champion: ModelVersion | None, history: RunHistory) -> bool:
    """Return whether the run that promoted the champion wrote its record, which is its last write."""
    run = champion.tags.get("pipeline_run") if champion else None
    return run is not None and history.run(run) is not None


def _settle(plan: _Transfer, request: TransferRequest) -> TransferResult:
    """Return the result for a version that is the target's champion. The endpoint serves it afterwards."""
    name, settings = plan.source.version.name, plan.target.settings
    if not request.dry_run:
        settle(name, settings, new_run_id(f"{name}-transfer"), report)
    number = plan.champion.version if plan.champion else ""
    return replace(
        plan.result(UNCHANGED, f"the target's champion, version {number}, has the same archive"),
        target_version=number,
        data=None,
        endpoint=read_serving_state(settings).url(name),
    )


def _check_data(plan: _Transfer) -> None:
    """Raise UserError if the target has a champion, and no rows on which the version can be compared."""
    if plan.data is None and plan.champion and not plan.same_champion:
        raise UserError(
            f"the champion is version {plan.champion.version}, and there are no holdout rows to compare with "
            "it: nothing was changed. Pass the output of prep-data of a run in the target with --to-data, a "
            "folder or an s3:// address"
        )


def _describe(plan: _Transfer) -> str:
    if plan.data is None:
        return (
            "it would be the first champion, and would not be evaluated on data of the target, because there "
            "are no holdout rows"
        )
    opponent = f"champion version {plan.champion.version}" if plan.champion else "the floors"
    return f"it would be evaluated on {plan.data} against {opponent}"


def _execute(plan: _Transfer, context: RunContext, folder: Path) -> TransferResult:
    """Copy, evaluate and register the version, and roll it out if it is promoted."""
    copy_archive(plan.source, context.store, report)
    if plan.data:
        evaluation = evaluate_on_target(context, plan.source, plan.data.dataset)
    else:
        evaluation = take_over_evaluation(context, plan.source)
    version = register_in_target(context, plan.source, evaluation)
    if evaluation.promoted:
        # A version that needs approval waits for a person instead.
        dataset = plan.data.dataset if plan.data else None
        deployed = roll_out_version(context, version, evaluation, plan.target.settings, dataset, folder)
        verdict, endpoint = deployed.verdict, deployed.endpoint
    else:
        context.history.write_run(run_record_of(evaluation))
        verdict, endpoint = evaluation.verdict, None
    _notify(context, plan.target)
    return replace(
        plan.result(verdict, *_reasons(context, evaluation)),
        target_version=version.version,
        run=context.run_id,
        endpoint=endpoint,
    )


def _reasons(context: RunContext, evaluation: Evaluation) -> tuple[str, ...]:
    record = context.history.run(context.run_id)
    return record.reasons if record else evaluation.reasons


def _notify(context: RunContext, target: Environment) -> None:
    if record := context.history.run(context.run_id):
        approve = context.next_command("pipelines.approve")
        notification = run_notification(context.workload.name, record, approve=approve)
        Notifier(target.settings.notifications).send(notification)
