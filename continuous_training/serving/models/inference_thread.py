"""A thread for the inference of one model, so that a slow model does not block the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

Result = TypeVar("Result")


class InferenceThread(Generic[Result]):
    """Calls functions in a thread of its own, one after the other, and passes the results to an event loop.

    The thread is a daemon, unlike those of `ThreadPoolExecutor`: a handler that hangs must not prevent the
    end of the process.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Result], Callable[[Result], None]]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, function: Callable[[], Result], on_result: Callable[[Result], None]) -> None:
        """Call `function`, which must not raise, in the thread, and then `on_result` in the event loop."""
        self._jobs.put((function, on_result))

    def _run(self) -> None:
        while True:
            function, on_result = self._jobs.get()
            result = function()
            # The event loop is closed if the server ended before the result of a request.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(on_result, result)
