"""The fixture of a running service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running_service import Service, running_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running service without sources of events."""
    with running_service(tmp_path) as running:
        yield running
