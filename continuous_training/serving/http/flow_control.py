"""Flow control of one connection, with a time limit for a client that does not read its responses."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import struct
import termios
from contextlib import suppress

from uvicorn.protocols.http.flow_control import FlowControl

log = logging.getLogger(__name__)

MIN_READ_BYTES = 64 * 1024
"""How much of its responses a client must read in each period, unless less is left."""


class ConnectionFlow(FlowControl):
    """Pauses reading and writing, and aborts the connection if its client reads too slowly.

    While responses wait for the client, it must read at least `MIN_READ_BYTES` every `seconds`.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        super().__init__(transport)
        self._loop = loop
        self._seconds = seconds
        self._reading_blocked = False
        self._timer: asyncio.TimerHandle | None = None
        self._unread_bytes = 0

    def block_reading(self) -> None:
        """Pause reading until `unblock_reading`, even if another caller resumes it."""
        self._reading_blocked = True
        self.pause_reading()

    def unblock_reading(self) -> None:
        """Resume reading after `block_reading`."""
        if self._reading_blocked:
            self._reading_blocked = False
            self.resume_reading()

    def resume_reading(self) -> None:
        """Resume reading, unless it is blocked."""
        if not self._reading_blocked:
            super().resume_reading()

    def pause_writing(self) -> None:
        """Let the senders of responses wait, and start the time limit."""
        super().pause_writing()
        self.limit_writing()

    def resume_writing(self) -> None:
        """Let the senders continue, and end the time limit. It stays while the connection is being closed."""
        super().resume_writing()
        if not self._transport.is_closing():
            self.end()

    def limit_writing(self) -> None:
        """Start the time limit for the client to read what has been written, unless it has started."""
        if self._timer is None:
            self._unread_bytes = self._count_unread()
            self._timer = self._loop.call_later(self._seconds, self._check)

    def has_unread_bytes(self) -> bool:
        """Return whether bytes of the client have arrived that the event loop has not read."""
        with suppress(OSError, ValueError):  # The socket is closed.
            handle = self._transport.get_extra_info("socket").fileno()
            (size,) = struct.unpack("i", fcntl.ioctl(handle, termios.FIONREAD, bytes(4)))
            return bool(size)
        return False

    def end(self) -> None:
        """End the time limit."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        unread_before = self._unread_bytes
        self._timer = None
        if unread_before - self._count_unread() >= MIN_READ_BYTES:
            self.limit_writing()
        elif self._transport.get_write_buffer_size():
            log.info("a client did not read its responses for %g s; its connection is closed", self._seconds)
            self._transport.abort()

    def _count_unread(self) -> int:
        """Return the number of written bytes that the client's system has not acknowledged.

        The buffer of the socket counts, too: a client may read megabytes before the transport can write more.
        """
        size = self._transport.get_write_buffer_size()
        with suppress(OSError, ValueError):  # The socket is closed, or the platform is not Linux.
            handle = self._transport.get_extra_info("socket").fileno()
            (in_socket,) = struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))
            size += in_socket
        return size
