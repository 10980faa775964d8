"""Count the holdout rows that the champion may have been trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from components.split_sides import TRAIN, assign_sides
from continuous_training.artifacts.bundle import TrainingData
from continuous_training.artifacts.dataset_manifest import DatasetManifest
from continuous_training.artifacts.split_rule import SplitRule
from continuous_training.evaluation.check import Check, note

from .holdout import Holdout


def count_seen_rows(champion: TrainingData, manifest: DatasetManifest, holdout: Holdout) -> int:
    """Return the number of holdout rows that may be training rows of the champion.

    These are the rows that the champion's own split assigns to the training rows. It is not known which rows
    existed when the champion was trained. If its split cannot be applied to the rows, all rows count.
    """
    if champion.split_rule == manifest.split_rule:
        return 0
    rule = champion.split or SplitRule.from_text(champion.split_rule)
    if rule is None or rule.column not in holdout.column_names:
        return int(holdout.num_rows)
    batches = holdout.column_batches(rule.column)
    return sum(int(np.count_nonzero(assign_sides(rule, batch) == TRAIN)) for batch in batches)


def split_notes(
    champion: TrainingData, version: str, seen_rows: int, manifest: DatasetManifest
) -> Iterator[Check]:
    """Yield notes on rows that the champion may have seen, or on holdout rows that have changed.

    Both models are always scored on the current rows. A champion that was trained on some of them has an
    advantage, so this can only prevent a promotion, never cause one.
    """
    rows, previous = manifest.holdout.rows, champion.holdout
    if seen_rows:
        text = (
            f"version {version} was trained with another split ({champion.split_rule or 'unknown'}), so its "
            f"training rows may include {seen_rows:,} of the {rows:,} holdout rows. Its score on them is too "
            "high: the challenger is judged too strictly, never too leniently"
        )
        yield note("rows that the champion may have seen", text)
    elif previous and previous.fingerprint != manifest.holdout.fingerprint:
        text = (
            f"they have changed since champion {version} was trained ({previous.rows} rows then, {rows} "
            "now); both models were scored on the current rows"
        )
        yield note("holdout rows", text)
