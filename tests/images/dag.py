"""Run the compiled pipeline in the images with KFP's DockerRunner and the restrictions of a cluster."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import docker
import requests
from docker.types import Mount

from continuous_training.core.run_id import new_run_id
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.local_run.kfp_process import resolve
from tests.fakes import free_port

from .conftest import HARDENED


@dataclass
class PipelineRunner:
    """Runs pipelines in containers that share a folder and have the environment variables of a cluster."""

    engine: docker.DockerClient
    images: Images
    folder: Path
    environment: dict[str, str]
    output: str = field(default="", init=False)

    def run(self, workload: str, **parameters: Any) -> str:
        """Run the pipeline of the workload and return the id of the run. Raises RuntimeError when it fails.

        Sets `output` to the output of the steps.
        """
        from kfp import components, local
        from kfp.local import docker_task_handler

        run_id = new_run_id(workload)
        file = self.folder / f"{run_id}.yaml"
        file.write_text(resolve(compile_workload(workload, self.images).text, run_id))
        artifacts = self.create_folder(run_id)
        output = io.StringIO()
        containers = patch.object(docker_task_handler, "run_docker_container", _run_container)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(output), containers:
                # KFP warns about settings that apply only to a cluster.
                warnings.simplefilter("ignore")
                runner = local.DockerRunner(environment=self.environment, **self.container_options)
                local.init(runner, pipeline_root=str(artifacts), raise_on_error=True, enable_caching=False)
                components.load_component_from_file(str(file))(**parameters)
        finally:
            self.output = output.getvalue()
            print(self.output)
        return run_id

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """Run the model server of the state directory within the block. Yields its address."""
        port = free_port()
        command = [
            "-m",
            "continuous_training.serving.process.background",
            "--state",
            str(self.state),
            "--port",
            str(port),
        ]
        server = self.engine.containers.run(
            self.images.of("serving"), command, entrypoint=["python"], detach=True, **self.container_options
        )
        try:
            deadline = time.monotonic() + 60
            while not _is_live(port):
                server.reload()
                if server.status == "exited" or time.monotonic() > deadline:
                    raise RuntimeError(f"the server does not answer: {server.logs().decode()}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.remove(force=True)

    @property
    def state(self) -> Path:
        """The state directory, through which deploy-serving finds the server, as on one machine."""
        return self.folder / "state"

    @property
    def container_options(self) -> dict[str, Any]:
        """The options of each container: the host network, the state directory, and restricted privileges."""
        mounts = [Mount(str(self.state), str(self.state), type="bind")]
        return {"network_mode": "host", "mounts": mounts, **HARDENED}

    def create_folder(self, name: str) -> Path:
        """Create a folder in which the user of the images can write, who does not exist on this machine."""
        created = self.folder / name
        created.mkdir()
        created.chmod(0o777)
        return created

    def make_files_removable(self) -> None:
        """Allow the user of this machine to delete the files of the images' user."""
        folder = {str(self.folder): {"bind": "/folder", "mode": "rw"}}
        command = ["sh", "-c", "chmod -R a+rwX /folder/* || true"]
        self.engine.containers.run(self.images.of("notify"), command, volumes=folder, remove=True)


def _run_container(
    client: docker.DockerClient, image: str, command: list[str], volumes: dict[str, Any], **options: Any
) -> int:
    """Run a step's container, print its output and return its exit code.

    Replaces the function of KFP, which lets the engine remove the container and reports success when it is
    removed before the exit code is read.
    """
    container = client.containers.run(image, command, detach=True, volumes=volumes, **options)
    try:
        for part in container.logs(stream=True):
            print(part.decode(), end="")
        return int(container.wait()["StatusCode"])
    finally:
        container.remove(force=True)


def _is_live(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/health/live", timeout=5).ok
    except requests.RequestException:
        return False
