"""Serving given archives in this process, until Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import shlex
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.errors import UserError

from .app import App
from .digest import digest_file
from .listening import run
from .management import Management
from .ports import DEFAULT, listen
from .repository import Repository
from .running import Running
from .unpack import read_manifest

_SHOWN = 300


def serve_archives(
    archives: list[Path],
    host: str = "127.0.0.1",
    port: int | None = None,
    management: tuple[int, str] | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the archives' models until SIGINT or SIGTERM, and leave nothing on disk.

    `management` is the port and the token of the private application; without it there is none.
    """
    manifests = {archive: read_manifest(archive) for archive in archives}
    names = [manifest["name"] for manifest in manifests.values()]
    if len(set(names)) != len(archives):
        raise UserError(f"the archives hold {sorted(names)}; give one archive a model")
    public = listen(host, port, (DEFAULT,))
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        repository = Repository(Path(folder))
        repository.expect(names)
        asyncio.run(_serve(repository, manifests, host, public, management, say))


async def _serve(
    repository: Repository,
    manifests: dict[Path, Any],
    host: str,
    public: socket.socket,
    management: tuple[int, str] | None,
    say: Callable[[str], None],
) -> None:
    apps: list[tuple[Any, socket.socket]] = [(App(repository), public)]
    if management is not None:
        port, token = management
        apps.append((Management(repository, token), listen("127.0.0.1", port)))
    url = Running(0, public.getsockname()[1], 0, "", "", host).url

    async def ready() -> None:
        for archive, manifest in manifests.items():
            digest = digest_file(archive)
            await asyncio.to_thread(repository.load, archive, digest)
            say(f"serving {manifest['name']} {digest[:12]} at {url}/predict/{manifest['name']}")
            say(_curl(url, manifest))

    try:
        await run(apps, ready, repository.expire)
    finally:
        repository.close()


def _curl(url: str, manifest: dict[str, Any]) -> str:
    """Write a line that asks the first golden request, when it is short enough to be read."""
    request = json.dumps(manifest["golden"][0]["request"]) if manifest["golden"] else "{}"
    if len(request) > _SHOWN:
        return f"  curl {url}/v2/models/{manifest['name']}"
    return f"  curl {url}/predict/{manifest['name']} -d {shlex.quote(request)}"
