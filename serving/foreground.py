"""Serving given archives in this process, until Ctrl-C."""

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

from adapters.errors import UserError

from .app import App, watch
from .digest import digest_file
from .listening import run
from .management import Management
from .ports import DEFAULT, listen
from .repository import Repository
from .running import Running
from .settings import Settings
from .unpack import read_manifest

_SHOWN = 300


def serve_archives(
    archives: list[Path],
    host: str = "127.0.0.1",
    port: int | None = None,
    management: tuple[int, str] | None = None,
    settings: Settings | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the archives' models until SIGINT or SIGTERM, and leave nothing on disk.

    `management` is the port and the token of the private application; without it there is none.
    """
    settings = settings or Settings()
    manifests = {archive: read_manifest(archive) for archive in archives}
    names = [manifest["name"] for manifest in manifests.values()]
    if len(set(names)) != len(archives):
        raise UserError(f"the archives hold {sorted(names)}; give one archive a model")
    public = listen(host, port, (DEFAULT,))
    private = listen("127.0.0.1", management[0]) if management else None
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        repository = Repository(Path(folder), settings.threads)
        repository.expect(names)
        app = App(repository, settings)
        token = management[1] if management else ""
        _serve(
            app,
            manifests,
            Running(0, public.getsockname()[1], 0, "", "", host).url,
            public,
            (Management(repository, token), private) if private else None,
            say,
        )


def _serve(
    app: App,
    manifests: dict[Path, Any],
    url: str,
    public: socket.socket,
    private: tuple[Management, socket.socket] | None,
    say: Callable[[str], None],
) -> None:
    def end() -> None:
        # No other way ends a process whose main thread hangs; the kubelet starts it again.
        shutil.rmtree(app.repository.work.parent, ignore_errors=True)
        logging.shutdown()
        os._exit(1)

    watchdogs = watch(app, app.settings.stall, end)

    async def ready() -> None:
        for archive, manifest in manifests.items():
            digest = digest_file(archive)
            await asyncio.to_thread(app.repository.load, archive, digest)
            say(f"serving {manifest['name']} {digest[:12]} at {url}/predict/{manifest['name']}")
            say(_curl(url, manifest))

    def every_moment() -> None:
        for watchdog in watchdogs:
            watchdog.look()
        app.repository.expire()

    try:
        run(
            (app, public),
            private,
            ready,
            every_moment,
            stopping=app.stop,
            connections=app.settings.max_connections,
            linger=app.settings.linger,
        )
    finally:
        app.repository.close()


def _curl(url: str, manifest: dict[str, Any]) -> str:
    """Write a line that asks the first golden request, when it is short enough to be read."""
    request = json.dumps(manifest["golden"][0]["request"]) if manifest["golden"] else "{}"
    if len(request) > _SHOWN:
        return f"  curl {url}/v2/models/{manifest['name']}"
    return f"  curl {url}/predict/{manifest['name']} -d {shlex.quote(request)}"
