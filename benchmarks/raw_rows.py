"""Read the raw rows of a workload, as the step prep-data does."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from continuous_training.adapters.downloader import Downloader
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from workloads.contract import LoadContext, Values, Workload
from workloads.former_load import load_rows

CACHE = Path(".state/cache")


def read_raw_rows(
    workload: Workload, source: str, values: Values, cache: Path = CACHE, progress: Progress = report
) -> pa.Table:
    """Return all rows of `source`. `cache` is the folder for copies of remote files."""
    context = LoadContext(Downloader(cache, progress).fetch, progress)
    return pa.Table.from_batches([rows.batch for rows in load_rows(workload, source, values, context)])
