"""Read the next batches of rows in a thread, while the step processes the batches before them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Full, Queue

from continuous_training.artifacts.bad_rows import BadRow
from workloads.contract import Rows
from workloads.load_context import SetAside

_BATCHES = 2
"""Items that are read ahead at the most, so that little memory is used."""

_POLL, _JOIN = 0.1, 5.0
"""Seconds between two checks whether the consumer has ended, and until a thread that does not end is left."""

Load = Callable[[SetAside], Iterable[Rows]]
"""Returns the batches of a source. The argument gets the rows that cannot be read."""


@dataclass(frozen=True)
class _End:
    """The end of the rows, and the exception that ended them."""

    error: BaseException | None = None


def read_ahead(load: Load, set_aside: SetAside, in_thread: bool | None = None) -> Iterator[Rows]:
    """Yield the batches of `load`, and pass the rows that cannot be read to `set_aside`.

    The order of batches, bad rows and exceptions is that of `load`, and all of them arrive in the thread of
    the caller. Arrow parses and writes files without the interpreter's lock, so this overlaps with hashing.
    By default, a thread is used if the process may use a second core.
    """
    if in_thread is None:
        in_thread = len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else True
    if not in_thread:
        yield from load(set_aside)
        return
    queue: Queue[Rows | BadRow | _End] = Queue(_BATCHES)
    ended = threading.Event()
    thread = threading.Thread(target=_produce, args=(load, queue, ended), name="read-ahead", daemon=True)
    thread.start()
    try:
        while not isinstance(item := queue.get(), _End):
            if isinstance(item, BadRow):
                set_aside(item)
            else:
                yield item
        if item.error:
            raise item.error
    finally:
        ended.set()
        thread.join(_JOIN)


class _ConsumerEndedError(BaseException):
    """The consumer does not take more items. A workload that handles each Exception does not handle it."""


def _produce(load: Load, queue: Queue[Rows | BadRow | _End], ended: threading.Event) -> None:
    def put(item: Rows | BadRow | _End) -> None:
        while not ended.is_set():
            try:
                queue.put(item, timeout=_POLL)
            except Full:
                continue
            return
        raise _ConsumerEndedError

    end = _End()
    try:
        for rows in load(put):
            put(rows)
    except _ConsumerEndedError:
        return
    except BaseException as error:
        end = _End(error)
    with suppress(_ConsumerEndedError):
        put(end)
