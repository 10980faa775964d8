"""Fixtures that the code before the move to `continuous_training` wrote; README.md says how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.local_registry import open_registry

from . import former


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `state`, a state directory of local runs, and `ours`, the code of the workload wine."""
    return former.unpack("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one state directory for each point at which a rollout was killed."""
    return former.unpack("interrupted", tmp_path_factory.mktemp("interrupted")) / "interrupted"


@pytest.fixture(scope="session")
def former_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the former version's server: its packages `serving` and `adapters`."""
    return former.unpack("former-server", tmp_path_factory.mktemp("former-server"))


@pytest.fixture
def state(local: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the state directory; its server is stopped after the test."""
    folder = former.copy(local / "state", tmp_path / "state")
    yield folder
    former.python("serving", "stop", "--state", folder)


@dataclass(frozen=True)
class NextRun:
    """A run over the state directory `moving`: where it is, and what the run printed."""

    state: Path
    result: dict[str, Any]


@pytest.fixture(scope="session")
def next_run(interrupted: Path, local: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NextRun]:
    """The run that comes after one that was killed while the champion moved."""
    state = former.copy(interrupted / "moving", tmp_path_factory.mktemp("next") / "state")
    env = former.environment(PYTHONPATH=str(local / "ours"))
    try:
        result = former.json_of("pipelines.run", "--state", state, "--workload", "wine", env=env)
        yield NextRun(state, result)
    finally:
        former.python("serving", "stop", "--state", state)


@pytest.fixture(scope="session")
def with_registry(local: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a copy of the state directory, with one server of its registry for all commands."""
    state = former.copy(local / "state", tmp_path_factory.mktemp("registry") / "state")
    with open_registry(f"sqlite:///{state}/mlflow/mlflow.db") as registry:
        yield former.environment(
            CT_STATE=str(state), MLFLOW_TRACKING_URI=registry.uri, PYTHONPATH=str(local / "ours")
        )
