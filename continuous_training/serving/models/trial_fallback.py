"""Answering through the version that is served, with the former one behind it during probation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from continuous_training.serving.errors import HandlerError, NotServedError, UnavailableError
from continuous_training.serving.models.batch_inference import Result, answer_all
from continuous_training.serving.models.batch_item import Work
from continuous_training.serving.models.versions import GoneError, Loaded, Served

log = logging.getLogger(__name__)


def answer_through(
    find: Callable[[], Served], works: Sequence[Work], rows: int = 1, version: str | None = None
) -> list[Result]:
    """Do the works with the version that is served; with the former one what a probationer fails.

    Asking for one `version` (its first twelve digits, or the digest) asks that one and no other;
    NotServedError when there is no such one. Whose fault a failure is, each work's result says.
    """
    while True:
        served = find()
        try:
            if version is not None:
                return answer_all(pick(served, version), works, rows)
            results = answer_all(served.current, works, rows)
        except GoneError:
            # It was switched between finding and using it: the next look finds its successor.
            continue
        for index, result in enumerate(results):
            if isinstance(result, HandlerError):
                results[index] = _shielded(served.current, find, works[index], result)
        return results


def _shielded(loaded: Loaded, find: Callable[[], Served], work: Work, defect: HandlerError) -> Result:
    while (stand_in := _stand_in(loaded, find)) is not None:
        try:
            (result,) = answer_all(stand_in, [work])
        except GoneError:
            continue
        count = loaded.count_shielded()
        # Each at first, then ever fewer: a broken version under load would fill the disk.
        if count & (count - 1) == 0:
            log.warning("%s: %d requests shielded so far", defect, count, exc_info=defect.__cause__)
        return result
    return defect


def _stand_in(failed: Loaded, find: Callable[[], Served]) -> Loaded | None:
    """Find who may answer in its place: its former version, or the one that came since."""
    try:
        served = find()
    except (NotServedError, UnavailableError):
        return None
    return served.former if served.current is failed else served.current


def pick(served: Served, version: str) -> Loaded:
    """Find a version by its first twelve digits or its digest; NotServedError lists those that are."""
    loaded = [one for one in (served.current, served.former) if one is not None]
    for one in loaded:
        if version in (one.version, one.digest):
            return one
    versions = ", ".join(one.version for one in loaded)
    raise NotServedError(f"{served.name} has no version {version!r} here; served are: {versions}")
