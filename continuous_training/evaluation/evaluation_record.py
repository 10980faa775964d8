"""An evaluation as data: what `evaluation.json` holds, and what the report shows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa

from continuous_training.adapters.model_registry import ModelVersion
from continuous_training.artifacts.bundle import TrainingData
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.files import plain
from continuous_training.evaluation.comparison import SEED, Judgement
from continuous_training.evaluation.drift import drift
from continuous_training.evaluation.gate import Verdict
from continuous_training.evaluation.metrics import RESAMPLES
from continuous_training.evaluation.promotion_rule import PromotionRule, is_override
from continuous_training.evaluation.worst_errors import worst
from continuous_training.report.report_data import Facts
from continuous_training.serving.models.model import Model
from workloads.contract import Workload


def describe(
    workload: Workload,
    rule: PromotionRule,
    dataset: Dataset,
    challenger: Model,
    judgement: Judgement,
    verdict: Verdict,
    champion: ModelVersion | None,
) -> dict[str, Any]:
    """Return the evaluation as JSON-ready data; a number that is none becomes null."""
    training = challenger.metadata.require_training(challenger.folder)
    theirs = {name: asdict(interval) for name, interval in judgement.champion_metrics.items()}
    evidence, against = judgement.evidence, judgement.evidence.against
    prepared = {n: v for n, v in dataset.description["parameters"].items() if not is_override(n)}
    improvements = {name: asdict(found) for name, found in against.improvements.items()} if against else {}
    return plain(
        {
            "workload": workload.name,
            "verdict": "promoted" if verdict.promoted else "rejected",
            "reasons": verdict.reasons,
            "rule": asdict(rule),
            "metrics": {name: asdict(interval) for name, interval in judgement.metrics.items()},
            "champion": champion
            and {"version": champion.version, "digest": champion.digest, "metrics": theirs},
            "difference": improvements.pop(rule.metric, None),
            "guards": improvements,
            "test": dict(zip(("name", "p"), against.test, strict=True)) if against and against.test else None,
            "mcnemar_p": judgement.mcnemar_p,
            "cost": evidence.cost and asdict(evidence.cost),
            "champion_cost": asdict(against.cost) if against and against.cost else None,
            "bootstrap": {"confidence": rule.confidence, "resamples": RESAMPLES, "seed": SEED},
            "slices": {name: asdict(part) for name, part in judgement.slices.items()},
            "rows": len(judgement.actual),
            "recipe": training.input_digest,
            "parameters": prepared | dict(training.parameters),
            "data": {
                key: dataset.description[key] for key in ("fingerprint", "source", "as_of", "split_rule")
            }
            | {"sample": dataset.sample},
            "code": training.code,
        }
    )


def facts(
    workload: Workload,
    dataset: Dataset,
    holdout: pa.Table,
    challenger: Model,
    judgement: Judgement,
    description: dict[str, Any],
    champion_statistics: dict[str, Any] | None,
) -> Facts:
    """Return what the report shows."""
    champion, against = description["champion"], judgement.evidence.against
    training = challenger.metadata.require_training(challenger.folder)
    feature = workload.single_feature(dataset.parameters_of(workload, dict(training.parameters)))
    return Facts(
        workload=workload.name,
        summary=workload.summary,
        task=workload.task,
        run=description["run"],
        verdict=description["verdict"],
        reasons=description["reasons"],
        rule=description["rule"],
        parameters=description["parameters"],
        metrics=judgement.metrics,
        champion=champion and champion | {"metrics": judgement.champion_metrics},
        difference=against.improvements[description["rule"]["metric"]] if against else None,
        slices=description["slices"],
        curve=[dict(step) for step in training.curve],
        notes=dict(training.notes),
        dataset=dataset.description,
        champion_statistics=champion_statistics,
        actual=judgement.actual,
        predicted=judgement.predicted,
        champion_predicted=judgement.champion_predicted,
        target=workload.target,
        feature=(feature, holdout[feature].to_numpy()) if feature else None,
        mistakes=worst(workload, holdout, challenger, judgement),
        registry_run=description["registry"]["run"],
    )


def drifted(dataset: Dataset, statistics: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return how far each column has moved since the champion's rows, the farthest first."""
    new = dataset.description["splits"]["train"]["statistics"]
    return [asdict(one) | {"word": one.word} for one in drift(new, statistics or {})]


def notes_on_the_rows(dataset: Dataset, learned: TrainingData, champion: str) -> list[str]:
    """Return what is to be said of a champion that was judged on other rows, or trained under another split.

    Both models are always scored on today's rows. A champion that knows some of them from its training is
    flattered, so a challenger can only be kept out by that, never let in.
    """
    rule, held = dataset.description["split_rule"], dataset.description["splits"]["holdout"]
    if learned.split_rule != rule:
        said = f"the champion was trained under another split ({learned.split_rule})"
        return [f"{said}: it may know some of these rows, which can only flatter it"]
    then = learned.holdout
    if not then or then.fingerprint == held["fingerprint"]:
        return []
    changed = f"the held out rows changed since champion {champion} was trained"
    return [f"{changed} ({then.rows} then, {held['rows']} now): both were scored on today's"]
