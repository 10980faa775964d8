"""Clients that send requests until the server refuses the connection, and count the lost requests."""

from __future__ import annotations

import socket
import threading
from collections import Counter

REQUEST = b'POST /predict/toy HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"x":[1]}'
END_OF_RESPONSE = b'"y":[2.0]}'


class Client(threading.Thread):
    """Sends one request after the other until the server refuses the connection.

    `lost` counts the requests that were sent, or whose connection was accepted, and that got no response.
    """

    def __init__(self, port: int, keep_alive: bool) -> None:
        super().__init__()
        self.port = port
        self.keep_alive = keep_alive
        self.responses = 0
        self.lost: Counter[str] = Counter()

    def run(self) -> None:
        while (connection := self.connect()) is not None:
            with connection:
                try:
                    while self.exchange(connection):
                        pass
                except OSError as error:
                    self.lost[type(error).__name__] += 1

    def connect(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self.port), 30)
        except ConnectionRefusedError:
            return None

    def exchange(self, connection: socket.socket) -> bool:
        """Send a request and read its response; return whether the connection can be used again."""
        connection.sendall(REQUEST)
        response = b""
        while END_OF_RESPONSE not in response:
            part = connection.recv(1 << 16)
            if not part:
                self.lost["closed without a response"] += 1
                return False
            response += part
        self.responses += 1
        return self.keep_alive and b"connection: close" not in response
