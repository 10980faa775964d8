"""Real servers in folders of their own, ended at the end of each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continuous_training.artifacts.archive import Archive
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.server_state import RunningServer

# The helpers beside this file are found however pytest imports the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose server, if a test starts one, is stopped after it."""
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
    """A workload of pictures, one of numbers, one of texts, and a toy that tells nothing of itself."""
    from toy_models import make_archive
    from workload_archives import reviews_archive, workload_archive

    folder = tmp_path_factory.mktemp("archives")
    made = {name: workload_archive(name, folder / name) for name in ("digits", "diabetes")}
    return {**made, "reviews": reviews_archive(folder / "reviews"), "toy": make_archive(folder / "toy")}


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, archives: dict[str, Archive]) -> Iterator[str]:
    """The address of a server of all of them."""
    folder = tmp_path_factory.mktemp("gallery")
    endpoint = ServerClient(daemon.start(folder, 0))
    for name, written in archives.items():
        endpoint.load(name, written.path, written.digest)
    yield endpoint.running.url
    daemon.stop(folder)
