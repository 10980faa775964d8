"""The fixtures of a running service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .running_service import Service, running_service
from .slack_service import Slack, slack_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A running service without sources of events."""
    with running_service(tmp_path) as running:
        yield running


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Slack]:
    """A running service that is connected to a Slack app."""
    with slack_service(tmp_path) as connected:
        yield connected
