"""One table at the end, and a state folder whose server ends with the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from continuous_training.serving.process import daemon

from .table import PAGE, WORKLOADS, Table, kept, render, write_page

MEASURED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the module's own."""
    folder = tmp_path_factory.mktemp("state")
    yield folder
    daemon.stop(folder)


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Table:
    """The table of the workload that the module is called after."""
    request.config.stash[MEASURED] = True
    return Table(request.module.__name__.rpartition("test_")[2])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    """Print what is known of all workloads; the page is written when all of them hold."""
    if not terminalreporter.config.stash.get(MEASURED, False):
        return
    tables = kept()
    terminalreporter.section("at full size")
    terminalreporter.write_line(render(tables))
    if exitstatus == 0 and len(tables) == len(WORKLOADS):
        write_page(tables)
        terminalreporter.write_line(f"written to {PAGE.parent.name}/{PAGE.name}")
