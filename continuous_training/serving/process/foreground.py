"""Serving the models of a source until Ctrl-C, in this process or in workers of it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_reader import read_manifest
from continuous_training.serving.http.app import App, watch
from continuous_training.serving.http.management import Management
from continuous_training.serving.models.archive_sources import ArchiveSource, PinnedSource
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process import workers
from continuous_training.serving.process.server_loop import Listener, run
from continuous_training.serving.process.server_state import RunningServer
from continuous_training.serving.process.settings import Settings
from continuous_training.serving.process.sockets import DEFAULT_PORT, listen, listen_shared
from continuous_training.serving.process.worker_metrics import Siblings

_SHOWN = 300


def serve_source(
    open_source: Callable[[Path], ArchiveSource],
    host: str = "127.0.0.1",
    port: int | None = None,
    management: tuple[int, str] | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a source's models until SIGINT or SIGTERM, and leave nothing on disk.

    `open_source` gets a folder for what is downloaded. `management` is the port and the token of the
    private application; without it there is none.
    """
    settings = settings or Settings()
    with _folder() as folder:
        source = open_source(folder / "downloads")
        public = listen(host, port, (DEFAULT_PORT,))
        repository = ModelRepository(folder / "server", settings.threads)
        private = None
        if management is not None:
            manager = Management(repository, management[1], source)
            private = (manager, listen("127.0.0.1", management[0]))
        _serve(App(repository, settings), source, _url(host, public), public, private, folder, say)


def serve_with_workers(
    open_source: Callable[[Path], ArchiveSource],
    count: int,
    host: str = "127.0.0.1",
    port: int | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = print,
) -> int:
    """Serve a source's models in `count` processes, all with the same versions; returns the exit code.

    What an alias means is looked up once, before the first of them begins.
    """
    settings = settings or Settings()
    with _folder() as folder:
        source = PinnedSource(open_source(folder / "downloads"))
        sockets = listen_shared(host, port, count, (DEFAULT_PORT,))
        url, counted = _url(host, sockets[0]), folder / "counted"
        counted.mkdir()

        def serve(public: socket.socket, ready: Callable[[Sequence[str]], None], number: int) -> None:
            own, lines = folder / f"worker-{number}", list[str]()
            app = App(ModelRepository(own, settings.threads), settings)
            _serve(app, source, url, public, None, own, lines.append, _Among(counted, lambda: ready(lines)))

        return workers.run(sockets, serve, say)


@dataclass
class _Among:
    """What a worker has to do with the others: where all leave their metrics, who hears that it is ready."""

    counted: Path
    ready: Callable[[], None]
    parent: int = field(default_factory=os.getppid)

    def is_left(self) -> bool:
        """Tell whether nobody is there any more who would end this process."""
        return os.getppid() != self.parent


def _serve(
    app: App,
    source: ArchiveSource,
    url: str,
    public: socket.socket,
    private: Listener | None,
    folder: Path,
    say: Callable[[str], None],
    among: _Among | None = None,
) -> None:
    app.repository.add_pending(source.names)
    tasks = []

    def end() -> None:
        # No other way ends a process whose main thread hangs; the kubelet starts it again.
        shutil.rmtree(folder, ignore_errors=True)
        logging.shutdown()
        os._exit(1)

    def load(name: str) -> None:
        archive, digest = source.fetch(name)
        manifest = read_manifest(archive)
        app.repository.load(archive, digest, name=name)
        say(f"serving {name} {digest[:12]} at {url}/predict/{name}")
        say(_curl(url, manifest))

    async def ready() -> None:
        if among is None:
            for name in source.names:
                await asyncio.to_thread(load, name)
        else:
            tasks.append(asyncio.create_task(app.metrics.share(Siblings(among.counted))))
            among.ready()

    if among is not None:
        # Who connects meanwhile waits, rather than hear that a server which answers is not ready.
        for name in source.names:
            load(name)

    def every_moment() -> None:
        for watchdog in watchdogs:
            watchdog.check()
        app.repository.revert_expired_trials()
        if among is not None and among.is_left():
            os.kill(os.getpid(), signal.SIGTERM)

    watchdogs = watch(app, app.settings.stall, end)
    settings = app.settings
    try:
        run(
            (app, public),
            private,
            ready,
            every_moment,
            settings,
            app.stop,
        )
    finally:
        app.repository.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder with one for downloads in it, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
        folder = Path(temporary)
        (folder / "downloads").mkdir()
        yield folder


def _url(host: str, public: socket.socket) -> str:
    return RunningServer(0, public.getsockname()[1], 0, "", "", host).url


def _curl(url: str, manifest: dict[str, Any]) -> str:
    """Write a line that asks the first golden request, when it is short enough to be read."""
    request = json.dumps(manifest["golden"][0]["request"]) if manifest["golden"] else "{}"
    if len(request) > _SHOWN:
        return f"  curl {url}/v2/models/{manifest['name']}"
    return f"  curl {url}/predict/{manifest['name']} -d {shlex.quote(request)}"
