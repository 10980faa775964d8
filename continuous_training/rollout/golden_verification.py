"""Verification of golden requests during a rollout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError

SHOWN_FAILURES = 3


def read_golden_set(archive: Path) -> GoldenSet:
    """Return the golden requests that an archive contains."""
    return read_manifest(archive).golden


def verify(golden: GoldenSet, predict: Callable[[Any], Any], error: type[PipelineError]) -> None:
    """Send the golden requests with `predict`; raises an `error` if a response is incorrect."""
    if failures := golden.check(predict):
        raise error(describe_failures(failures))


def describe_failures(failures: list[str]) -> str:
    """Return one message for the failures; it includes the first three."""
    return "its golden requests failed: " + "; ".join(failures[:SHOWN_FAILURES])
