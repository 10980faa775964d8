"""Evaluate a transferred version on the target's rows, or take over the evaluation of the source."""

from __future__ import annotations

from dataclasses import replace

from components.evaluate.absent_champion import check_absent_champion, retirement_notes
from components.evaluate.holdout import Holdout
from components.evaluate.seen_rows import count_seen_rows
from components.evaluate.stored_archive import evaluate_archive
from components.evaluate.tracking import log_decision, log_report
from components.run_context import RunContext
from continuous_training.artifacts.bundle import TrainingData
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import Evaluation, TrackingRun
from continuous_training.core.errors import UserError
from continuous_training.evaluation.check import Check, note
from continuous_training.operations.lineage import read_metadata

from .source_version import SourceVersion
from .target_approval import with_target_approval


def evaluate_on_target(context: RunContext, source: SourceVersion, dataset: Dataset) -> Evaluation:
    """Evaluate the version on the target's holdout, against its champion, and log the result."""
    version = source.version
    training = read_metadata(source.archive).require_training(source.archive).data
    notes = [_transfer_note(source), *_seen_rows_notes(training, dataset)]
    result = evaluate_archive(
        context, dataset, source.archive, version.digest, version.tags["model_digest"], *notes
    )
    log_report(context.registry, dataset, result.evaluation, result.report, result.card)
    log_decision(context.registry, result.evaluation)
    return result.evaluation


def take_over_evaluation(context: RunContext, source: SourceVersion) -> Evaluation:
    """Log the source's evaluation as that of a first version, for a target without champion and rows.

    Raises UserError if the version was not promoted in the source, or if the target has lost a champion.
    """
    name, registry = context.workload.name, context.registry
    if registry.champion(name) is None:
        check_absent_champion(context)
    evaluation = _promoted_evaluation(source)
    run = registry.run(name, context.run_id)
    notes = [_transfer_note(source), _not_evaluated_note(), *retirement_notes(context)]
    taken_over = replace(
        evaluation,
        run=context.run_id,
        registry=TrackingRun(run, registry.run_url(name, run)),
        reasons=(*map(str, notes), *evaluation.reasons),
        parameters=with_target_approval(evaluation.parameters, context.workload, from_target=False),
        champion=None,
        difference=None,
        guards={},
        test=None,
        guard_tests={},
        mcnemar_p=None,
        champion_cost=None,
        drift=(),
        population=None,
        trigger=context.history.trigger(context.run_id),
    )
    log_decision(registry, taken_over)
    return taken_over


def _promoted_evaluation(source: SourceVersion) -> Evaluation:
    """Return the source's evaluation, which promoted the version."""
    if source.evaluation and source.evaluation.promoted:
        return source.evaluation
    problem = "was rejected there" if source.evaluation else "has no readable evaluation there"
    raise UserError(
        f"{source} {problem}, and the target has no holdout rows to evaluate it on. Pass rows with "
        "--to-data, or transfer another version with --version"
    )


def _transfer_note(source: SourceVersion) -> Check:
    return note("transferred", str(source))


def _not_evaluated_note() -> Check:
    return note(
        "not evaluated on data of the target",
        "the target has no holdout rows and no champion; these reasons are those of the source",
    )


def _seen_rows_notes(training: TrainingData, dataset: Dataset) -> list[Check]:
    """Return the note on holdout rows of the target that the version may have been trained on."""
    holdout = Holdout(dataset.rows("holdout"))
    seen = count_seen_rows(training, dataset.manifest, holdout)
    if not seen:
        return []
    text = (
        f"the version was trained with another split ({training.split_rule or 'unknown'}). If both "
        f"environments have the same rows, its training rows may include {seen:,} of the "
        f"{holdout.num_rows:,} holdout rows, and its score on them is too high"
    )
    return [note("rows that the challenger may have seen", text)]
