"""Serves the models of an archive source in several processes on one port, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence

from continuous_training.serving.models.archive_sources import PinnedSource
from continuous_training.serving.models.model_repository import ModelRepository
from continuous_training.serving.process import workers
from continuous_training.serving.process.application import ServerApplication
from continuous_training.serving.process.settings import ServerSettings
from continuous_training.serving.process.sockets import DEFAULT_PORT, accept_connections, listen_shared
from continuous_training.serving.process.source_server import (
    OpenSource,
    load_model,
    public_url,
    run_application,
    temporary_folder,
)
from continuous_training.serving.process.worker_metrics import WorkerMetrics


def serve_with_workers(
    open_source: OpenSource,
    count: int,
    host: str = "127.0.0.1",
    port: int | None = None,
    settings: ServerSettings | None = None,
    report: Callable[[str], None] = print,
) -> int:
    """Serve the models of a source in `count` processes until SIGINT or SIGTERM. Return the exit code.

    Aliases are resolved once, before the first worker starts: all workers serve the same versions.
    """
    server_settings = settings or ServerSettings()
    with temporary_folder() as folder:
        source = PinnedSource(open_source(folder / "downloads"))
        sockets = listen_shared(host, port, count, (DEFAULT_PORT,))
        url = public_url(host, sockets[0])
        metrics_folder = folder / "metrics"
        metrics_folder.mkdir()

        def serve(public_socket: socket.socket, ready: Callable[[Sequence[str]], None], number: int) -> None:
            parent = os.getppid()
            accept_connections(public_socket)
            repository = ModelRepository(folder / f"worker-{number}", server_settings.threads)
            application = ServerApplication(repository, server_settings)
            # The models are loaded before the server accepts connections. Early clients wait for this worker,
            # instead of getting the status 503 while other workers are ready.
            lines = [line for name in source.names for line in load_model(application, source, name, url)]
            background_tasks = []

            async def publish_metrics() -> None:
                task = application.metrics.publish(WorkerMetrics(metrics_folder))
                background_tasks.append(asyncio.create_task(task))
                ready(lines)

            def stop_without_parent() -> None:
                # A parent that was killed cannot stop its workers.
                if os.getppid() != parent:
                    os.kill(os.getpid(), signal.SIGTERM)

            run_application(application, public_socket, publish_metrics, folder, on_tick=stop_without_parent)

        return workers.run(sockets, serve, report, server_settings.stall)
