"""A local registry: MLflow's tables in SQLite and a folder, with a server that is started on demand.

registry_database.py answers the requests of this project, so most commands need no server. The tables are
created by MLflow in a process of their own. The server is started by the first other request, or by `start`.
The socket accepts connections before that, so an early client waits. Both processes end when the process that
started them ends, because their standard input is a pipe from there.

MLflow's command line would add seconds to each local run. On a busy machine with 2 cores, this server used
5.8 s of CPU time until its first response. `mlflow server` (3.17.2, one worker) used 18 s, and
`mlflow server --help` 7 s.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from continuous_training.adapters import registry_backup
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.registry_database import RegistryDatabase
from continuous_training.adapters.sqlite_check import database_problem
from continuous_training.core.disk_space import disk_full_message, is_full, reports_full_disk
from continuous_training.core.errors import DiskFullError, PipelineError, UserError
from continuous_training.core.messages import report

DATABASE = "mlflow.db"
_DATABASE_URI = f"sqlite:///{DATABASE}"
"""Relative to the working directory of the server: the path of the folder may contain a question mark."""


class LocalRegistry:
    """A registry with database and artifacts in `folder`, and a free port of 127.0.0.1 for its server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None
        self.database = RegistryDatabase(self.folder)
        self._creation: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def begin_creation(self) -> None:
        """Begin to create the database in the background if there is none. It takes seconds."""
        if self._creation is None and not (self.folder / DATABASE).exists():
            self._creation = self._start_process(str(self.folder))

    def create(self) -> None:
        """Create the database if there is none. After a failure, the server's start fails the same way."""
        self.begin_creation()
        if self._creation:
            self._creation.wait()

    def start(self) -> None:
        """Start the server if it is not running. Clients wait about two seconds for its first response."""
        if self.process:
            return
        descriptor = self.socket.fileno()
        self.process = self._start_process(str(self.folder), str(descriptor), pass_fds=[descriptor])
        # If only the server holds the socket, its clients get an error at once when it dies.
        self.socket.close()

    def _start_process(self, *arguments: str, pass_fds: Collection[int] = ()) -> subprocess.Popen[bytes]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._log_start = log.tell()
            return subprocess.Popen(
                [sys.executable, "-m", __name__, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
                # Ctrl-C must reach only the run, which needs the process until it ends.
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )

    def check(self) -> None:
        """Raise the error that prevents use of the database, after a repair if that is possible.

        A missing database is no error.
        """
        if problem := registry_backup.repair(self.folder / DATABASE, report):
            raise problem

    def explain(self, error: PipelineError) -> PipelineError:
        """Return a client's error with the registry's folder instead of its temporary address.

        Return the error of the database instead if there is one, and an error of another server unchanged.
        """
        if self.uri not in str(error):
            return error
        # On a full disk, the log may lack the error of the server.
        if isinstance(error, DiskFullError) or reports_full_disk(self._log()) or is_full(self.folder):
            return DiskFullError(disk_full_message(self.folder))
        if problem := database_problem(self.folder / DATABASE, all_pages=True):
            return problem
        # The server's response to a defect is a page of HTML without details.
        message = re.sub(r" \(<!doctype.*?\)(?=,)", "", str(error), flags=re.DOTALL | re.IGNORECASE)
        message = message.replace(self.uri, f"in {self.folder}")
        return type(error)(f"{message}. Its log: {self.folder / 'server.log'}")

    def _log(self) -> str:
        """Return the log of the server since its start."""
        path = self.folder / "server.log"
        if not path.is_file():
            return ""
        with path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def close(self) -> None:
        """Stop the server and free the port."""
        self.socket.close()
        for process in filter(None, (self._creation, self.process)):
            process.terminate()
            process.wait()
            if process.stdin:
                process.stdin.close()
        if self.process or self.database.is_changed:
            registry_backup.back_up(self.folder / DATABASE)


class _StartOnDemand(HTTPAdapter):
    """Answers a request with the database, or else sends it to the server, which it starts first."""

    def __init__(self, local: LocalRegistry) -> None:
        super().__init__()
        self._local = local

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        body = request.body if isinstance(request.body, bytes) else b""
        self._local.create()
        answer = self._local.database.answer(request.method or "", request.url or "", body)
        if answer is None:
            self._local.start()
            return super().send(request, *args, **options)
        response = requests.Response()
        response.request, response.url, response.encoding = request, request.url or "", "utf-8"
        response.status_code, content = answer
        response.raw = io.BytesIO(json.dumps(content).encode())
        return response


@contextmanager
def open_registry(uri: str, user: str = "", password: str = "", token: str = "") -> Iterator[Registry]:
    """Yield the registry at `uri`. For sqlite:///PATH, the first request creates it if there is none."""
    if not uri.startswith("sqlite:///"):
        yield Registry(uri, user, password, token)
        return
    path = Path(uri.removeprefix("sqlite:///"))
    if path.name != DATABASE:
        raise UserError(f"registry {uri!r}: a local registry is FOLDER/mlflow.db")
    local = LocalRegistry(path.parent)
    try:
        local.check()
        # An unusable folder is an error before anything is done.
        local.folder.mkdir(parents=True, exist_ok=True)
        registry = Registry(local.uri)
        registry.session.mount(local.uri, _StartOnDemand(local))
        yield registry
    except PipelineError as error:
        if (explained := local.explain(error)) is error:
            raise
        raise explained from error
    finally:
        local.close()


def _create(folder: Path) -> None:
    """Create the database with its tables under a lock, because two servers may start at the same time.

    It gets its name last, so a server that is stopped while it creates the tables leaves no database.
    """
    database, temporary = folder / DATABASE, folder / f"{DATABASE}.part"
    with (folder / "create.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            import mlflow

            temporary.unlink(missing_ok=True)
            mlflow.MlflowClient(f"sqlite:///{temporary.name}").search_experiments(max_results=1)
            temporary.rename(database)


def _end_with_standard_input() -> None:
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()


def _serve(descriptor: int, folder: Path) -> None:
    """Run MLflow's server on an inherited socket."""
    from mlflow.server import constants

    # The environment variables of MLflow's server (3.17), which its command line sets.
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = _DATABASE_URI
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(folder / "artifacts")
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    _create(folder)
    from mlflow.server import app
    from werkzeug.serving import make_server

    listening = socket.socket(fileno=descriptor)
    port = listening.getsockname()[1]
    make_server("127.0.0.1", port, app, threaded=True, fd=listening.fileno()).serve_forever()


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    os.chdir(directory)
    _end_with_standard_input()
    if len(sys.argv) > 2:
        _serve(int(sys.argv[2]), directory)
    else:
        _create(directory)
