"""A registry on one machine: MLflow's own server over SQLite and a folder, for as long as it is needed.

The socket listens from the first moment and the server behind it starts when `start` is called, so a
step may connect early and simply waits. The server ends with the process that started it, however
that ends: its standard input is a pipe from there.
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.sqlite_check import trouble_of
from continuous_training.core.errors import PipelineError, UserError

DATABASE = "mlflow.db"


class LocalRegistry:
    """MLflow's server over the database and folder in `folder`, on a free port of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(64)
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, once; it answers two seconds later, and holds callers until then."""
        if self.process:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self.socket.fileno()), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[self.socket.fileno()],
                # Ctrl-C is for the run; the server goes when the run is done with it.
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )
        # With the server alone holding the socket, callers of one that dies hear of it at once.
        self.socket.close()

    def check(self) -> None:
        """Return when the database can be used, or is not there yet; raises what is wrong with it."""
        if trouble := trouble_of(self.folder / DATABASE):
            raise trouble

    def explain(self, error: PipelineError) -> PipelineError:
        """Return a caller's error with the folder in the place of the address, which nobody can look at.

        Where the database has a trouble of its own, that is the error. Others are returned as they are.
        """
        if self.uri not in str(error):
            return error
        if trouble := trouble_of(self.folder / DATABASE, whole=True):
            return trouble
        # What the server answers to a defect is a page of HTML without any news.
        words = re.sub(r" \(<!doctype.*?\)(?=,)", "", str(error), flags=re.DOTALL | re.IGNORECASE)
        words = words.replace(self.uri, f"in {self.folder}")
        return type(error)(f"{words}. Its log: {self.folder / 'server.log'}")

    def close(self) -> None:
        """Stop the server and free the port."""
        self.socket.close()
        if self.process:
            self.process.terminate()
            self.process.wait()
            if self.process.stdin:
                self.process.stdin.close()


@contextmanager
def open_registry(uri: str, user: str = "", password: str = "", token: str = "") -> Iterator[Registry]:
    """Yield the registry at `uri`; behind sqlite:///PATH a server is started for the while."""
    if not uri.startswith("sqlite:///"):
        yield Registry(uri, user, password, token)
        return
    path = Path(uri.removeprefix("sqlite:///"))
    if path.name != DATABASE:
        raise UserError(f"registry {uri!r}: a local registry is FOLDER/mlflow.db")
    local = LocalRegistry(path.parent)
    try:
        local.check()
        local.start()
        yield Registry(local.uri)
    except PipelineError as error:
        if (explained := local.explain(error)) is error:
            raise
        raise explained from error
    finally:
        local.close()


def _create(folder: Path) -> None:
    """Make the database's tables, once: two servers that start together would trip over each other."""
    database = folder / "mlflow.db"
    with (folder / "create.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not database.exists():
            import mlflow

            mlflow.MlflowClient(f"sqlite:///{database}").search_experiments(max_results=1)


def _serve(descriptor: int, folder: Path) -> None:
    """Run MLflow's server on an inherited socket until standard input ends."""
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
    from mlflow.server import constants

    # The variables by which MLflow's command line hands its options to its server (3.17).
    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{folder / 'mlflow.db'}"
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
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
