"""The compiled pipeline, run by KFP's DockerRunner in the images, as strictly as a cluster would."""

from __future__ import annotations

import contextlib
import io
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
from docker.types import Mount

from continuous_training.core.run_id import new_run_id
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.local_run.kfp_local import resolve
from tests.fakes import free_port

from .conftest import HARDENED


@dataclass
class Machine:
    """What stands around the steps: the folder that they share, and what they find in their environment."""

    engine: docker.DockerClient
    images: Images
    folder: Path
    environment: dict[str, str]
    said: str = field(default="", init=False)

    def run(self, workload: str, **parameters: Any) -> str:
        """Run the workload's pipeline file and return the run's id; RuntimeError when it fails.

        `said` is what the steps said.
        """
        from kfp import components, local

        run_id = new_run_id(workload)
        file = self.folder / f"{run_id}.yaml"
        file.write_text(resolve(compile_workload(workload, self.images).text, run_id))
        artifacts = self.open_folder(run_id)
        said = io.StringIO()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(said):
                # Of the settings that are the cluster's alone.
                warnings.simplefilter("ignore")
                runner = local.DockerRunner(environment=self.environment, **self.surroundings)
                local.init(runner, pipeline_root=str(artifacts), raise_on_error=True, enable_caching=False)
                components.load_component_from_file(str(file))(**parameters)
        finally:
            self.said = said.getvalue()
            print(self.said)
        return run_id

    @contextlib.contextmanager
    def server(self) -> Iterator[str]:
        """Run the model server of the state folder for the while; yields its address."""
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
            self.images.of("serving"), command, entrypoint=["python"], detach=True, **self.surroundings
        )
        try:
            deadline = time.monotonic() + 60
            while not _answers(port):
                server.reload()
                if server.status == "exited" or time.monotonic() > deadline:
                    raise RuntimeError(f"the server does not answer: {server.logs().decode()}")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.remove(force=True)

    @property
    def state(self) -> Path:
        """The state folder: how deploy-serving finds the server, as on one machine."""
        return self.folder / "state"

    @property
    def surroundings(self) -> dict[str, Any]:
        """What each container has: this machine's network, the state folder, and no rights beside."""
        mounts = [Mount(str(self.state), str(self.state), type="bind")]
        return {"network_mode": "host", "mounts": mounts, **HARDENED}

    def open_folder(self, name: str) -> Path:
        """Make a folder that the images' user, who is nobody on this machine, may write to."""
        made = self.folder / name
        made.mkdir()
        made.chmod(0o777)
        return made

    def hand_over(self) -> None:
        """Let this machine's user remove what the images' user has written."""
        folder = {str(self.folder): {"bind": "/left", "mode": "rw"}}
        command = ["sh", "-c", "chmod -R a+rwX /left/* || true"]
        self.engine.containers.run(self.images.of("notify"), command, volumes=folder, remove=True)


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v2/health/live", timeout=5).ok
    except requests.RequestException:
        return False
