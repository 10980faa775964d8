"""Inference with the current version and, while it is on trial, the previous version as a fallback."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from continuous_training.serving.errors import HandlerError, ModelNotFoundError, ModelNotReadyError
from continuous_training.serving.models.batch_inference import InferenceResult, run_batch
from continuous_training.serving.models.inference_request import InferenceRequest
from continuous_training.serving.models.versions import LoadedVersion, ServedModel, VersionUnloadedError

log = logging.getLogger(__name__)


def infer_with_fallback(
    get_served: Callable[[], ServedModel],
    requests: Sequence[InferenceRequest],
    max_rows: int = 1,
    version: str | None = None,
) -> list[InferenceResult]:
    """Run requests on the current version.

    While it is on trial, retry its failed requests on the previous version. With `version` (a digest or its
    first twelve digits), run the requests on that version and do not retry them; ModelNotFoundError if it is
    not served. `get_served` is called for the model's current state.
    """
    while True:
        served = get_served()
        try:
            if version is not None:
                return run_batch(select_version(served, version), requests, max_rows)
            results = run_batch(served.current, requests, max_rows)
        except VersionUnloadedError:
            # The version was replaced after the lookup. The next lookup returns its replacement.
            continue
        for index, result in enumerate(results):
            if isinstance(result, HandlerError):
                results[index] = _retry(served.current, get_served, requests[index], result)
        return results


def _retry(
    failed: LoadedVersion,
    get_served: Callable[[], ServedModel],
    request: InferenceRequest,
    error: HandlerError,
) -> InferenceResult:
    """Run a failed request on the fallback version. Return `error` if there is none."""
    while (fallback := _fallback_version(failed, get_served)) is not None:
        try:
            (result,) = run_batch(fallback, [request])
        except VersionUnloadedError:
            continue
        count = failed.count_fallback()
        # Log only counts that are powers of two: under load, a line per request would fill the disk.
        if count & (count - 1) == 0:
            log.warning(
                "%s: the previous version has answered %d requests", error, count, exc_info=error.__cause__
            )
        return result
    return error


def _fallback_version(failed: LoadedVersion, get_served: Callable[[], ServedModel]) -> LoadedVersion | None:
    """Return the previous version, or the current one if the failed version was replaced meanwhile."""
    try:
        served = get_served()
    except (ModelNotFoundError, ModelNotReadyError):
        return None
    return served.previous if served.current is failed else served.current


def select_version(served: ServedModel, version: str) -> LoadedVersion:
    """Return a version by its digest or the first twelve digits. ModelNotFoundError lists the versions."""
    for loaded in served.versions():
        if version in (loaded.version, loaded.digest):
            return loaded
    versions = ", ".join(loaded.version for loaded in served.versions())
    raise ModelNotFoundError(f"{served.name} has no version {version!r}; the served versions are: {versions}")
