"""evaluate: challenger and champion on the same holdout rows, and the gate's verdict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.evaluate.tracking import CARD, DESCRIPTION, GOLDEN, REPORT, record
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import ObjectStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.dataset import Dataset
from continuous_training.core.errors import UserError
from continuous_training.core.files import digest_of_folder, new_folder, plain, to_json
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.evaluation.comparison import Judgement, judge_models
from continuous_training.evaluation.evaluation_record import describe, drifted, facts, notes_on_the_rows
from continuous_training.evaluation.gate import Verdict
from continuous_training.evaluation.slices import slice_ends
from continuous_training.report.model_card import render_card
from continuous_training.report.page import render
from continuous_training.serving.models.model import Model, load_model
from workloads.contract import Workload

from .champion import open_champion

GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Evaluation:
    """What evaluate came to: the description, the judgement behind it, and what people and servers get."""

    description: dict[str, Any]
    judgement: Judgement
    golden: list[dict[str, Any]]
    report: str
    card: str

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
    progress: Progress = report,
) -> Evaluation:
    """Judge the bundle in `model` on the holdout of `data`; write verdict, report and golden requests.

    A rejection is a result, not an error: it is written down and remembered. Raises UserError when the
    folders do not belong together or the champion cannot be loaded.
    """
    dataset, challenger = Dataset.open(data), load_model(model)
    for folder, name in ((data, dataset.workload), (model, challenger.name)):
        if name != workload.name:
            raise UserError(f"{folder} belongs to the workload {name}, not to {workload.name}")
    if challenger.metadata.require_training(model).prepared_input_digest != dataset.description["recipe"]:
        raise UserError(f"the model in {model} was trained on other data than {data}; run train on it first")
    judged = judge(workload, dataset, challenger, digest_of_folder(model), run_id, registry, store, progress)
    challenger.unload()
    with new_folder(output, DESCRIPTION) as folder:
        (folder / DESCRIPTION).write_text(to_json(judged.description), encoding="utf-8")
        (folder / GOLDEN).write_text(to_json(judged.golden), encoding="utf-8")
        (folder / REPORT).write_text(judged.report, encoding="utf-8")
        (folder / CARD).write_text(judged.card, encoding="utf-8")
    record(
        registry, RunHistory(store, workload.name), dataset, judged.description, judged.report, judged.card
    )
    return judged


def judge(
    workload: Workload,
    dataset: Dataset,
    challenger: Model,
    digest: str,
    run_id: str,
    registry: Registry,
    store: ObjectStore,
    progress: Progress,
    note: str = "",
) -> Evaluation:
    """Return the verdict on a model, whose bundle's digest is `digest`, against today's champion.

    `note` is told at the end of its reasons. Nothing is written but that there is an MLflow run.
    """
    holdout = dataset.read("holdout")
    rule = workload.rule_of(dataset.parameters_of(workload, {}))
    golden = [{"request": one, "answer": challenger.predict(one)} for one in _requests(workload, holdout)]
    with open_champion(registry, store, workload.name) as champion:
        version = champion.version if champion else None
        against = f"version {version.version}" if version else "the floors: there is no champion yet"
        progress(f"judging on {holdout.num_rows:,} held out rows against {against}")
        judgement = judge_models(workload, rule, holdout, challenger, champion, golden)
        learned = champion.model.metadata.require_training(champion.model.folder).data if champion else None
    verdict = judgement.verdict
    if version and learned:
        notes = notes_on_the_rows(dataset, learned, version.version)
        verdict = Verdict(verdict.promoted, [*verdict.reasons, *notes])
    if version and version.tags.get("model_digest") == digest:
        # A run that died after its promotion made the champion again: what it left undone is done now.
        verdict = Verdict(True, [f"this is champion {version.version} itself, made again to the byte"])
    if dataset.sample:
        trial = "the rows are a sample that comes with the code: this is a trial, whatever the figures"
        verdict = Verdict(verdict.promoted, [*verdict.reasons, trial])
    if note:
        verdict = Verdict(verdict.promoted, [*verdict.reasons, note])
    description = describe(workload, rule, dataset, challenger, judgement, verdict, version)
    registered = registry.run(workload.name, run_id)
    link = {"run": registered, "url": registry.run_url(workload.name, registered)}
    description |= {"run": run_id, "model_digest": digest, "registry": link}
    # A model that answers NaN was rejected by now; its golden requests are for people to look at.
    golden = plain(golden)
    progress("drawing the report")
    statistics = dict(learned.statistics) if learned else None
    for name, ends in plain(slice_ends(workload, rule, holdout, judgement)).items():
        description["slices"][name] |= ends
    description["drift"] = drifted(dataset, statistics)
    known = facts(workload, dataset, holdout, challenger, judgement, description, statistics)
    card = render_card(known, workload.intended, workload.limits, golden[0])
    return Evaluation(description, judgement, golden, render(known), card)


def _requests(workload: Workload, holdout: pa.Table) -> list[Any]:
    """Return requests drawn from the holdout, spread evenly over the rows."""
    step = max(1, holdout.num_rows // GOLDEN_ROWS)
    rows = [holdout.slice(i, 1) for i in range(0, holdout.num_rows, step)][:GOLDEN_ROWS]
    return [workload.request(row) for row in rows]
