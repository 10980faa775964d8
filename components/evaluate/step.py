"""evaluate: challenger and champion on the same holdout rows, and the gate's verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from adapters.errors import UserError
from adapters.object_store import ObjectStore
from adapters.records import Records
from adapters.registry import Registry, Version
from components.dataset import Dataset
from components.files import digest_of_folder, new_folder, plain, to_json
from components.report.card import render_card
from components.report.drift import drift
from components.report.facts import Facts
from components.report.page import render
from serving.model import Model, load_model
from workloads.contract import Progress, Workload

from .champion import open_champion
from .gate import Verdict
from .judging import SEED, Judgement, judge_models
from .mistakes import worst
from .scores import CONFIDENCE, RESAMPLES

DESCRIPTION, GOLDEN, REPORT, CARD = "evaluation.json", "golden.json", "report.html", "card.md"
GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Evaluation:
    """What evaluate came to: the description that it wrote, and the judgement behind it."""

    description: dict[str, Any]
    judgement: Judgement

    @property
    def promoted(self) -> bool:
        """Whether the challenger may be served."""
        return bool(self.description["verdict"] == "promoted")


def run(
    workload: Workload,
    data: Path,
    model: Path,
    output: Path,
    run_id: str,
    registry: Registry,
    store: ObjectStore,
    progress: Progress = print,
) -> Evaluation:
    """Judge the bundle in `model` on the holdout of `data`; write verdict, report and golden requests.

    A rejection is a result, not an error: it is written down and remembered. Raises UserError when the
    folders do not belong together or the champion cannot be loaded.
    """
    dataset, challenger = Dataset.open(data), load_model(model)
    _check_pair(workload, dataset, challenger, data, model)
    holdout = dataset.read("holdout")
    digest = digest_of_folder(model)
    with open_champion(registry, store, workload.name) as champion:
        version = champion.version if champion else None
        against = f"version {version.version}" if version else "the floors: there is no champion yet"
        progress(f"judging on {holdout.num_rows:,} held out rows against {against}")
        judgement = judge_models(workload, holdout, challenger, champion)
        learned = champion.model.metadata["data"] if champion else None
    verdict = judgement.verdict
    if learned and learned["split_rule"] != dataset.description["split_rule"]:
        said = f"the champion was trained under another split ({learned['split_rule']})"
        flattered = f"{said}: it may know some of these rows, which can only flatter it"
        verdict = Verdict(verdict.promoted, [*verdict.reasons, flattered])
    if version and version.tags.get("model_digest") == digest:
        # A run that died after its promotion made the champion again: what it left undone is done now.
        verdict = Verdict(True, [f"this is champion {version.version} itself, made again to the byte"])
    if dataset.sample:
        trial = "the rows are a sample that comes with the code: this is a trial, whatever the figures"
        verdict = Verdict(verdict.promoted, [*verdict.reasons, trial])
    description = _describe(workload, dataset, challenger, judgement, verdict, version)
    description |= {"run": run_id, "model_digest": digest}
    # A model that answers NaN was rejected by now; its golden requests are for people to look at.
    golden = plain(_golden(workload, holdout, challenger))
    progress("drawing the report")
    statistics = learned["statistics"] if learned else None
    description["drift"] = _drifted(dataset, statistics)
    facts = _facts(workload, dataset, holdout, challenger, judgement, description, statistics)
    report, card = render(facts), render_card(facts, workload.intended, workload.limits, golden[0])
    with new_folder(output, DESCRIPTION) as folder:
        (folder / DESCRIPTION).write_text(to_json(description), encoding="utf-8")
        (folder / GOLDEN).write_text(to_json(golden), encoding="utf-8")
        (folder / REPORT).write_text(report, encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")
    challenger.unload()
    _record(registry, Records(store, workload.name), description, report, card)
    return Evaluation(description, judgement)


def _check_pair(workload: Workload, dataset: Dataset, challenger: Model, data: Path, model: Path) -> None:
    for folder, name in ((data, dataset.workload), (model, challenger.name)):
        if name != workload.name:
            raise UserError(f"{folder} belongs to the workload {name}, not to {workload.name}")
    if challenger.metadata["recipe"] != dataset.description["recipe"]:
        raise UserError(f"the model in {model} was trained on other data than {data}; run train on it first")


def _golden(workload: Workload, holdout: pa.Table, challenger: Model) -> list[dict[str, Any]]:
    """Return requests drawn from the holdout with the challenger's answers, spread evenly over the rows."""
    step = max(1, holdout.num_rows // GOLDEN_ROWS)
    rows = [holdout.slice(i, 1) for i in range(0, holdout.num_rows, step)][:GOLDEN_ROWS]
    requests = [workload.request(row) for row in rows]
    return [{"request": request, "answer": challenger.predict(request)} for request in requests]


def _describe(
    workload: Workload,
    dataset: Dataset,
    challenger: Model,
    judgement: Judgement,
    verdict: Verdict,
    champion: Version | None,
) -> dict[str, Any]:
    """Return the evaluation as JSON-ready data; a number that is none becomes null."""
    theirs = {name: asdict(interval) for name, interval in judgement.champion_metrics.items()}
    return plain(
        {
            "workload": workload.name,
            "verdict": "promoted" if verdict.promoted else "rejected",
            "reasons": verdict.reasons,
            "rule": asdict(workload.rule),
            "metrics": {name: asdict(interval) for name, interval in judgement.metrics.items()},
            "champion": champion
            and {"version": champion.version, "digest": champion.digest, "metrics": theirs},
            "difference": judgement.difference and asdict(judgement.difference),
            "mcnemar_p": judgement.mcnemar_p,
            "bootstrap": {"confidence": CONFIDENCE, "resamples": RESAMPLES, "seed": SEED},
            "slices": {name: asdict(part) for name, part in judgement.slices.items()},
            "rows": len(judgement.actual),
            "recipe": challenger.metadata["recipe"],
            "parameters": dataset.description["parameters"] | challenger.metadata["parameters"],
            "data": {
                key: dataset.description[key] for key in ("fingerprint", "source", "as_of", "split_rule")
            }
            | {"sample": dataset.sample},
            "code": challenger.metadata["code"],
        }
    )


def _facts(
    workload: Workload,
    dataset: Dataset,
    holdout: pa.Table,
    challenger: Model,
    judgement: Judgement,
    description: dict[str, Any],
    champion_statistics: dict[str, Any] | None,
) -> Facts:
    """Return what the report shows."""
    champion = description["champion"]
    feature = workload.single_feature(dataset.parameters_of(workload, {}))
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
        difference=judgement.difference,
        slices=description["slices"],
        curve=challenger.metadata["curve"],
        notes=challenger.metadata["notes"],
        dataset=dataset.description,
        champion_statistics=champion_statistics,
        actual=judgement.actual,
        predicted=judgement.predicted,
        champion_predicted=judgement.champion_predicted,
        target=workload.target,
        feature=(feature, holdout[feature].to_numpy()) if feature else None,
        mistakes=worst(workload, holdout, challenger, judgement),
    )


def _drifted(dataset: Dataset, statistics: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return how far each column has moved since the champion's rows, the farthest first."""
    new = dataset.description["splits"]["train"]["statistics"]
    return [asdict(one) | {"word": one.word} for one in drift(new, statistics or {})]


def _record(
    registry: Registry, records: Records, description: dict[str, Any], report: str, card: str
) -> None:
    """Log the judgement as an MLflow run; a rejection settles its recipe."""
    run = registry.run(description["workload"], description["run"])
    metrics = {
        f"{name}{suffix}": interval[part]
        for name, interval in description["metrics"].items()
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        if interval[part] is not None
    }
    metrics |= {f"drift_{one['column']}": one["psi"] for one in description["drift"]}
    tags = {
        "verdict": description["verdict"],
        "reasons": "; ".join(description["reasons"]),
        "data_fingerprint": description["data"]["fingerprint"],
        "sample": str(description["data"]["sample"]).lower(),
        "code": description["code"],
        "recipe": description["recipe"],
        "model_digest": description["model_digest"],
    }
    registry.log(run, description["parameters"], metrics, tags)
    registry.log_file(run, REPORT, report.encode())
    registry.log_file(run, CARD, card.encode())
    registry.log_file(run, DESCRIPTION, to_json(description).encode())
    registry.end(run)
    if description["verdict"] == "rejected":
        brief = {key: description[key] for key in ("verdict", "reasons", "metrics", "champion", "recipe")}
        records.write_run(description["run"], brief)
        records.settle(description["recipe"], {"run": description["run"], **brief})
