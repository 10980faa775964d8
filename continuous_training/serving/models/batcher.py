"""The queue before the models: what has come in while the last batch ran is the next batch.

Inference runs in the event loop's own thread: for models that answer in well under a millisecond,
handing a batch to another thread costs more than the inference. No request waits for company: a lone
one is answered at once, and batches grow by themselves with the load.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from continuous_training.serving.errors import BusyError
from continuous_training.serving.models.batch_item import Answered, Work
from continuous_training.serving.models.batch_settings import BatchSettings
from continuous_training.serving.models.inference_watchdog import Busy
from continuous_training.serving.models.model_repository import Repository

_BYTES = 1 << 18
"""How many bytes of requests are enough for one turn of the loop, so that it is not held for long."""


Key = tuple[str, str | None]


class Pending(ABC):
    """A work that waits for its turn, `since` when on the monotonic clock."""

    __slots__ = ("since", "work")
    work: Work
    since: float

    @abstractmethod
    def gone(self) -> bool:
        """Tell whether nobody wants the answer any more."""

    def leave(self) -> None:  # noqa: B027
        """Hear that the work is not done, since nobody wants the answer."""

    @abstractmethod
    def tell(self, result: Answered | Exception) -> None:
        """Take the answer, or why there is none; raises nothing."""


class _Awaited(Pending):
    """A work whose answer a task awaits."""

    __slots__ = ("answer",)

    def __init__(self, work: Work, answer: asyncio.Future[Answered]) -> None:
        self.work = work
        self.answer = answer

    def gone(self) -> bool:
        return self.answer.done()

    def tell(self, result: Answered | Exception) -> None:
        if isinstance(result, Answered):
            self.answer.set_result(result)
        else:
            self.answer.set_exception(result)


class Batcher:
    """Answers requests in batches; lives in one event loop, and only `busy` is read by other threads."""

    def __init__(
        self,
        repository: Repository,
        settings: BatchSettings,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self.repository = repository
        self.settings = settings
        self.waiting = 0
        self.busy: Busy | None = None
        self._observe = observe
        self._queues: dict[Key, deque[Pending]] = {}
        self._scheduled = False

    async def ask(self, name: str, work: Work, version: str | None = None) -> Answered:
        """Answer a request when its turn comes; BusyError when too many wait, or this one for too long.

        NotServedError, UnavailableError, RequestError and HandlerError as `answer_through` has them.
        """
        pending = _Awaited(work, asyncio.get_running_loop().create_future())
        self.put(name, version, pending)
        return await pending.answer

    def put(self, name: str, version: str | None, pending: Pending) -> None:
        """Let a work wait for its turn, and hear of its answer; BusyError when too many wait."""
        if self.waiting >= self.settings.max_queued:
            raise BusyError(f"{self.waiting} requests are waiting already; try again in a moment")
        pending.since = time.monotonic()
        key = (name, version)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append(pending)
        self.waiting += 1
        if not self._scheduled:
            self._schedule(asyncio.get_running_loop())

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = True
        if self.settings.max_delay:
            loop.call_later(self.settings.max_delay, self._turn, loop)
        else:
            loop.call_soon(self._turn, loop)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer one batch of each model that is asked; what is left over has its turn next."""
        self._scheduled = False
        for key in list(self._queues):
            batch = self._take(key)
            if batch:
                self._answer(key, batch)
        if self._queues and not self._scheduled:
            self._schedule(loop)

    def _take(self, key: Key) -> list[Pending]:
        queue, size, now = self._queues[key], 0, time.monotonic()
        most = self.repository.batch_rows(key[0], self.settings.max_rows)
        batch: list[Pending] = []
        # What a handler would not have in one batch is left for the next turn: these are answered first.
        while queue and len(batch) < most and size < _BYTES:
            pending = queue.popleft()
            self.waiting -= 1
            waited = now - pending.since
            if pending.gone():
                pending.leave()
                continue
            if waited > self.settings.timeout:
                words = f"the request waited {waited:.1f} s for its turn; try again in a moment"
                pending.tell(BusyError(words))
                continue
            batch.append(pending)
            size += pending.work.size()
        if not queue:
            del self._queues[key]
        return batch

    def _answer(self, key: Key, batch: list[Pending]) -> None:
        name, version = key
        self.busy = busy = Busy(f"a batch of {name}")
        try:
            works = [pending.work for pending in batch]
            results = self.repository.answer(name, works, self.settings.max_rows, version)
        except Exception as error:
            # The same one for all: the model went away while they waited.
            for pending in batch:
                pending.tell(error)
            return
        finally:
            self.busy = None
        if self._observe:
            self._observe(name, len(batch), time.monotonic() - busy.since)
        for pending, result in zip(batch, results, strict=True):
            pending.tell(result)
