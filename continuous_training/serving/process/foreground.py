"""Serves the models of an archive source in this process, until Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from continuous_training.serving.http.management import ManagementApp
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.server_loop import ManagementServer
from continuous_training.serving.process.settings import ServerSettings
from continuous_training.serving.process.sockets import DEFAULT_PORT, listen
from continuous_training.serving.process.source_server import (
    OpenSource,
    load_model,
    public_url,
    run_application,
    temporary_folder,
)


@dataclass(frozen=True)
class ManagementAccess:
    """The port of the management application, and the token that it requires."""

    port: int
    token: str


def serve_source(
    open_source: OpenSource,
    host: str = "127.0.0.1",
    port: int | None = None,
    management: ManagementAccess | None = None,
    settings: ServerSettings | None = None,
    report: Callable[[str], None] = print,
) -> None:
    """Serve the models of a source until SIGINT or SIGTERM. Remove all files at the end.

    Without `management`, the models cannot be changed while the server runs. `report` receives the address of
    each model.
    """
    settings = settings or ServerSettings()
    with temporary_folder() as folder:
        source = open_source(folder / "downloads")
        public_socket = listen(host, port, (DEFAULT_PORT,))
        url = public_url(host, public_socket)
        application = ServerApplication(ModelRepository(folder / "server", settings.threads), settings)
        application.repository.add_pending(source.names)
        management_server = None
        if management is not None:
            management_app = ManagementApp(application.repository, management.token, source)
            management_server = ManagementServer(management_app, listen("127.0.0.1", management.port))

        async def load_models() -> None:
            for name in source.names:
                for line in await asyncio.to_thread(load_model, application, source, name, url):
                    report(line)

        run_application(application, public_socket, load_models, folder, management_server)
