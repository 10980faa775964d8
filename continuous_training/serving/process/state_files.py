"""The files of a server in its state directory: address, token, port and locks."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from continuous_training.core.errors import UserError
from continuous_training.core.file_lock import is_held
from continuous_training.core.json_object import JsonObject

_RETRY_SECONDS = 0.2
_REPAIR_SECONDS = 5.0
"""Longer than the server's interval of checks of its own files, on a busy machine."""


def status_command(state: Path) -> str:
    """Return the shell command that shows the server of a state directory."""
    return shlex.join(["python", "-m", "serving", "status", "--state", str(state)])


def state_directory(text: str) -> Path:
    """Parse the value of --state. Raises ArgumentTypeError for an empty value."""
    # An empty path would be the working directory.
    if not text.strip():
        raise argparse.ArgumentTypeError("the value is empty: name a directory, or omit --state for .state")
    return Path(text)


@dataclass(frozen=True)
class RunningServer:
    """A running server: its process, its ports and the token of its management port.

    `started` is the time of its start in UTC, in ISO 8601. `host` is the address that the server listens on.
    `folder` is the folder of its files, if it was found there.
    """

    pid: int
    port: int
    management_port: int
    token: str = field(repr=False)
    started: str
    host: str = "127.0.0.1"
    folder: Path | None = field(default=None, compare=False)

    @property
    def url(self) -> str:
        """The public address, as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def management_url(self) -> str:
        """The address of the management port."""
        return f"http://127.0.0.1:{self.management_port}"

    def to_json(self) -> dict[str, int | str]:
        """Return the content of `server.json`."""
        return {
            "pid": self.pid,
            "port": self.port,
            "management_port": self.management_port,
            "token": self.token,
            "started": self.started,
            "host": self.host,
        }

    @classmethod
    def from_json(cls, document: JsonObject) -> RunningServer:
        """Read the content of `server.json`. Raises UserError that names the field that is wrong."""
        return cls(
            pid=document.integer("pid"),
            port=document.integer("port"),
            management_port=document.integer("management_port"),
            token=document.text("token"),
            started=document.text("started"),
            # Servers of early versions listen on 127.0.0.1 only and do not write this field.
            host=document.text("host", default=cls.host),
        )


@dataclass(frozen=True)
class StateFiles:
    """The files of the server of one state directory, in `STATE/serving`."""

    folder: Path

    @classmethod
    def of(cls, state: Path) -> StateFiles:
        """Return the files of a state directory. Create `STATE/serving` if it is missing."""
        folder = state.absolute() / "serving"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder)

    @property
    def lock(self) -> Path:
        """Locked by the server while it runs; contains its process id."""
        return self.folder / "server.lock"

    @property
    def starting(self) -> Path:
        """Locked by a process that starts or stops the server."""
        return self.folder / "start.lock"

    @property
    def log(self) -> Path:
        """The log of the server."""
        return self.folder / "server.log"

    @property
    def server(self) -> Path:
        """The address and the token of the server while it runs, as JSON."""
        return self.folder / "server.json"

    @property
    def port(self) -> Path:
        """The last public port of the server. A restart uses it again, so the endpoint keeps its address."""
        return self.folder / "port"

    def last_port(self) -> int | None:
        """Return the last public port of the server, or None."""
        try:
            return int(self.port.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def running(self) -> RunningServer | None:
        """Return the running server, or None.

        Ignores the file of a server that crashed. Raises UserError if a server runs and its file is damaged.
        """
        deadline = time.monotonic() + _REPAIR_SECONDS
        while is_held(self.lock):
            try:
                return self._read()
            except UserError as error:
                # A running server writes a damaged file again, and one that starts removes it.
                if time.monotonic() > deadline:
                    raise UserError(
                        f"{self.server} is damaged ({error}), so the address of the running server is "
                        f"unknown: end the server (kill {self.lock.read_text() or 'PID'}), and start it again"
                    ) from error
            time.sleep(_RETRY_SECONDS)
        return None

    def _read(self) -> RunningServer | None:
        try:
            text = self.server.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        running = RunningServer.from_json(JsonObject.parse(text, self.server.name))
        return replace(running, folder=self.folder)

    def is_locked_by(self, handle: int) -> bool:
        """Return whether `handle` is the lock file. It is not if the folder was replaced since."""
        try:
            return os.path.samestat(os.fstat(handle), self.lock.stat())
        except FileNotFoundError:
            return False

    def repair(self, running: RunningServer) -> bool:
        """Write the files of the running server again if they are damaged. Return whether they were."""
        if not self.server.is_file():
            # The server has not loaded its models yet.
            return False
        expected = {self.server: json.dumps(running.to_json()), self.port: str(running.port)}
        damaged = any(path.read_bytes() != text.encode() for path, text in expected.items())
        if damaged:
            self.write(running)
        return damaged

    def write(self, running: RunningServer) -> None:
        """Write the address and the token of the server, readable by this user only."""
        self.port.write_text(str(running.port))
        temporary = self.server.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as stream:
            json.dump(running.to_json(), stream)
        temporary.replace(self.server)
