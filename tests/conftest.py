"""What tests of several rooms share: one MLflow server for all, and names of their own in it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.local_registry import open_registry
from adapters.registry import Registry

_numbers = itertools.count()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with a real MLflow server behind it; tests keep apart by the names of their models."""
    with open_registry(f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}") as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """A model's name that no other test has."""
    return f"model{next(_numbers)}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a test's own files, beside those that the code under test makes."""
    made = tmp_path / "folder"
    made.mkdir()
    return made
