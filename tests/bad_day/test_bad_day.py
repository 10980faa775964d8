"""Kills at random moments, damaged files of every type, and attacks on the model server.

`make test-bad-day` runs the suite and writes its table to docs/bad-day.md. `KILLS` is the number of kills.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import requests

from continuous_training.artifacts.archive_writer import Archive
from continuous_training.serving.process import daemon
from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.state_files import RunningServer
from tests.continuous_training.serving.foreground import serving
from tests.continuous_training.serving.toy_models import make_archive
from tests.pipelines.champions import HALF, NAME, ROOT, run_module

from .attacks import ITEMS, Attack, lost_requests
from .damage import (
    AFTER_POWER_CUT,
    CASES,
    EMPTY_FILES,
    FILES,
    REGISTRY_VALUES,
    damage_files,
    flip_bit_of_value,
)
from .kills import PHASES, RUN_AND_SERVER, STEPS, TARGETS, measure_phases
from .recovery import COMMAND_TIMEOUT, WORSE, Counts, Workshop
from .table import Table

pytestmark = pytest.mark.full

KILLS = int(os.environ.get("KILLS", "100"))
ONE_BIT = "one bit of a value in the registry database"
HANDLERS, SIGTERM = ("HTTP attacks, item 2", "handlers that hang"), ("HTTP attacks, item 5", "SIGTERM")

VALUES = [(ONE_BIT, name) for name in REGISTRY_VALUES]
ATTACKS = [HANDLERS, SIGTERM, *((f"HTTP attacks, {item}", name) for item, (name, _) in ITEMS.items())]
STALL_SECONDS = 2
RESTART_SECONDS = 60


@pytest.fixture(scope="module")
def table() -> Table:
    """The table of the suite, which is written after each kill if all other tests have run before."""
    return Table()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A state directory that is kept for all cases. Version 2 is better than version 1, the champion."""
    workshop = Workshop(tmp_path_factory.mktemp("bad-day") / "state")
    state = str(workshop.state)
    try:
        for version, parameters in (("1", ("--set", "features=bmi")), ("2", ())):
            run_module("pipelines.run", *HALF, *parameters, "--state", state)
            workshop.expected[version] = workshop.answers()
        first, second = workshop.expected.values()
        assert not set(map(str, first)) & set(map(str, second))
        run_module("pipelines.rollback", "--workload", NAME, "--state", state)
        workshop.check_responses(counts := Counts(), "before the suite")
        assert counts.faults == []
        yield workshop
    finally:
        daemon.stop(workshop.state)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_damaged_files(workshop: Workshop, table: Table, name: str, kind: str) -> None:
    rng = np.random.default_rng([*f"{name} {kind}".encode()])
    if kind in AFTER_POWER_CUT:
        workshop.kill_server()
    assert damage_files(workshop.state, {**FILES, **EMPTY_FILES}[name], kind, rng), f"there is no {name}"
    counts = Counts()
    workshop.recover(counts, f"{name}, {kind}")
    table.add(name, kind, counts)
    assert counts.faults == []


@pytest.mark.parametrize("name", REGISTRY_VALUES)
def test_flipped_bits_in_values_of_the_registry(workshop: Workshop, table: Table, name: str) -> None:
    database = workshop.state / "mlflow" / "mlflow.db"
    counts, rng = Counts(), np.random.default_rng([*name.encode()])
    flip_bit_of_value(database, REGISTRY_VALUES[name], rng)
    workshop.recover(counts, f"{name} in the database")
    table.add(ONE_BIT, name, counts)
    assert counts.faults == []


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def attacked(workshop: Workshop, toy: Archive) -> Workshop:
    """The state directory, whose server also serves digits and the toy model."""
    run_module("pipelines.run", "--workload", "digits", "--state", str(workshop.state))
    endpoint = ServerClient(daemon.start(workshop.state))
    endpoint.load("toy", toy.path, toy.digest)
    return workshop


def attack(workshop: Workshop, attacks: Iterator[Attack]) -> Counts:
    """Carry out the attacks, each followed by the three requests, and all by a run and a rollback."""
    total = Counts()
    for entry in attacks:
        counts = Counts(cases=1)
        position = workshop.log.stat().st_size
        running = daemon.status(workshop.state)
        assert running
        try:
            problem = entry.problem(running)
        except (OSError, requests.RequestException) as error:
            problem = repr(error)
        if problem:
            counts.wrong_answer(f"{entry.name}: {problem}")
        workshop.check_responses(counts, entry.name)
        counts.check_output(entry.name, workshop.log.read_bytes()[position:].decode(errors="replace"))
        total.add(counts)
    recovered = Counts()
    workshop.recover(recovered, "after the attacks")
    total.add(
        Counts(0, recovered.wrong_answers, recovered.tracebacks, recovered.manual_repairs, recovered.faults)
    )
    return total


@pytest.mark.parametrize("item", ITEMS)
def test_attacks_on_the_server(attacked: Workshop, table: Table, item: str) -> None:
    name, attacks = ITEMS[item]
    counts = attack(attacked, attacks())
    table.add(f"HTTP attacks, {item}", name, counts)
    assert counts.faults == []


def test_sigterm_while_clients_send_requests(attacked: Workshop, table: Table) -> None:
    counts, running = Counts(cases=1), daemon.status(attacked.state)
    assert running
    if problem := lost_requests(running.port, lambda: os.kill(running.pid, signal.SIGTERM)):
        counts.wrong_answer(problem)
    daemon.stop(attacked.state)
    attacked.execute(counts, "after SIGTERM", "serving", "start")
    attacked.check_responses(counts, "after SIGTERM")
    table.add(*SIGTERM, counts)
    assert counts.faults == []


@contextmanager
def background_server(state: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Let the server of the state directory run with other options."""
    daemon.stop(state)
    module = "continuous_training.serving.process.background"
    command = [sys.executable, "-m", module, "--state", str(state), *options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for_server(state)
        yield process
    finally:
        daemon.stop(state)
        process.wait(RESTART_SECONDS)


def wait_for_server(state: Path, former: RunningServer | None = None) -> RunningServer:
    """Return the running server of the state directory, when it is another one than `former`."""
    end = time.monotonic() + RESTART_SECONDS
    while (running := daemon.status(state)) is None or (former and running.token == former.token):
        assert time.monotonic() < end
        time.sleep(0.05)
    return running


def load_and_hang(state: Path, archive: Archive, name: str) -> str:
    """Load a model and send a request that its handler does not answer. Describe a response."""
    endpoint = ServerClient(wait_for_server(state))
    endpoint.load(name, archive.path, archive.digest)
    try:
        response = requests.post(f"{endpoint.running.url}/predict/{name}", json={"x": [7]}, timeout=120)
    except requests.ConnectionError:
        return ""
    return f"{name}: {response.status_code} {response.text}"


def test_handlers_that_hang(workshop: Workshop, table: Table, tmp_path: Path) -> None:
    counts, state = Counts(cases=2), workshop.state
    hanging = make_archive(tmp_path, name="hanging", hangs_on=7)
    locking = make_archive(tmp_path, name="locking", locks_on=7)
    with background_server(state, "--stall", str(STALL_SECONDS)) as process:
        former = wait_for_server(state)
        problems = [load_and_hang(state, hanging, "hanging")]
        wait_for_server(state, former)
        workshop.check_responses(counts, "after a handler that hangs")
        problems.append(load_and_hang(state, locking, "locking"))
        # The handler holds the interpreter lock, so the process cannot start again by itself.
        process.wait(RESTART_SECONDS)
    workshop.recover(counts, "a handler that holds the interpreter lock")
    problems.append(problem_of_a_stopped_worker(workshop))
    for problem in filter(None, problems):
        counts.wrong_answer(problem)
    endpoint = ServerClient(wait_for_server(state))
    for name in ("hanging", "locking"):
        endpoint.unload(name)
    table.add(*HANDLERS, counts)
    assert counts.faults == []


def problem_of_a_stopped_worker(workshop: Workshop) -> str:
    """Stop one of two workers that serve the champion, and describe a wrong response."""
    digest = workshop.expected[WORSE][0].digest
    assert digest
    archive = Archive(workshop.state / "store" / "archives" / NAME / f"{digest}.mar", NAME, digest)
    with serving(archive, options=("--workers", "2", "--stall", "1")) as server:
        pid = server.process.pid
        worker = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        os.kill(int(worker), signal.SIGSTOP)
        answers = [workshop.answers(server.url) for _ in range(10)]
    wrong = [answer for answer in answers if answer != workshop.expected[WORSE]]
    return f"a stopped worker: {wrong}" if wrong else ""


def test_kills_at_random_moments(workshop: Workshop, table: Table) -> None:
    seconds, rng, total = measure_phases(workshop.start_run()), np.random.default_rng(0), Counts()
    assert min(seconds.values()) > 0, f"a phase was not observed: {seconds}"
    workshop.recover(total, "an undisturbed run")
    assert total.faults == []
    number = attempts = 0
    while number < KILLS:
        attempts += 1
        assert attempts <= 3 * KILLS, "most runs ended before they were killed"
        phase, target = PHASES[number % len(PHASES)], TARGETS[number // len(PHASES) % len(TARGETS)]
        run, moment = workshop.start_run(), float(rng.uniform(0, seconds[phase]))
        killed = None
        if run.wait_for(phase):
            time.sleep(moment)
            if target == RUN_AND_SERVER:
                workshop.kill_server()
            killed = run.kill(target)
        run.process.wait(COMMAND_TIMEOUT)
        if killed is None:
            # The run ended before the moment.
            continue
        number += 1
        hit, target = killed
        case, counts = f"kill {number} of {target} in {hit} after {moment:.2f} s", Counts()
        counts.check_output(case, workshop.run_log.read_text(errors="replace"))
        workshop.recover(counts, case)
        table.add(f"kill in {hit}", target, counts)
        if table.has([*CASES, *VALUES, *ATTACKS]):
            table.write()
        total.add(counts)
    assert total.faults == []
    hits = {name.removeprefix("kill in ") for name in table.rows}
    assert len(PHASES) > KILLS or hits >= set(STEPS)
