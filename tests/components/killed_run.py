"""A complete run in a separate process that kills itself with SIGKILL just before one of its writes.

Python reports every file that is opened for writing, renamed, created or removed, and every HTTP request, to
an audit hook (PEP 578). So the code under test needs no change.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import workloads
from components.archive import step as archive
from components.deploy_serving import step as deploy_serving
from components.evaluate import step as evaluate
from components.notify import step as notify
from components.prep_data import step as prep_data
from components.run_context import RunContext
from components.train import step as train
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.settings import Settings
from continuous_training.rollout.local import LocalTarget

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
PROCESS_TIMEOUT = 120
_WRITE_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR
_WRITE_METHODS = (b"POST", b"PUT", b"DELETE", b"PATCH")
_READ_ONLY_PATHS = (b"/predict/", b"/v2/repository/index", b"/runs/search")
"""The paths of POST requests that change nothing."""


@dataclass(frozen=True)
class RunEnvironment:
    """The name of a workload, and the registry, store and state directory of its runs."""

    name: str
    folder: Path
    registry_uri: str
    state: Path

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")


class KillAtWrite:
    """An audit hook that counts writes to the environment, and kills the process before write `kill_at`."""

    def __init__(self, environment: RunEnvironment, kill_at: int) -> None:
        self.folders, self.kill_at = (str(environment.folder), str(environment.state)), kill_at
        self.writes = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._is_write(event, arguments):
            self.writes += 1
            if self.writes == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _is_write(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "http.client.send":
            data = arguments[1] if isinstance(arguments[1], bytes) else b""
            request_line = data.partition(b"\r\n")[0]
            is_read = any(path in request_line for path in _READ_ONLY_PATHS)
            return request_line.startswith(_WRITE_METHODS) and not is_read
        if event == "open":
            return bool((arguments[2] or 0) & _WRITE_FLAGS) and str(arguments[0]).startswith(self.folders)
        return event in _WRITE_EVENTS and str(arguments[0]).startswith(self.folders)


def run(environment: RunEnvironment, run_id: str, fence: str, kill_at: int, write_count: Any) -> None:
    """Run every step, and store the number of writes in `write_count`; 0 as `kill_at` kills nothing."""
    workloads.__path__ = [*workloads.__path__, str(Path(__file__).parent / "workloads")]
    from workloads.fence.workload import Fence

    attributes = {"name": environment.name, "__module__": Fence.__module__, "default_source": "made:400"}
    workload = type("Variant", (Fence,), attributes)()
    # Rendering the report takes a second and writes nothing.
    evaluate.render_report = lambda _: "<html>"  # type: ignore[attr-defined]
    folder = environment.folder / run_id
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    registry, store = Registry(environment.registry_uri), environment.store
    target = LocalTarget(environment.state)
    context = RunContext(workload, run_id, registry, store, _ignore)
    history = RunHistory(store, environment.name)
    data, model, evaluation, archived = (folder / name for name in ("data", "model", "evaluation", "archive"))
    kill_at_write = KillAtWrite(environment, kill_at)
    sys.addaudithook(kill_at_write)
    if prep_data.run(workload, {"fence": fence}, data, history, progress=_ignore).changed:
        train.run(workload, {"fence": fence}, data, model, _ignore)
        if evaluate.run(context, data, model, evaluation).promoted:
            archive.run(model, evaluation, archived, registry, store, _ignore)
            output = folder / "deployed.json"
            deploy_serving.run(archived, output, registry, store, target, _ignore, data)
    else:
        history.write_run(RunRecord(run=run_id, verdict="unchanged"))
    notify.run(run_id, history, Settings.from_environment({}), progress=_ignore)
    write_count.value = kill_at_write.writes


def run_in_process(
    environment: RunEnvironment, run_id: str, fence: str, kill_at: int = 0
) -> tuple[bool, int]:
    """Run in a separate process; return whether it was killed, and the number of its writes if not."""
    write_count = CONTEXT.Value("i", 0)
    process = CONTEXT.Process(target=run, args=(environment, run_id, fence, kill_at, write_count))
    process.start()
    process.join(PROCESS_TIMEOUT)
    assert process.exitcode in (0, -signal.SIGKILL), f"{run_id} ended with {process.exitcode}"
    return process.exitcode != 0, write_count.value


def _ignore(_: str) -> None:
    """Discard a progress message."""
