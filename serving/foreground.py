"""Serving the models of a source in this process, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shlex
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .app import App, watch
from .listening import Listener, run
from .management import Management
from .ports import DEFAULT, listen
from .repository import Repository
from .running import Running
from .settings import Settings
from .sources import Source
from .unpack import read_manifest

_SHOWN = 300


def serve_source(
    open_source: Callable[[Path], Source],
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
    with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
        folder = Path(temporary)
        (folder / "downloads").mkdir()
        source = open_source(folder / "downloads")
        public = listen(host, port, (DEFAULT,))
        repository = Repository(folder / "server", settings.threads)
        repository.expect(source.names)
        private = None
        if management is not None:
            manager = Management(repository, management[1], source)
            private = (manager, listen("127.0.0.1", management[0]))
        url = Running(0, public.getsockname()[1], 0, "", "", host).url
        _serve(App(repository, settings), source, url, public, private, folder, say)


def _serve(
    app: App,
    source: Source,
    url: str,
    public: socket.socket,
    private: Listener | None,
    folder: Path,
    say: Callable[[str], None],
) -> None:
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
        for name in source.names:
            await asyncio.to_thread(load, name)

    def every_moment() -> None:
        for watchdog in watchdogs:
            watchdog.look()
        app.repository.expire()

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


def _curl(url: str, manifest: dict[str, Any]) -> str:
    """Write a line that asks the first golden request, when it is short enough to be read."""
    request = json.dumps(manifest["golden"][0]["request"]) if manifest["golden"] else "{}"
    if len(request) > _SHOWN:
        return f"  curl {url}/v2/models/{manifest['name']}"
    return f"  curl {url}/predict/{manifest['name']} -d {shlex.quote(request)}"
