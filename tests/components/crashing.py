"""A whole run in a process of its own that kills itself with SIGKILL just before one of its writes.

Python tells an audit hook (PEP 578) of every file that is opened for writing, renamed, made or removed, and
of every HTTP request: nothing of this is in the code under test.
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
from components.train import step as train
from continuous_training.adapters.model_registry import Registry
from continuous_training.adapters.notifications import Notifier
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.rollout.local import LocalTarget

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR
_ASKING = (b"/predict/", b"/v2/repository/index", b"/runs/search")


@dataclass(frozen=True)
class Place:
    """Where the runs of one workload happen."""

    name: str
    folder: Path
    registry: str
    state: Path

    @property
    def store(self) -> FolderStore:
        return FolderStore(self.folder / "store")


class Death:
    """An audit hook that counts writes below a folder and to servers, and kills before the n-th."""

    def __init__(self, place: Place, at: int) -> None:
        self.below, self.at, self.seen = (str(place.folder), str(place.state)), at, 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._writes(event, arguments):
            self.seen += 1
            if self.seen == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def _writes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "http.client.send":
            head = arguments[1] if isinstance(arguments[1], bytes) else b""
            line = head.partition(b"\r\n")[0]
            return line.startswith((b"POST", b"PUT", b"DELETE", b"PATCH")) and not any(
                part in line for part in _ASKING
            )
        if event == "open":
            return bool((arguments[2] or 0) & _WRITING) and str(arguments[0]).startswith(self.below)
        return event in _CHANGES and str(arguments[0]).startswith(self.below)


def run(place: Place, run_id: str, fence: str, at: int, count: Any = None) -> None:
    """Run every step; `at` 0 leaves it undisturbed, and `count` is told how many writes there were."""
    workloads.__path__ = [*workloads.__path__, str(Path(__file__).parent / "workloads")]
    from workloads.fence.workload import Fence

    attributes = {"name": place.name, "__module__": Fence.__module__, "default_source": "made:400"}
    workload = type("Variant", (Fence,), attributes)()
    evaluate.render = lambda _: "<html>"  # type: ignore[attr-defined]
    folder = place.folder / run_id
    folder.mkdir(parents=True)
    tempfile.tempdir = str(folder)
    registry, store, target = Registry(place.registry), place.store, LocalTarget(place.state)
    records = RunHistory(store, place.name)
    data, model, evaluation, packed = (folder / part for part in ("data", "model", "evaluation", "archive"))
    death = Death(place, at)
    sys.addaudithook(death)
    if prep_data.run(workload, {"fence": fence}, data, records, progress=_quiet).changed:
        train.run(workload, {"fence": fence}, data, model, _quiet)
        if evaluate.run(workload, data, model, evaluation, run_id, registry, store, _quiet).promoted:
            archive.run(model, evaluation, packed, registry, store, _quiet)
            output = folder / "deployed.json"
            deploy_serving.run(packed, output, registry, store, target, _quiet, data)
    else:
        records.write_run(run_id, {"verdict": "unchanged", "reasons": []})
    notify.run(place.name, run_id, records, Notifier(""), progress=_quiet)
    if count is not None:
        count.value = death.seen


def in_process(place: Place, run_id: str, fence: str, at: int = 0) -> tuple[bool, int]:
    """Run in a process of its own; returns whether it was killed, and the number of its writes if not."""
    count = CONTEXT.Value("i", 0)
    process = CONTEXT.Process(target=run, args=(place, run_id, fence, at, count))
    process.start()
    process.join(120)
    assert process.exitcode in (0, -signal.SIGKILL), f"{run_id} ended with {process.exitcode}"
    return process.exitcode != 0, count.value


def _quiet(_: str) -> None:
    """Say nothing."""
