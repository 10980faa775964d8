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

from continuous_training.serving.errors import OverloadedError
from continuous_training.serving.models.batch_settings import BatchSettings
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse
from continuous_training.serving.models.inference_watchdog import HandlerCall
from continuous_training.serving.models.model_repository import ModelRepository

_BYTES = 1 << 18
"""How many bytes of requests are enough for one turn of the loop, so that it is not held for long."""


Key = tuple[str, str | None]


class QueuedRequest(ABC):
    """A work that waits for its turn, `since` when on the monotonic clock."""

    __slots__ = ("enqueued_at", "inference_request")
    inference_request: InferenceRequest
    enqueued_at: float

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Tell whether nobody wants the answer any more."""

    def discard(self) -> None:  # noqa: B027
        """Hear that the work is not done, since nobody wants the answer."""

    @abstractmethod
    def set_result(self, result: InferenceResponse | Exception) -> None:
        """Take the answer, or why there is none; raises nothing."""


class _AwaitedRequest(QueuedRequest):
    """A work whose answer a task awaits."""

    __slots__ = ("answer",)

    def __init__(self, work: InferenceRequest, answer: asyncio.Future[InferenceResponse]) -> None:
        self.inference_request = work
        self.answer = answer

    def is_cancelled(self) -> bool:
        return self.answer.done()

    def set_result(self, result: InferenceResponse | Exception) -> None:
        if isinstance(result, InferenceResponse):
            self.answer.set_result(result)
        else:
            self.answer.set_exception(result)


class Batcher:
    """Answers requests in batches; lives in one event loop, and only `busy` is read by other threads."""

    def __init__(
        self,
        repository: ModelRepository,
        settings: BatchSettings,
        observe: Callable[[str, int, float], None] | None = None,
    ) -> None:
        self.repository = repository
        self.settings = settings
        self.queue_length = 0
        self.active_call: HandlerCall | None = None
        self._observe = observe
        self._queues: dict[Key, deque[QueuedRequest]] = {}
        self._scheduled = False

    async def infer(self, name: str, work: InferenceRequest, version: str | None = None) -> InferenceResponse:
        """Answer a request when its turn comes; OverloadedError when too many wait, or this one for too long.

        ModelNotFoundError, ModelNotReadyError, RequestError and HandlerError as `answer_through` has them.
        """
        pending = _AwaitedRequest(work, asyncio.get_running_loop().create_future())
        self.enqueue(name, version, pending)
        return await pending.answer

    def enqueue(self, name: str, version: str | None, pending: QueuedRequest) -> None:
        """Let a work wait for its turn, and hear of its answer; OverloadedError when too many wait."""
        if self.queue_length >= self.settings.max_queued:
            raise OverloadedError(f"{self.queue_length} requests are waiting already; try again in a moment")
        pending.enqueued_at = time.monotonic()
        key = (name, version)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append(pending)
        self.queue_length += 1
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

    def _take(self, key: Key) -> list[QueuedRequest]:
        queue, size, now = self._queues[key], 0, time.monotonic()
        most = self.repository.max_batch_rows(key[0], self.settings.max_rows)
        batch: list[QueuedRequest] = []
        # What a handler would not have in one batch is left for the next turn: these are answered first.
        while queue and len(batch) < most and size < _BYTES:
            pending = queue.popleft()
            self.queue_length -= 1
            waited = now - pending.enqueued_at
            if pending.is_cancelled():
                pending.discard()
                continue
            if waited > self.settings.timeout:
                words = f"the request waited {waited:.1f} s for its turn; try again in a moment"
                pending.set_result(OverloadedError(words))
                continue
            batch.append(pending)
            size += pending.inference_request.size()
        if not queue:
            del self._queues[key]
        return batch

    def _answer(self, key: Key, batch: list[QueuedRequest]) -> None:
        name, version = key
        self.active_call = busy = HandlerCall(f"a batch of {name}")
        try:
            works = [pending.inference_request for pending in batch]
            results = self.repository.infer(name, works, self.settings.max_rows, version)
        except Exception as error:
            # The same one for all: the model went away while they waited.
            for pending in batch:
                pending.set_result(error)
            return
        finally:
            self.active_call = None
        if self._observe:
            self._observe(name, len(batch), time.monotonic() - busy.started_at)
        for pending, result in zip(batch, results, strict=True):
            pending.set_result(result)
