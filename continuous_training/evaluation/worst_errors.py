"""The mistakes that a model was surest of, as pictures: what is wrong with it, or with the labels."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from continuous_training.evaluation.comparison import Judgement
from continuous_training.report.report_data import Mistake
from continuous_training.serving.models.model import Model
from workloads.contract import Workload

MOST = 24


def worst(workload: Workload, holdout: pa.Table, challenger: Model, judgement: Judgement) -> list[Mistake]:
    """Return the surest mistakes of a classifier whose rows are pictures, the surest first; else none.

    Without a certainty they come in the rows' order.
    """
    wrong = np.flatnonzero(judgement.predicted != judgement.actual)
    if workload.task != "classification" or not len(wrong):
        return []
    rows = holdout.take(pa.array(wrong))
    pictures = workload.pictures(rows)
    if pictures is None:
        return []
    sure = _certainty(workload, challenger, rows)
    order = np.arange(len(wrong)) if sure is None else np.argsort(-sure, kind="stable")
    keys = rows[workload.key].to_pylist()
    theirs = judgement.champion_predicted
    return [
        Mistake(
            key=str(keys[place]),
            actual=str(judgement.actual[wrong[place]]),
            predicted=str(judgement.predicted[wrong[place]]),
            champion=None if theirs is None else str(theirs[wrong[place]]),
            certainty=None if sure is None else float(sure[place]),
            picture=pictures[place],
        )
        for place in order[:MOST].tolist()
    ]


def _certainty(workload: Workload, model: Model, rows: pa.Table) -> np.ndarray | None:
    """Return how sure the model is of its answer to each row; None when it does not say."""
    answered = model.infer(workload.tensors(rows)).get(workload.certainty)
    return None if answered is None else np.asarray(answered, np.float64)
