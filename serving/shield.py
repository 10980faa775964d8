"""Answering through the version that is served, with the former one behind it during probation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from .errors import AnswerError, HandlerError, NotServedError, RequestError, UnavailableError
from .served import GoneError, Loaded, Served

log = logging.getLogger(__name__)

Work = Callable[[Loaded], bytes]


@dataclass(frozen=True)
class Answered:
    """An answer's JSON, and the digest of the version that gave it."""

    body: bytes
    digest: str


def answer_through(find: Callable[[], Served], work: Work, version: str | None = None) -> Answered:
    """Do the work with the version that is served; with the former one when a probationer fails.

    Asking for one `version` (its first twelve digits, or the digest) asks that one and no other.
    RequestError: the request is at fault. HandlerError: the handler is. NotServedError: no such one.
    """
    while True:
        served = find()
        try:
            if version is not None:
                return _attempt(_pick(served, version), work)
            return _shielded(served.current, find, work)
        except GoneError:
            # It was switched between finding and using it: the next look finds its successor.
            continue


def _shielded(loaded: Loaded, find: Callable[[], Served], work: Work) -> Answered:
    try:
        return _attempt(loaded, work)
    except HandlerError as defect:
        stand_in = _stand_in(loaded, find)
        if stand_in is None:
            raise
        answered = _attempt(stand_in, work)
        count = loaded.count_shielded()
        # Each at first, then ever fewer: a broken version under load would fill the disk.
        if count & (count - 1) == 0:
            log.warning("%s: %d requests shielded so far", defect, count, exc_info=defect.__cause__)
        return answered


def _attempt(loaded: Loaded, work: Work) -> Answered:
    with loaded.in_use():
        try:
            return Answered(work(loaded), loaded.digest)
        except RequestError:
            raise
        except AnswerError as error:
            raise HandlerError(f"what {loaded.name} {loaded.version} answered is no JSON: {error}") from error
        except (Exception, SystemExit) as error:
            raise HandlerError(
                f"the handler of {loaded.name} {loaded.version} failed on a request"
            ) from error


def _stand_in(failed: Loaded, find: Callable[[], Served]) -> Loaded | None:
    """Find who may answer in its place: its former version, or the one that came since."""
    try:
        served = find()
    except (NotServedError, UnavailableError):
        return None
    return served.former if served.current is failed else served.current


def _pick(served: Served, version: str) -> Loaded:
    loaded = [one for one in (served.current, served.former) if one is not None]
    for one in loaded:
        if version in (one.version, one.digest):
            return one
    versions = ", ".join(one.version for one in loaded)
    raise NotServedError(f"{served.name} has no version {version!r} here; served are: {versions}")
