"""How far the newest run's data has moved from the data that the champion was trained on."""

from __future__ import annotations

from typing import Any

from continuous_training.adapters.run_history import Record
from continuous_training.evaluation.drift import column_drift


def drift_since(
    learned: dict[str, Any] | None, fingerprint: str | None, latest: Record | None
) -> dict[str, Any]:
    """Return the newest run's data and the columns that moved, the farthest first.

    `learned` are the statistics of the champion's training rows, `fingerprint` that of its whole data set,
    `latest` the newest run's words on its own. `unknown` says why there is nothing to compare, or is None.
    The index of a column is the population stability index, as in the report; `chance` is what two samples
    of these sizes show without any change, `p` how often a test finds as much of it by chance.
    """
    if latest is None:
        return {"unknown": "no run has recorded its data yet; the next one does"}
    seen = {key: latest.get(key) for key in ("run", "when", "as_of", "source", "rows")}
    seen["same_data"] = latest["fingerprint"] == fingerprint
    if not learned:
        return {**seen, "unknown": "the statistics of the rows that the champion learned from are not known"}
    found = column_drift(latest["statistics"], learned)
    columns = [
        {
            "column": one.column,
            "index": one.psi,
            "chance": one.chance,
            "test": one.test,
            "p": one.p,
            "word": one.level,
            "mean_then": one.old_mean,
            "mean_now": one.new_mean,
        }
        for one in found
    ]
    compared = {one.column for one in found}
    left = sorted(latest["statistics"].keys() - compared)
    return {**seen, "unknown": None, "columns": columns, "not_compared": left}
