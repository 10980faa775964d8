"""Where a running server is found, and the token that its management asks for."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.core.file_lock import is_held

_MOMENT = 0.2


def state_directory(text: str) -> Path:
    """Read a command's --state; ArgumentTypeError when it is empty, which would be the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: name a folder, or leave --state out for .state")
    return Path(text)


@dataclass(frozen=True)
class RunningServer:
    """A server that lives: its process, its two ports and its token."""

    pid: int
    port: int
    management_port: int
    token: str = field(repr=False)
    started: str
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        """The public address, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def management_url(self) -> str:
        """The private address."""
        return f"http://127.0.0.1:{self.management_port}"


@dataclass(frozen=True)
class StateFiles:
    """The files of one server's state folder, `STATE/serving`."""

    folder: Path

    @classmethod
    def of(cls, state: Path) -> StateFiles:
        """Find the server's folder in a state folder, making it when it is not there."""
        folder = state.absolute() / "serving"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @property
    def lock(self) -> Path:
        """Held by the server for its whole life; its process id stands in it."""
        return self.folder / "server.lock"

    @property
    def starting(self) -> Path:
        """Held by whoever starts or stops the server."""
        return self.folder / "start.lock"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.folder / "server.log"

    @property
    def server(self) -> Path:
        """Where the server is, while it runs."""
        return self.folder / "server.json"

    @property
    def port(self) -> Path:
        """The port that the server had last, so that its endpoint stays where it is."""
        return self.folder / "port"

    def last_port(self) -> int | None:
        """Read the port that the server had last."""
        try:
            return int(self.port.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def running(self) -> RunningServer | None:
        """Read where the server is; None when none lives, whatever a crash left behind.

        UserError when one does and its file is damaged: nobody can ask it anything then.
        """
        if not is_held(self.lock):
            return None
        try:
            return self._read()
        except (ValueError, TypeError):
            # Left by a crash, perhaps: the server that has just begun to live is about to remove it.
            time.sleep(_MOMENT)
        try:
            return self._read() if is_held(self.lock) else None
        except (ValueError, TypeError) as error:
            raise UserError(
                f"{self.server} is damaged ({error}), so the server that it tells of cannot be asked: end it "
                f"(kill {self.lock.read_text() or 'PID'}), and start it again"
            ) from error

    def _read(self) -> RunningServer | None:
        try:
            text = self.server.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        return RunningServer(**json.loads(text))

    def write(self, running: RunningServer) -> None:
        """Tell, to this user alone, where the server is."""
        self.port.write_text(str(running.port))
        beside = self.server.with_suffix(".new")
        beside.unlink(missing_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            json.dump(asdict(running), stream)
        beside.replace(self.server)
