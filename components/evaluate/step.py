"""evaluate: compare challenger and champion on the same holdout rows, and decide on the promotion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from components.run_context import RunContext
from continuous_training.artifacts.checksums import verify_checksums, write_checksums
from continuous_training.artifacts.dataset import Dataset
from continuous_training.artifacts.evaluation import Evaluation
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.core.digest import digest_of_folder
from continuous_training.core.errors import UserError
from continuous_training.core.files import new_folder, plain, to_json
from continuous_training.evaluation.check import Check, note
from continuous_training.evaluation.comparison import Comparison, compare, primary_metric
from continuous_training.evaluation.gate import Decision, decide, promote_same_model
from continuous_training.evaluation.predictions import Predictions, non_finite_responses
from continuous_training.evaluation.promotion_rule import PromotionRule
from continuous_training.report.model_card import render_card
from continuous_training.report.page import render_report
from continuous_training.serving.models.model import Model, load_model
from workloads.contract import Workload

from .absent_champion import retirement_notes
from .acceptance import acceptance_notes, accepts_comparison
from .champion import Champion, open_champion
from .holdout import Holdout
from .inference import golden_requests, output_validator, predict_rows, serving_costs, slice_masks
from .population import compare_population
from .records import build_evaluation, build_report_data
from .request_path import request_difference
from .seen_rows import count_seen_rows, split_notes
from .tracking import CARD, EVALUATION, GOLDEN, REPORT, log_evaluation


@dataclass(frozen=True)
class EvaluationResult:
    """The stored evaluation with its decision and predictions, and the other files of the step.

    `golden` are the golden requests with the challenger's answers.
    """

    evaluation: Evaluation
    decision: Decision
    predictions: Predictions
    golden: GoldenSet
    report: str
    card: str

    @property
    def promoted(self) -> bool:
        """Whether the challenger may be served."""
        return self.decision.promoted


def run(context: RunContext, data: Path, model: Path, output: Path) -> EvaluationResult:
    """Evaluate the bundle in `model` on the holdout of `data`, and write the result to `output`.

    The result is also logged to the registry, whether the model is promoted or rejected. Raises UserError if
    data and model do not belong together, or if the champion cannot be loaded.
    """
    verify_checksums(model, "train")
    dataset, challenger = Dataset.open(data), load_model(model)
    _check_inputs(context.workload, dataset, challenger, data, model)
    result = evaluate(context, dataset, challenger, digest_of_folder(model))
    challenger.unload()
    with new_folder(output, EVALUATION) as folder:
        (folder / EVALUATION).write_text(to_json(result.evaluation.to_json()), encoding="utf-8")
        (folder / GOLDEN).write_text(to_json(result.golden.to_json()), encoding="utf-8")
        (folder / REPORT).write_text(result.report, encoding="utf-8")
        (folder / CARD).write_text(result.card, encoding="utf-8")
        write_checksums(folder)
    log_evaluation(context, dataset, result.evaluation, result.report, result.card)
    return result


def _check_inputs(workload: Workload, dataset: Dataset, challenger: Model, data: Path, model: Path) -> None:
    for folder, name in ((data, dataset.workload), (model, challenger.name)):
        if name != workload.name:
            raise UserError(f"{folder} belongs to the workload {name}, not to {workload.name}")
    training = challenger.metadata.require_training(model)
    if training.prepared_input_digest != dataset.manifest.input_digest:
        raise UserError(f"the model in {model} was trained on other data than {data}; run train first")


def evaluate(
    context: RunContext, dataset: Dataset, challenger: Model, model_digest: str, *notes: Check
) -> EvaluationResult:
    """Return the evaluation of a model against the current champion.

    `model_digest` is the digest of the model's bundle. `notes` are added to the decision. Nothing is written,
    except that the MLflow run is created.
    """
    workload = context.workload
    values = dataset.parameters_of(workload.parameters(), workload.parse, {})
    rule = workload.rule_of(values)
    primary_metric(rule, workload.task)
    holdout = Holdout(dataset.rows("holdout"))
    golden = golden_requests(workload, challenger, holdout)
    with open_champion(context) as champion:
        groups = _groups(dataset.manifest.split, holdout)
        predictions, comparison = _compare(context, rule, holdout, groups, challenger, champion, golden)
        comparison = replace(
            comparison,
            population=compare_population(context, rule, dataset, champion, comparison),
            accepted=str(values["accept"]),
        )
        comparison = replace(
            comparison, accepts_comparison=accepts_comparison(context, comparison, challenger)
        )
        seen_rows = count_seen_rows(champion.training_data, dataset.manifest, holdout) if champion else 0
        decision = _decide(rule, comparison, dataset, champion, seen_rows, model_digest).with_notes(*notes)
        if champion is None:
            decision = decision.with_notes(*retirement_notes(context))
        evaluation = build_evaluation(
            context, rule, dataset, challenger, model_digest, comparison, decision, champion, seen_rows
        )
        data = build_report_data(
            workload, dataset, holdout, challenger, evaluation, decision, predictions, champion
        )
    context.progress("rendering the report")
    # A model with NaN in a response is rejected above. Its golden requests are stored for people to read.
    golden = GoldenSet.from_json(plain(golden.to_json()))
    card = render_card(data, workload.intended, workload.limits, golden.requests[0])
    return EvaluationResult(evaluation, decision, predictions, golden, render_report(data), card)


def _compare(
    context: RunContext,
    rule: PromotionRule,
    holdout: Holdout,
    groups: np.ndarray | None,
    challenger: Model,
    champion: Champion | None,
    golden: GoldenSet,
) -> tuple[Predictions, Comparison]:
    """Return both models' predictions on the holdout, and their comparison.

    Raises UserError if the challenger's outputs differ from their declaration.
    """
    workload, validator = context.workload, output_validator(challenger)
    opponent = f"version {champion.version.version}" if champion else "the floors; there is no champion yet"
    context.progress(f"evaluating on {holdout.num_rows:,} holdout rows against {opponent}")
    predictions = Predictions(
        actual=holdout.values(workload.target),
        challenger=predict_rows(workload, challenger, holdout, validator),
        champion=predict_rows(workload, champion.model, holdout) if champion else None,
        groups=groups,
    )
    comparison = compare(
        rule,
        workload.task,
        predictions,
        slice_masks(workload, holdout),
        serving_costs(rule, challenger, champion.model if champion else None, golden),
        champion.version.version if champion else None,
        [*validator.non_finite(), *non_finite_responses([pair.response for pair in golden])],
        request_difference(workload, challenger, holdout),
        workload.column(workload.target).values,
    )
    return predictions, comparison


def _groups(split: SplitRule | None, holdout: Holdout) -> np.ndarray | None:
    """Return the number of each row's group; None if the split is not by group."""
    if split is None or split.kind != "group":
        return None
    return np.asarray(pc.rank(holdout.columns(split.column)[split.column], tiebreaker="dense")) - 1


def _decide(
    rule: PromotionRule,
    comparison: Comparison,
    dataset: Dataset,
    champion: Champion | None,
    seen_rows: int,
    model_digest: str,
) -> Decision:
    """Return the gate's decision, with notes on the data.

    `seen_rows` is the number of holdout rows that the champion may have been trained on.
    """
    decision = decide(rule, comparison).with_notes(*acceptance_notes(rule, comparison))
    if champion:
        version = champion.version.version
        notes = split_notes(champion.training_data, version, seen_rows, dataset.manifest)
        decision = decision.with_notes(*notes)
        if champion.version.tags.get("model_digest") == model_digest:
            # An earlier run died after it promoted this model. Its remaining steps are done now.
            decision = promote_same_model(version)
    if dataset.sample:
        text = "the rows are a sample that comes with the code, so the result is only a trial"
        decision = decision.with_notes(note("sample data", text))
    return decision
