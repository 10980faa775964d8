"""A package on one virtual machine: with Docker Compose, and with systemd."""

from __future__ import annotations

import configparser
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
import requests
from docker.models.containers import Container

from continuous_training.artifacts.archive_writer import Archive
from pipelines.images import Images
from tests.fakes import free_port

from .conftest import wait_until_healthy
from .packages import build_package

FOLDER = Path("manifests/virtual-machine").absolute()
UNIT = FOLDER / "model-server@.service"
MEMORY = 512 * 1024**2


@pytest.fixture(scope="module")
def package(images: Images, archive: Archive, repository: str) -> str:
    """The name of a package."""
    name = f"{repository}:virtual-machine"
    build_package(archive.path, "--serving-image", images.of("serving"), "--tag", name)
    return name


def check_container(container: Container, port: int) -> None:
    """Compare the restrictions of a running package, and request a prediction."""
    wait_until_healthy(container)
    host = container.attrs["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
    assert "no-new-privileges" in host["SecurityOpt"][0]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (MEMORY, MEMORY, 256)
    assert container.attrs["Config"]["User"] == "10001:10001"
    assert container.ports == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    response = requests.post(f"http://127.0.0.1:{port}/predict/toy", json={"x": [4]}, timeout=30)
    assert response.json() == {"scale": 2, "y": [8.0]}


@pytest.fixture(scope="module")
def compose() -> list[str]:
    """The command of Docker Compose: the plugin of Docker, or the program of Compose 1."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("Docker Compose is not installed: https://docs.docker.com/compose/install")


@pytest.fixture
def project(compose: list[str], package: str) -> Iterator[tuple[list[str], dict[str, str], int]]:
    """The command for a project of this test, its environment, and the port. The project is removed."""
    port = free_port()
    command = [
        *compose,
        "--project-name",
        f"test-{uuid.uuid4().hex[:12]}",
        "--file",
        str(FOLDER / "compose.yaml"),
    ]
    environment = {**os.environ, "PACKAGE": package, "PORT": str(port)}
    yield command, environment, port
    subprocess.run([*command, "down", "--timeout", "5"], env=environment, check=True, capture_output=True)


def test_compose_runs_a_package(
    engine: docker.DockerClient, project: tuple[list[str], dict[str, str], int]
) -> None:
    command, environment, port = project
    subprocess.run([*command, "up", "--detach"], env=environment, check=True, capture_output=True)
    process = subprocess.run(
        [*command, "ps", "--quiet"], env=environment, check=True, capture_output=True, text=True
    )
    container = engine.containers.get(process.stdout.strip())
    check_container(container, port)
    assert container.attrs["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    # A server that ends is started again. `docker kill` would prevent that.
    container.exec_run(["python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)"])
    deadline = time.monotonic() + 60
    while container.attrs["RestartCount"] == 0 or container.health != "healthy":
        assert time.monotonic() < deadline, container.logs().decode()
        time.sleep(0.2)
        container.reload()


def test_compose_needs_the_name_of_a_package(project: tuple[list[str], dict[str, str], int]) -> None:
    command, environment, _ = project
    environment = {name: value for name, value in environment.items() if name != "PACKAGE"}
    process = subprocess.run(
        [*command, "config"], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode != 0
    assert "set PACKAGE to the name of an image" in process.stderr


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    # The other units of the machine are not checked.
    unit = shutil.copy(UNIT, tmp_path / "model-server@digits.service")
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=true\n", encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    findings = [line for line in process.stderr.splitlines() if "model-server" in line]
    assert (process.returncode, findings) == (0, [])


@pytest.fixture
def service(package: str) -> Iterator[tuple[dict[str, list[str]], int]]:
    """The commands of the unit for a model, as systemd expands them, and the port of the server."""
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8").replace("\\\n", " "))
    options, instance, port = parser["Service"], uuid.uuid4().hex[:12], free_port()
    variables = dict(item.split("=", 1) for item in options["Environment"].split())
    variables |= {"PACKAGE": package, "PORT": str(port)}
    commands: dict[str, list[str]] = {}
    for name in ("ExecStartPre", "ExecStart", "ExecStartPost", "ExecStop"):
        text = options[name].removeprefix("-").replace("%i", instance)
        for variable, value in variables.items():
            text = text.replace(f"${{{variable}}}", value)
        commands[name] = [word.replace("$$", "$") for word in shlex.split(text)]
    yield commands, port
    subprocess.run(commands["ExecStartPre"], capture_output=True, check=False)


def test_the_commands_of_the_unit_run_a_package(
    engine: docker.DockerClient, service: tuple[dict[str, list[str]], int], tmp_path: Path
) -> None:
    commands, port = service
    # The log driver of the unit needs journald, which is not part of this test.
    start = [word.replace("journald", "json-file") for word in commands["ExecStart"]]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(start, stdout=log, stderr=log) as server:
        subprocess.run(commands["ExecStartPost"], timeout=90, check=True, capture_output=True)
        container = engine.containers.get(start[start.index("--name") + 1])
        check_container(container, port)
        subprocess.run(commands["ExecStop"], timeout=60, check=True, capture_output=True)
        # The server ended after its requests, by itself.
        assert server.wait(30) == 0, (tmp_path / "log").read_text(encoding="utf-8")
    assert engine.containers.list(all=True, filters={"id": container.id}) == []
