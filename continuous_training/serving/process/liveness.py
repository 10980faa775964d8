"""Answers liveness probes while a model blocks the event loop of the public port.

A model that is fast during its warm-up can take long on one request. Until it returns, the event loop accepts
no connection. A thread accepts the new connections then, answers `GET /v2/health/live`, and passes all other
connections to the event loop. Nothing has been read from those.
"""

from __future__ import annotations

import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from continuous_training.serving.api.endpoint import json_response
from continuous_training.serving.http.fast_path import response_head

BLOCKED_SECONDS = 0.01
"""The event loop counts as blocked after this time in one batch. The thread checks it as often."""

_PROBE = b"GET /v2/health/live HTTP/1."
_MAX_HEAD_BYTES = 8192


class LivenessResponder(threading.Thread):
    """Answers liveness probes on `listening` while the event loop is blocked, until `stop`.

    `blocked_since` returns the start of the batch that the event loop runs, on the monotonic clock, or None.
    `adopt` passes a connection to the event loop.
    """

    def __init__(
        self,
        listening: socket.socket,
        blocked_since: Callable[[], float | None],
        adopt: Callable[[socket.socket], object],
    ) -> None:
        super().__init__(name="liveness", daemon=True)
        self._listening = listening.dup()
        self._blocked_since = blocked_since
        self._adopt = adopt
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the thread, unless it has ended. Its connections have then been passed to the event loop."""
        self._stopped.set()
        self.join()
        self._listening.close()

    def run(self) -> None:
        """Check regularly whether the event loop is blocked."""
        while not self._stopped.wait(BLOCKED_SECONDS):
            start = self._blocked_since()
            if start is not None and time.monotonic() - start >= BLOCKED_SECONDS:
                self._respond(start)

    def _respond(self, start: float) -> None:
        """Answer probes until the batch that started at `start` ends."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while self._blocked_since() == start and not self._stopped.is_set():
                for key, _ in selector.select(BLOCKED_SECONDS):
                    if key.data is not None:
                        selector.unregister(key.data)
                        self._process(key.data)
                    elif (connection := self._accept()) is not None:
                        selector.register(connection, selectors.EVENT_READ, connection)
            for key in selector.get_map().values():
                if key.data is not None:
                    self._adopt(key.data)

    def _accept(self) -> socket.socket | None:
        try:
            connection, _ = self._listening.accept()
        except OSError:  # For example, the event loop has accepted the connection in the meantime.
            return None
        connection.setblocking(False)
        return connection

    def _process(self, connection: socket.socket) -> None:
        """Answer a probe and close its connection. Pass any other connection to the event loop."""
        try:
            head, end, _ = connection.recv(_MAX_HEAD_BYTES, socket.MSG_PEEK).partition(b"\r\n\r\n")
        except OSError:  # The client has reset the connection.
            head = end = b""
        if not head.startswith(_PROBE) or not end:
            self._adopt(connection)
            return
        response = json_response({"live": True})
        response_head_ = response_head(STATUS_LINE[200], b"", response, secrets.token_hex(6), closes=True)
        with connection, suppress(OSError):
            connection.recv(len(head) + len(end))
            connection.sendall(response_head_ + response.body)
