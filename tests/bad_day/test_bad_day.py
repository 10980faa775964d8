"""Kills at random moments, and every type of file damaged: no wrong answer, traceback or manual repair.

`make test-bad-day` runs the suite and writes its table to docs/bad-day.md. `KILLS` is the number of kills.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest

from continuous_training.serving.process import daemon
from tests.pipelines.champions import HALF, NAME, run_module

from .damage import DAMAGE, FILES, damage_files
from .recovery import RUN, Counts, Workshop
from .table import Table

pytestmark = pytest.mark.full

KILLS = int(os.environ.get("KILLS", "100"))


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    """The table of the suite, which is written at the end if all tests have run."""
    table = Table()
    yield table
    if table.is_complete:
        table.write()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A state directory that is kept for all cases. Version 2 is better than version 1, the champion."""
    state = tmp_path_factory.mktemp("bad-day") / "state"
    workshop = Workshop(state, {})
    try:
        for version, parameters in (("1", ("--set", "features=bmi")), ("2", ())):
            run_module("pipelines.run", *HALF, *parameters, "--state", str(state))
            workshop.expected[version] = workshop.predict()
        assert workshop.expected["1"] != workshop.expected["2"]
        run_module("pipelines.rollback", "--workload", NAME, "--state", str(state))
        yield workshop
    finally:
        daemon.stop(state)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_files(workshop: Workshop, table: Table, name: str, kind: str) -> None:
    rng = np.random.default_rng([*f"{name} {kind}".encode()])
    counts, case = Counts(), f"{name}, {kind}"
    assert damage_files(workshop.state, FILES[name], kind, rng), f"there is no {name}"
    workshop.recover(counts, case)
    table.add(name, kind, counts)
    assert counts.faults == []


def test_kills_at_random_moments(workshop: Workshop, table: Table) -> None:
    started = time.monotonic()
    workshop.recover(Counts(), "an undisturbed run")
    duration, rng, total = time.monotonic() - started, np.random.default_rng(0), Counts()
    for number in range(KILLS):
        seconds = float(rng.uniform(0.5, duration))
        workshop.kill_run(seconds)
        workshop.recover(total, f"kill {number + 1} after {seconds:.1f} s", RUN)
    table.add("run", "killed", total)
    assert total.faults == []
