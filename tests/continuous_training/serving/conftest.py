"""Servers in temporary state directories, which are stopped after each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.state_files import RunningServer

# The tests import the helper modules of this directory by their plain names.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory. Its server, if a test starts one, is stopped after the test."""
    folder = tmp_path / "state"
    yield folder
    if folder.exists():
        daemon.stop(folder)


@pytest.fixture
def running(state: Path) -> RunningServer:
    return daemon.start(state, 0)


@pytest.fixture
def endpoint(running: RunningServer) -> ServerClient:
    return ServerClient(running)


@pytest.fixture
def restart(state: Path) -> Callable[[], ServerClient]:
    return lambda: ServerClient(daemon.start(state))


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Archive]:
    """Archives of a workload with pictures, one with numbers, one with texts, and a model without schemas."""
    from toy_models import make_archive
    from workload_archives import reviews_archive, workload_archive

    folder = tmp_path_factory.mktemp("archives")
    archives = {name: workload_archive(name, folder / name) for name in ("digits", "diabetes")}
    return {**archives, "reviews": reviews_archive(folder / "reviews"), "toy": make_archive(folder / "toy")}


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Archive]) -> Iterator[str]:
    """The address of a server with all these models."""
    folder = tmp_path_factory.mktemp("gallery")
    endpoint = ServerClient(daemon.start(folder, 0))
    for name, archive in archives.items():
        endpoint.load(name, archive.path, archive.digest)
    yield endpoint.running.url
    daemon.stop(folder)
