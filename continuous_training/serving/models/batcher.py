"""The request queue. The requests that arrive during an inference form the next batch.

Inference runs in the thread of the event loop. For a model that needs less than a millisecond, passing a
batch to another thread costs more than the inference. A single request is processed immediately, and the
batches grow with the load.
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

_MAX_BATCH_BYTES = 1 << 18
"""The maximum size of the requests in one batch, so that a batch does not block the event loop for long."""

QueueKey = tuple[str, str | None]
"""A model's name, and the requested version (None: the served version)."""


class QueuedRequest(ABC):
    """A request in the queue. `enqueued_at` is a time of the monotonic clock."""

    __slots__ = ("enqueued_at", "inference_request")
    inference_request: InferenceRequest
    enqueued_at: float

    @abstractmethod
    def is_cancelled(self) -> bool:
        """Return whether the client no longer waits for the response."""

    def discard(self) -> None:  # noqa: B027
        """Release the request's resources. Called instead of `set_result` if the request is cancelled."""

    @abstractmethod
    def set_result(self, result: InferenceResponse | Exception) -> None:
        """Send the response or the error to the client. Must not raise."""


class _AwaitedRequest(QueuedRequest):
    """A request whose response is the result of a future."""

    __slots__ = ("response",)

    def __init__(
        self, inference_request: InferenceRequest, response: asyncio.Future[InferenceResponse]
    ) -> None:
        self.inference_request = inference_request
        self.response = response

    def is_cancelled(self) -> bool:
        return self.response.done()

    def set_result(self, result: InferenceResponse | Exception) -> None:
        if isinstance(result, InferenceResponse):
            self.response.set_result(result)
        else:
            self.response.set_exception(result)


class Batcher:
    """Queues requests and runs them in batches.

    All methods run in one event loop. Other threads read only `active_call`, the batch that is running.
    `observe` is called after each batch with the model's name, the number of requests and the seconds.
    """

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
        self._queues: dict[QueueKey, deque[QueuedRequest]] = {}
        self._scheduled = False

    async def infer(
        self, name: str, request: InferenceRequest, version: str | None = None
    ) -> InferenceResponse:
        """Queue a request and return its response.

        OverloadedError if the queue is full or the request waits longer than the timeout;
        ModelNotFoundError, ModelNotReadyError, RequestError and HandlerError as in `infer_with_fallback`.
        """
        queued = _AwaitedRequest(request, asyncio.get_running_loop().create_future())
        self.enqueue(name, version, queued)
        return await queued.response

    def enqueue(self, name: str, version: str | None, queued: QueuedRequest) -> None:
        """Add a request to the queue. OverloadedError if the queue is full."""
        if self.queue_length >= self.settings.max_queued:
            raise OverloadedError(f"{self.queue_length} requests are waiting already; try again in a moment")
        queued.enqueued_at = time.monotonic()
        key = (name, version)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        queue.append(queued)
        self.queue_length += 1
        if not self._scheduled:
            self._schedule(asyncio.get_running_loop())

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = True
        if self.settings.max_delay:
            loop.call_later(self.settings.max_delay, self._run_batches, loop)
        else:
            loop.call_soon(self._run_batches, loop)

    def _run_batches(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run one batch of each queue. Requests that remain are scheduled for the next call."""
        self._scheduled = False
        for key in list(self._queues):
            batch = self._next_batch(key)
            if batch:
                self._run_batch(key, batch)
        if self._queues and not self._scheduled:
            self._schedule(loop)

    def _next_batch(self, key: QueueKey) -> list[QueuedRequest]:
        """Remove the requests of the next batch from a queue, and all cancelled and late requests."""
        queue, size, now = self._queues[key], 0, time.monotonic()
        # Requests beyond the model's batch size stay in the queue, so that the first ones get their
        # responses before the next inference.
        max_rows = self.repository.max_batch_rows(key[0], self.settings.max_rows)
        batch: list[QueuedRequest] = []
        while queue and len(batch) < max_rows and size < _MAX_BATCH_BYTES:
            queued = queue.popleft()
            self.queue_length -= 1
            waited = now - queued.enqueued_at
            if queued.is_cancelled():
                queued.discard()
                continue
            if waited > self.settings.timeout:
                message = f"the request waited in the queue for {waited:.1f} s; try again in a moment"
                queued.set_result(OverloadedError(message))
                continue
            batch.append(queued)
            size += queued.inference_request.size()
        if not queue:
            del self._queues[key]
        return batch

    def _run_batch(self, key: QueueKey, batch: list[QueuedRequest]) -> None:
        name, version = key
        self.active_call = call = HandlerCall(f"a batch of {name}")
        try:
            requests = [queued.inference_request for queued in batch]
            results = self.repository.infer(name, requests, self.settings.max_rows, version)
        except Exception as error:
            # The model was unloaded while the requests were in the queue.
            for queued in batch:
                queued.set_result(error)
            return
        finally:
            self.active_call = None
        if self._observe:
            self._observe(name, len(batch), time.monotonic() - call.started_at)
        for queued, result in zip(batch, results, strict=True):
            queued.set_result(result)
