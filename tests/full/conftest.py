"""Fixtures of the full-size tests, and the table that is printed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.serving.process import daemon

from .table import PAGE, WORKLOADS, Table, render, stored_tables, write_page

MEASURED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state directory for the tests of one module."""
    folder = tmp_path_factory.mktemp("state")
    yield folder
    daemon.stop(folder)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Table:
    """The table of the workload that is part of the module's name."""
    request.config.stash[MEASURED] = True
    return Table(request.module.__name__.rpartition("test_")[2])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print the tables of all workloads. Write the page if all workloads are measured and all tests pass."""
    if not terminalreporter.config.stash.get(MEASURED, False):
        return
    tables = stored_tables()
    terminalreporter.section("at full size")
    terminalreporter.write_line(render(tables))
    if exitstatus == 0 and len(tables) == len(WORKLOADS):
        write_page(tables)
        terminalreporter.write_line(f"written to {PAGE.parent.name}/{PAGE.name}")
