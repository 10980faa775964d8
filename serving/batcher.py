"""The queue before the models: what has come in while the last batch ran is the next batch.

Inference runs in the event loop's own thread: for models that answer in well under a millisecond,
handing a batch to another thread costs more than the inference. No request waits for company: a lone
one is answered at once, and batches grow by themselves with the load.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .errors import BusyError
from .repository import Repository
from .settings import Settings
from .watchdog import Busy
from .work import Answered, Work

_BYTES = 1 << 18
"""How many bytes of requests are enough for one turn of the loop, so that it is not held for long."""

Key = tuple[str, str | None]


@dataclass(frozen=True)
class _Pending:
    work: Work
    answer: asyncio.Future[Answered]
    since: float


class Batcher:
    """Answers requests in batches; lives in one event loop, and only `busy` is read by other threads."""

    def __init__(
        self,
        repository: Repository,
        settings: Settings,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self.repository = repository
        self.settings = settings
        self.waiting = 0
        self.busy: Busy | None = None
        self._observe = observe
        self._queues: dict[Key, deque[_Pending]] = {}
        self._scheduled = False

    async def ask(self, name: str, work: Work, version: str | None = None) -> Answered:
        """Answer a request when its turn comes; BusyError when too many wait, or this one for too long.

        NotServedError, UnavailableError, RequestError and HandlerError as `answer_through` has them.
        """
        if self.waiting >= self.settings.max_waiting:
            raise BusyError(f"{self.waiting} requests are waiting already; try again in a moment")
        loop = asyncio.get_running_loop()
        pending = _Pending(work, loop.create_future(), time.monotonic())
        self._queues.setdefault((name, version), deque()).append(pending)
        self.waiting += 1
        self._schedule(loop)
        return await pending.answer

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        if self.settings.batch_wait:
            loop.call_later(self.settings.batch_wait, self._turn, loop)
        else:
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer one batch of each model that is asked; what is left over has its turn next."""
        self._scheduled = False
        for key in list(self._queues):
            batch = self._take(key)
            if batch:
                self._answer(key, batch)
        if self._queues:
            self._schedule(loop)

    def _take(self, key: Key) -> list[_Pending]:
        queue, size = self._queues[key], 0
        batch: list[_Pending] = []
        while queue and len(batch) < self.settings.batch_rows and size < _BYTES:
            pending = queue.popleft()
            self.waiting -= 1
            waited = time.monotonic() - pending.since
            if pending.answer.done():  # its caller is gone
                continue
            if waited > self.settings.timeout:
                words = f"the request waited {waited:.1f} s for its turn; try again in a moment"
                pending.answer.set_exception(BusyError(words))
                continue
            batch.append(pending)
            size += pending.work.size()
        if not queue:
            del self._queues[key]
        return batch

    def _answer(self, key: Key, batch: list[_Pending]) -> None:
        name, version = key
        self.busy = busy = Busy(f"a batch of {name}")
        try:
            works = [pending.work for pending in batch]
            results = self.repository.answer(name, works, self.settings.batch_rows, version)
        except Exception as error:
            # The same one for all: the model went away while they waited.
            for pending in batch:
                pending.answer.set_exception(error)
            return
        finally:
            self.busy = None
        if self._observe:
            self._observe(name, len(batch), time.monotonic() - busy.since)
        for pending, result in zip(batch, results, strict=True):
            if isinstance(result, Answered):
                pending.answer.set_result(result)
            else:
                pending.answer.set_exception(result)
