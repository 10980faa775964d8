"""An SMTP server (RFC 5321) on 127.0.0.1 that keeps the messages in memory."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class SmtpServer:
    """The port of the server, and the messages that it accepted with their recipients."""

    port: int
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


@contextmanager
def smtp_server(rejected: str = "") -> Iterator[SmtpServer]:
    """Serve in the `with` block. The recipient `rejected` is refused with the status 550."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline():
                command, _, argument = line.decode().strip().partition(" ")
                self.wfile.write(self._answer(command.upper(), argument).encode() + b"\r\n")

        def _answer(self, command: str, argument: str) -> str:
            if command == "RCPT":
                recipient = argument.partition("<")[2].partition(">")[0]
                if recipient == rejected:
                    return "550 no such user"
                server.recipients.append(recipient)
            elif command == "DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                server.messages.append(message_from_bytes(b"".join(lines), policy=policy.default))
            return "221 bye" if command == "QUIT" else "250 ok"

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        server = SmtpServer(listener.server_address[1])
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown()
            thread.join()
