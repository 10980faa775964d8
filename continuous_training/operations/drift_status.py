"""The drift of the latest run's data from the champion's training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from continuous_training.artifacts.column_statistics import ColumnStatistics
from continuous_training.artifacts.measurements import ColumnDrift
from continuous_training.artifacts.run_record import DataRecord
from continuous_training.core.json_object import Json
from continuous_training.evaluation.column_histogram import ColumnHistogram, column_histogram
from continuous_training.evaluation.drift import column_drift


@dataclass(frozen=True)
class NewestData:
    """The dataset of the latest run. `same_data` is whether it is the champion's dataset."""

    run: str
    when: str
    as_of: str
    source: str
    rows: Mapping[str, int]
    same_data: bool


@dataclass(frozen=True)
class DriftSinceChampion:
    """The drift of each column, the largest index first; or in `unknown` why it is not known.

    `not_compared` are the columns of the latest data without comparable statistics. `histograms` are those of
    the compared columns, by name.
    """

    newest: NewestData | None
    unknown: str | None
    columns: tuple[ColumnDrift, ...] = ()
    not_compared: tuple[str, ...] = ()
    histograms: Mapping[str, ColumnHistogram] = field(default_factory=dict)

    def to_json(self) -> Json:
        """Return the fields under their keys in --json; those that are known only."""
        newest = vars(self.newest) if self.newest else {}
        if self.unknown is not None:
            return {**newest, "unknown": self.unknown}
        columns = [
            {
                "column": column.column,
                "index": column.psi,
                "chance": column.chance,
                "test": column.test,
                "p": column.p,
                "word": column.level,
                "mean_then": column.old_mean,
                "mean_now": column.new_mean,
                "histogram": self.histograms[column.column].to_json()
                if column.column in self.histograms
                else None,
            }
            for column in self.columns
        ]
        return {**newest, "unknown": None, "columns": columns, "not_compared": list(self.not_compared)}


def drift_since_champion(
    champion_statistics: Mapping[str, ColumnStatistics] | None,
    fingerprint: str | None,
    newest: DataRecord | None,
) -> DriftSinceChampion:
    """Compare the training data of the latest run with that of the champion.

    `champion_statistics` describes each column of the champion's training rows, `fingerprint` is that of its
    dataset, and `newest` is the record of the latest run's data.
    """
    if newest is None:
        return DriftSinceChampion(None, "no run has recorded its data yet; the next run does")
    data = NewestData(
        newest.run, newest.when, newest.as_of, newest.source, newest.rows, newest.fingerprint == fingerprint
    )
    if not champion_statistics:
        return DriftSinceChampion(data, "the statistics of the champion's training rows are not known")
    columns = tuple(column_drift(newest.statistics, champion_statistics))
    compared = {column.column for column in columns}
    not_compared = tuple(sorted(newest.statistics.keys() - compared))
    histograms = {
        name: histogram
        for name in compared
        if (histogram := column_histogram(newest.statistics[name], champion_statistics[name]))
    }
    return DriftSinceChampion(data, None, columns, not_compared, histograms)
