"""The request queue. The requests that arrive during an inference form the next batch.

Inference of a fast model runs in the thread of the event loop. For a model that needs less than a
millisecond, passing a batch to another thread costs more than the inference. A slow model, and a large
request, run in a thread of their own, which one model uses for one batch at a time. A single request is
processed immediately, and the batches grow with the load.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from continuous_training.serving.errors import OverloadedError
from continuous_training.serving.models.batch_inference import InferenceResult
from continuous_training.serving.models.batch_settings import BatchSettings
from continuous_training.serving.models.inference_request import InferenceRequest, InferenceResponse
from continuous_training.serving.models.inference_thread import InferenceThread
from continuous_training.serving.models.inference_watchdog import HandlerCall
from continuous_training.serving.models.model_repository import ModelRepository

_MAX_BATCH_BYTES = 1 << 18
"""The size of the requests at which a batch ends. A larger batch runs outside the event loop's thread."""

_EXPIRE_SECONDS = 1.0
"""The interval in which the queue of a model with a thread is checked for late requests."""

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


class _BatchResult(NamedTuple):
    """The results of a batch, or the error of all its requests, and the seconds that it took."""

    results: Sequence[InferenceResult] | Exception
    seconds: float


class Batcher:
    """Queues requests and runs them in batches.

    All methods run in one event loop. Other threads read only `active_call` and `blocked_since`, the start of
    the batch that runs in the thread of the event loop. `observe` is called after each batch with the model's
    name, the number of requests and the seconds.
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
        self.blocked_since: float | None = None
        self._observe = observe
        self._queues: dict[QueueKey, deque[QueuedRequest]] = {}
        self._scheduled = False
        self._threads: dict[str, InferenceThread[_BatchResult]] = {}
        self._in_thread: set[str] = set()
        """The models whose thread runs a batch."""
        self._active_calls: dict[str, HandlerCall] = {}

    @property
    def active_call(self) -> HandlerCall | None:
        """The running batch that started first, or None."""
        calls = self._active_calls.copy().values()
        return min(calls, key=lambda call: call.started_at, default=None)

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
        """Add a request to the queue of its model. OverloadedError if the queue is full."""
        key = (name, version)
        queue = self._queues.get(key)
        if queue is None:
            queue = self._queues[key] = deque()
        if len(queue) >= self.settings.max_queued:
            raise OverloadedError(f"{len(queue)} requests are waiting already; try again in a moment")
        queued.enqueued_at = time.monotonic()
        queue.append(queued)
        self.queue_length += 1
        if not self._scheduled and name not in self._in_thread:
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
            if key[0] not in self._in_thread and (batch := self._next_batch(key)):
                self._run_batch(key, batch, loop)
        if not self._scheduled and any(name not in self._in_thread for name, _ in self._queues):
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
            if not self._expire(queued, now):
                batch.append(queued)
                size += queued.inference_request.size()
        if not queue:
            del self._queues[key]
        return batch

    def _expire(self, queued: QueuedRequest, now: float) -> bool:
        """Finish a request that is cancelled or late; return False if it is neither."""
        waited = now - queued.enqueued_at
        if queued.is_cancelled():
            queued.discard()
        elif waited > self.settings.timeout:
            message = f"the request waited in the queue for {waited:.1f} s; try again in a moment"
            queued.set_result(OverloadedError(message))
        else:
            return False
        return True

    def _expire_waiting(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Finish the late requests of a model regularly: its thread may be busy until after the timeout."""
        now = time.monotonic()
        for key, queue in self._queues.items():
            while key[0] == name and queue and self._expire(queue[0], now):
                queue.popleft()
                self.queue_length -= 1
        loop.call_later(_EXPIRE_SECONDS, self._expire_waiting, name, loop)

    def _run_batch(self, key: QueueKey, batch: list[QueuedRequest], loop: asyncio.AbstractEventLoop) -> None:
        name = key[0]
        size = sum([queued.inference_request.size() for queued in batch])
        if size <= _MAX_BATCH_BYTES and not self.repository.is_slow(name):
            self.blocked_since = time.monotonic()
            result = self._infer(key, batch)
            self.blocked_since = None
            self._finish(name, batch, result)
            return
        if name not in self._threads:
            self._threads[name] = InferenceThread(f"inference-{name}", loop)
            self._expire_waiting(name, loop)
        self._in_thread.add(name)
        finish = partial(self._finish_in_loop, name, batch, loop)
        self._threads[name].submit(partial(self._infer, key, batch), finish)

    def _infer(self, key: QueueKey, batch: list[QueuedRequest]) -> _BatchResult:
        """Run a batch in this thread."""
        name, version = key
        self._active_calls[name] = call = HandlerCall(f"a batch of {name}")
        results: Sequence[InferenceResult] | Exception
        try:
            requests = [queued.inference_request for queued in batch]
            results = self.repository.infer(name, requests, self.settings.max_rows, version)
        except Exception as error:
            # The model was unloaded while the requests were in the queue.
            results = error
        finally:
            del self._active_calls[name]
        return _BatchResult(results, time.monotonic() - call.started_at)

    def _finish_in_loop(
        self, name: str, batch: list[QueuedRequest], loop: asyncio.AbstractEventLoop, result: _BatchResult
    ) -> None:
        self._in_thread.discard(name)
        self._finish(name, batch, result)
        if self._queues and not self._scheduled:
            self._schedule(loop)

    def _finish(self, name: str, batch: list[QueuedRequest], result: _BatchResult) -> None:
        """Send the responses of a batch."""
        if isinstance(result.results, Exception):
            for queued in batch:
                queued.set_result(result.results)
            return
        if self._observe:
            self._observe(name, len(batch), result.seconds)
        for queued, response in zip(batch, result.results, strict=True):
            queued.set_result(response)
