"""Serves the models of an archive source: the part that one process and several workers have in common."""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_manifest import ArchiveManifest
from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.core.temporary_files import system_folder
from continuous_training.serving.models.archive_sources import ArchiveSource
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.server_loop import (
    ManagementServer,
    ServerEvents,
    run,
)
from continuous_training.serving.process.state_files import RunningServer

OpenSource = Callable[[Path], ArchiveSource]
"""Opens a source. The argument is the folder for its downloads."""

_MAX_SHOWN_REQUEST = 300


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Create a folder for one server, with a subfolder `downloads`. Remove it at the end."""
    with system_folder("serving") as folder:
        (folder / "downloads").mkdir()
        yield folder


def load_model(application: ServerApplication, source: ArchiveSource, name: str, url: str) -> list[str]:
    """Load a model of the source. Return two lines for the user: its address, and a request to try."""
    archive, digest = source.fetch(name)
    manifest = read_manifest(archive)
    application.repository.load(archive, digest, name=name)
    return [f"serving {name} {digest[:12]} at {url}/predict/{name}", _curl_command(url, manifest)]


def run_application(
    application: ServerApplication,
    public_socket: socket.socket,
    on_start: Callable[[], Coroutine[Any, Any, None]],
    folder: Path,
    management: ManagementServer | None = None,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Serve the application until SIGINT or SIGTERM, and unload its models.

    If a handler hangs, the process removes `folder` and ends with exit code 1.
    """

    def end_process() -> None:
        # A thread cannot interrupt the main thread. The process manager, such as the kubelet, restarts it.
        shutil.rmtree(folder, ignore_errors=True)
        logging.shutdown()
        os._exit(1)

    watchdogs = application.watchdogs(end_process)

    def run_periodic_tasks() -> None:
        for watchdog in watchdogs:
            watchdog.check()
        application.repository.revert_expired_trials()
        on_tick()

    public = application.public_server(public_socket)
    events = ServerEvents(on_start, run_periodic_tasks, application.begin_shutdown)
    try:
        run(public, management, events, application.settings)
    finally:
        application.repository.close()


def public_url(host: str, public_socket: socket.socket) -> str:
    """Return the address of a listening socket, as this machine reaches it."""
    return RunningServer(0, public_socket.getsockname()[1], 0, "", "", host).url


def _curl_command(url: str, manifest: ArchiveManifest) -> str:
    """Return a command that sends the first golden request, or one that shows the model's metadata."""
    request = json.dumps(manifest.golden.requests[0].request) if manifest.golden else "{}"
    if len(request) > _MAX_SHOWN_REQUEST:
        return f"  curl {url}/v2/models/{manifest.name}"
    return f"  curl {url}/predict/{manifest.name} -d {shlex.quote(request)}"
