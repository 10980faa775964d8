"""Answering through the version that is served, with the former one behind it during probation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from continuous_training.serving.errors import HandlerError, ModelNotFoundError, ModelNotReadyError
from continuous_training.serving.models.batch_inference import InferenceResult, run_batch
from continuous_training.serving.models.inference_request import InferenceRequest
from continuous_training.serving.models.versions import LoadedVersion, ServedModel, VersionUnloadedError

log = logging.getLogger(__name__)


def infer_with_fallback(
    find: Callable[[], ServedModel],
    works: Sequence[InferenceRequest],
    rows: int = 1,
    version: str | None = None,
) -> list[InferenceResult]:
    """Do the works with the version that is served; with the former one what a probationer fails.

    Asking for one `version` (its first twelve digits, or the digest) asks that one and no other;
    ModelNotFoundError when there is no such one. Whose fault a failure is, each work's result says.
    """
    while True:
        served = find()
        try:
            if version is not None:
                return run_batch(select_version(served, version), works, rows)
            results = run_batch(served.current, works, rows)
        except VersionUnloadedError:
            # It was switched between finding and using it: the next look finds its successor.
            continue
        for index, result in enumerate(results):
            if isinstance(result, HandlerError):
                results[index] = _shielded(served.current, find, works[index], result)
        return results


def _shielded(
    loaded: LoadedVersion, find: Callable[[], ServedModel], work: InferenceRequest, defect: HandlerError
) -> InferenceResult:
    while (stand_in := _stand_in(loaded, find)) is not None:
        try:
            (result,) = run_batch(stand_in, [work])
        except VersionUnloadedError:
            continue
        count = loaded.count_fallback()
        # Each at first, then ever fewer: a broken version under load would fill the disk.
        if count & (count - 1) == 0:
            log.warning("%s: %d requests shielded so far", defect, count, exc_info=defect.__cause__)
        return result
    return defect


def _stand_in(failed: LoadedVersion, find: Callable[[], ServedModel]) -> LoadedVersion | None:
    """Find who may answer in its place: its former version, or the one that came since."""
    try:
        served = find()
    except (ModelNotFoundError, ModelNotReadyError):
        return None
    return served.previous if served.current is failed else served.current


def select_version(served: ServedModel, version: str) -> LoadedVersion:
    """Find a version by its first twelve digits or its digest; ModelNotFoundError lists those that are."""
    loaded = [one for one in (served.current, served.previous) if one is not None]
    for one in loaded:
        if version in (one.version, one.digest):
            return one
    versions = ", ".join(one.version for one in loaded)
    raise ModelNotFoundError(f"{served.name} has no version {version!r} here; served are: {versions}")
