"""Fixtures with data that the earlier version wrote; README.md describes how they were created."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from continuous_training.adapters.local_registry import LocalRegistry

from . import earlier_version


@pytest.fixture(scope="session")
def local_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `state`, a state directory of local runs, and `ours`, the code of the workload wine."""
    return earlier_version.unpack("local", tmp_path_factory.mktemp("local"))


@pytest.fixture(scope="session")
def interrupted_rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one state directory for each point at which a rollout was killed."""
    return earlier_version.unpack("interrupted", tmp_path_factory.mktemp("interrupted")) / "interrupted"


@pytest.fixture(scope="session")
def earlier_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the earlier version's server: its packages `serving` and `adapters`."""
    return earlier_version.unpack("former-server", tmp_path_factory.mktemp("former-server"))


@pytest.fixture
def state(local_runs: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the state directory; its server is stopped after the test."""
    folder = earlier_version.copy_state(local_runs / "state", tmp_path / "state")
    yield folder
    earlier_version.run_module("serving", "stop", "--state", folder)


@dataclass(frozen=True)
class NextRun:
    """A run in a copy of the state directory `moving`: the copy and the printed result."""

    state: Path
    result: dict[str, Any]


@pytest.fixture(scope="session")
def next_run(
    interrupted_rollouts: Path, local_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NextRun]:
    """The run after a run that was killed while the champion alias moved."""
    state = earlier_version.copy_state(
        interrupted_rollouts / "moving", tmp_path_factory.mktemp("next") / "state"
    )
    env = earlier_version.clean_environment(PYTHONPATH=str(local_runs / "ours"))
    try:
        result = earlier_version.run_json("pipelines.run", "--state", state, "--workload", "wine", env=env)
        yield NextRun(state, result)
    finally:
        earlier_version.run_module("serving", "stop", "--state", state)


@pytest.fixture(scope="session")
def registry_environment(
    local_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of commands that use a copy of the state directory and share one MLflow server."""
    state = earlier_version.copy_state(local_runs / "state", tmp_path_factory.mktemp("registry") / "state")
    with closing(LocalRegistry(state / "mlflow")) as registry:
        registry.start()
        yield earlier_version.clean_environment(
            CT_STATE=str(state), MLFLOW_TRACKING_URI=registry.uri, PYTHONPATH=str(local_runs / "ours")
        )
