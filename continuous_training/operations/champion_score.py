"""The champion's primary metric when it was promoted, and on the latest holdout rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.json_object import Json
from continuous_training.operations.lineage import Lineage


@dataclass(frozen=True)
class ChampionScore:
    """`today` and `run` are those of the latest run that compared a challenger with the champion, if any."""

    metric: str
    promoted: Interval
    today: Interval | None = None
    run: str | None = None

    def to_json(self) -> Json:
        """Return the fields."""
        return {
            "metric": self.metric,
            "promoted": self.promoted.to_json(),
            "today": self.today.to_json() if self.today else None,
            "run": self.run,
        }


def champion_score(version: str, lineage: Lineage, runs: Sequence[RunRecord]) -> ChampionScore | None:
    """Return the score of a champion, or None if its evaluation is not known. `runs` has the oldest first."""
    metric = lineage.metric
    if not metric or metric not in lineage.metrics:
        return None
    for record in reversed(runs):
        champion = record.champion
        if champion and champion.version == version and metric in champion.metrics:
            return ChampionScore(metric, lineage.metrics[metric], champion.metrics[metric], record.run)
    return ChampionScore(metric, lineage.metrics[metric])
