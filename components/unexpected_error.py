"""The description of an unexpected error: its last line, and the line of the workload that caused it."""

from __future__ import annotations

import traceback
from pathlib import Path

_WORKLOADS = "workloads"


def describe(error: BaseException) -> str:
    """Return type and message of an error, and the line of the workload if the traceback contains one."""
    location = workload_location(error)
    return f"{type(error).__name__}: {error}" + (f" ({location})" if location else "")


def workload_location(error: BaseException) -> str:
    """Return file, line and function of the innermost call in a workload's folder; empty if there is none."""
    folder = f"/{_WORKLOADS}/"
    trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if folder in Path(frame.filename).as_posix()]
    if not frames:
        return ""
    # The modules of all workloads are in the folder itself, those of one workload in a subfolder.
    own = [frame for frame in frames if "/" in frame.filename.rpartition(folder)[2]]
    frame = (own or frames)[-1]
    return f"{_WORKLOADS}/{frame.filename.rpartition(folder)[2]}, line {frame.lineno}, in {frame.name}"
