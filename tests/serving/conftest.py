"""Real servers in folders of their own, ended at the end of each test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving import daemon
from serving.client import Endpoint
from serving.running import Running

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
def running(state: Path) -> Running:
    return daemon.start(state, 0)


@pytest.fixture
def endpoint(running: Running) -> Endpoint:
    return Endpoint(running)


@pytest.fixture
def restart(state: Path) -> Callable[[], Endpoint]:
    return lambda: Endpoint(daemon.start(state))
