"""Rollback: endpoint and registry use the earlier champion, or both are unchanged."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.alias_move import AliasMove
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.interrupts import ignore_first_interrupt
from continuous_training.core.temporary_files import find_leftovers
from continuous_training.operations.champion_history import read_champion_history
from continuous_training.serving.process import daemon
from pipelines import status
from pipelines.rollback import main
from tests.fakes import web

from . import champions
from .champions import HALF, NAME, PATIENT, ROOT, ChampionState, run_command, run_json

WORKLOAD = ("--workload", NAME)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.copy_state(tmp_path_factory, "rollback", run_server=True) as opened:
        yield opened


@pytest.fixture
def champion_state(state: ChampionState):
    """The state with version 3 as champion, and 2 and 1 as the versions for rollbacks."""
    path = read_champion_history(state.registry.alias_history(NAME), state.aliases.get(CHAMPION)).path
    if path != ("1", "2", "3") or daemon.status(state.folder) is None:
        assert main([*WORKLOAD, "--to", "2"]) == main([*WORKLOAD, "--to", "3"]) == 0
    return state


def create_trail(*moves: tuple) -> list[AliasMove]:
    """Return the record of moves: (from, to) for a promotion, (from, to, kind) otherwise."""
    return [
        AliasMove(f"t{number}", CHAMPION, move[0], move[1], reason="", run="", kind="".join(move[2:]))
        for number, move in enumerate(moves)
    ]


ROLLBACK = "rollback"
THREE_PROMOTIONS = ((None, "1"), ("1", "2"), ("2", "3"))


@pytest.mark.parametrize(
    ("trail", "champion", "path"),
    [
        ((), None, ()),
        (((None, "1"),), "1", ("1",)),
        (THREE_PROMOTIONS, "3", ("1", "2", "3")),
        ((*THREE_PROMOTIONS, ("3", "2", ROLLBACK)), "2", ("1", "2")),
        ((*THREE_PROMOTIONS, ("3", "2", ROLLBACK), ("2", "1", ROLLBACK)), "1", ("1",)),
        ((*THREE_PROMOTIONS, ("3", "2", ROLLBACK), ("2", "4")), "4", ("1", "2", "4")),
        ((*THREE_PROMOTIONS, ("3", "1", ROLLBACK), ("1", "3", ROLLBACK)), "3", ("1", "3")),
        (
            (*THREE_PROMOTIONS, ("3", "1", ROLLBACK), ("1", "3", ROLLBACK), ("3", "2", ROLLBACK)),
            "2",
            ("1", "2"),
        ),
        ((*THREE_PROMOTIONS, ("3", "2")), "2", ("1", "2", "3", "2")),
        # The move is recorded before the alias moves: these moves have failed.
        ((*THREE_PROMOTIONS, ("3", "2", ROLLBACK)), "3", ("1", "2", "3")),
        (((None, "1"), ("1", "2"), ("1", "2"), ("2", "3")), "3", ("1", "2", "3")),
        # These moves were made without a record.
        (THREE_PROMOTIONS, "1", ("1",)),
        (((None, "1"), ("1", "2"), ("5", "6")), "6", ("1", "2", "5", "6")),
        (((None, "1"), (None, "2")), "2", ("1", "2")),
        (((None, "1"), (None, "1")), "1", ("1",)),
    ],
)
def test_rollback_path_follows_the_recorded_moves(trail, champion, path):
    history = read_champion_history(create_trail(*trail), champion)
    assert (history.path, history.champion) == (path, champion)
    assert history.previous == (path[-2] if len(path) > 1 else None)


def test_a_rollback_discards_the_versions_after_its_target():
    history = read_champion_history(create_trail(*THREE_PROMOTIONS), "3")
    assert (history.previous_after_rollback("1"), history.discarded_by_rollback("1")) == (None, ["2", "3"])
    assert (history.previous_after_rollback("2"), history.discarded_by_rollback("2")) == ("1", ["3"])


def test_two_rollbacks_and_two_returns(champion_state: ChampionState, capsys):
    """Each rollback goes one champion further back, and no run promotes a discarded version again."""
    one, two, three = champion_state.digests
    planned = run_json(main, capsys, *WORKLOAD, "--dry-run")
    assert (planned["verdict"], planned["from"]["version"], planned["to"]["version"]) == ("planned", "3", "2")
    assert champion_state.aliases == {CHAMPION: "3", PREVIOUS: "2"}
    assert champion_state.served_digest() == three

    result = run_json(main, capsys, *WORKLOAD, "--why", "answers were odd")
    assert (result["verdict"], result["to"]) == ("rolled back", {"version": "2", "digest": two})
    assert champion_state.served_digest() == two
    assert champion_state.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    store = open_store(str(champion_state.folder / "store"))
    assert [find(store, f"{NAME}@{alias}").digest for alias in (CHAMPION, PREVIOUS)] == [two, one]
    last = champion_state.registry.alias_history(NAME)[-1]
    assert last == AliasMove(
        last.time, CHAMPION, "3", "2", "answers were odd", result["run"], last.user, ROLLBACK, last.position
    )
    assert last.user
    assert last.time > "2020"

    out, _ = run_command(main, capsys, *WORKLOAD)
    assert "version 1" in out
    assert champion_state.served_digest() == one
    assert champion_state.aliases == {CHAMPION: "1"}

    _, error = run_command(main, capsys, *WORKLOAD, expect=2)
    assert "has no champion before version 1 to roll back to" in error
    assert "rolled back before: 2, 3" in error
    assert champion_state.served_digest() == one

    _check_no_repeated_promotion(champion_state, two)

    assert run_json(main, capsys, *WORKLOAD, "--to", "2")["previous"] == "1"
    records = RunHistory(open_store(str(champion_state.folder / "store")), NAME)
    input_digest = champion_state.registry.versions(NAME)[1].tags["recipe"]
    processed = records.find_processed(input_digest)
    assert processed
    assert processed.withdrawal is None
    restored = processed.record
    assert (restored.verdict, restored.version, restored.digest) == ("promoted", "2", two)
    back = [record.version for record in records.runs() if record.verdict == "rolled back"]
    assert {"1", "2"} <= {*back}, "each rollback is recorded"
    assert run_json(main, capsys, *WORKLOAD, "--to", "3")["previous"] == "2"


def _check_no_repeated_promotion(champion_state: ChampionState, rolled_back: str) -> None:
    """A run with the inputs of a version that was rolled back changes nothing."""
    run = json.loads(champions.run_module("pipelines.run", *HALF, "--json").stdout)
    assert run["verdict"] == "unchanged"
    assert "since rolled back" in run["reasons"][0]
    assert run["digest"] is None, "the result does not name the version as served"
    assert champion_state.aliases == {CHAMPION: "1"}
    assert champion_state.served_digest() != rolled_back


def test_rollback_over_several_versions(champion_state: ChampionState, capsys):
    result = run_json(main, capsys, *WORKLOAD, "--to", "1")
    assert (result["to"]["version"], result["previous"]) == ("1", None)
    assert champion_state.served_digest() == champion_state.digests[0]
    records = RunHistory(open_store(str(champion_state.folder / "store")), NAME)
    for version in champion_state.registry.versions(NAME)[1:3]:
        processed = records.find_processed(version.tags["recipe"])
        assert processed
        assert "rolled back" in processed.record.verdict
    run_command(main, capsys, *WORKLOAD, expect=2)


@pytest.mark.parametrize(
    ("to", "text"),
    [
        ("9", "no version '9'; its champions were: 1, 2, 3"),
        ("two", "no version 'two'"),
        ("4", "version 4 of diabetes was never promoted"),
    ],
)
def test_a_version_that_never_was_champion_is_refused(champion_state: ChampionState, capsys, to, text):
    if len(champion_state.digests) < 4:
        challenger = champions.add_another(champion_state.folder, champion_state.registry, "tried-only")
        champion_state.registry.move_alias(NAME, CHALLENGER, challenger.version, "archived", "run-4")
    before = champion_state.aliases
    _, error = run_command(main, capsys, *WORKLOAD, "--to", to, expect=2)
    assert text in error
    assert (champion_state.aliases, champion_state.served_digest()) == (before, champion_state.digests[2])


def test_rollback_to_the_champion_changes_nothing(champion_state: ChampionState, capsys):
    trail = champion_state.registry.alias_history(NAME)
    out, _ = run_command(main, capsys, *WORKLOAD, "--to", "3")
    assert "nothing to do" in out
    assert champion_state.registry.alias_history(NAME) == trail


@contextmanager
def no_run_folders(state: ChampionState):
    """Move the folders of the runs away, which contain copies of the archives."""
    runs = state.folder / "runs"
    hidden = runs.rename(runs.with_suffix(".away"))
    yield
    hidden.rename(runs)


def test_the_endpoint_refuses_an_altered_archive(champion_state: ChampionState, capsys):
    path = champion_state.archive(2)
    content, before = path.read_bytes(), champion_state.aliases
    path.write_bytes(content[:-1] + b"!")
    try:
        with no_run_folders(champion_state):
            failed = run_json(main, capsys, *WORKLOAD, expect=4)
            error = failed["reasons"][0]
            assert "was refused" in error
            assert "answers again" in error
            assert "the registry was not changed: its champion is version 3" in error
            assert "is not" not in run_command(main, capsys, *WORKLOAD, "--dry-run", expect=2)[0]
            assert (champion_state.aliases, champion_state.served_digest()) == (
                before,
                champion_state.digests[2],
            )
    finally:
        path.write_bytes(content)


def test_a_missing_archive_is_reported_and_nothing_changes(champion_state: ChampionState, capsys):
    path, before = champion_state.archive(2), champion_state.aliases
    hidden = path.rename(path.with_suffix(".away"))
    try:
        with no_run_folders(champion_state):
            _, error = run_command(main, capsys, *WORKLOAD, expect=2)
        assert "is missing. Nothing was changed" in error
        assert f"champion is version 3, and the endpoint serves {champion_state.digests[2][:12]}" in error
        assert (champion_state.aliases, champion_state.served_digest()) == (before, champion_state.digests[2])
        _, error = run_command(main, capsys, *WORKLOAD, "--dry-run")
        assert "is missing in the store; it would be restored from" in error, "from the folder of its run"
    finally:
        hidden.rename(path)


@pytest.mark.parametrize(("damage", "text"), [("lose", "is missing"), ("alter", "was altered")])
def test_a_lost_archive_is_restored_from_the_endpoints_copy(
    champion_state: ChampionState, capsys, damage, text
):
    champion = champion_state.aliases[CHAMPION]
    path, trail = champion_state.archive(int(champion)), champion_state.registry.alias_history(NAME)
    content = path.read_bytes()
    path.unlink() if damage == "lose" else path.write_bytes(content[:-1] + b"!")
    try:
        to = (*WORKLOAD, "--to", champion)
        _, error = run_command(main, capsys, *to, "--dry-run")
        assert f"{text} in the store; it would be restored" in error
        assert not path.is_file() or path.read_bytes() != content, "nothing was changed"
        out, error = run_command(main, capsys, *to)
        assert f"{text} in the store; it was restored" in error
        assert "its archive was restored in the store" in out
        assert path.read_bytes() == content
        assert "nothing to do" in run_command(main, capsys, *to)[0]
        assert champion_state.registry.alias_history(NAME) == trail
    finally:
        path.write_bytes(content)


def test_an_archive_is_not_restored_from_an_altered_copy(champion_state: ChampionState, capsys):
    champion = champion_state.aliases[CHAMPION]
    path = champion_state.archive(int(champion))
    copy = champion_state.folder / "archives" / f"{NAME}-{champion_state.digests[int(champion) - 1][:12]}.mar"
    content = copy.read_bytes()
    hidden = path.rename(path.with_suffix(".away"))
    copy.write_bytes(content[:-1] + b"!")
    try:
        # The endpoint still serves the version, so the rollback has nothing to do.
        out, error = run_command(main, capsys, *WORKLOAD, "--to", champion)
        assert "restored" not in out + error
        assert not path.exists()
    finally:
        copy.write_bytes(content)
        hidden.rename(path)


def test_an_error_of_the_registry_reverts_the_endpoint(champion_state: ChampionState, capsys, monkeypatch):
    """The endpoint has already switched when the registry refuses the alias. All aliases are unchanged."""
    before = champion_state.aliases

    def forward(method: str, path: str):
        body = proxy.requests[-1][2]
        if path.endswith("registered-models/alias") and b'"champion"' in body and method == "POST":
            return 400, {"error_code": "INVALID_STATE", "message": "not today"}
        headers = {"content-type": "application/json"}
        answer = champion_state.registry.session.request(
            method, champion_state.registry.uri + path, data=body, headers=headers, timeout=10
        )
        return answer.status_code, answer.content

    with web(forward) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        _, error = run_command(main, capsys, *WORKLOAD, expect=2)
    assert "not today" in error
    assert "the registry was not changed: its champion is version 3" in error
    assert (champion_state.aliases, champion_state.served_digest()) == (before, champion_state.digests[2])


def test_rollback_needs_a_version_if_endpoint_and_registry_disagree(champion_state: ChampionState, capsys):
    champion_state.registry.move_alias(NAME, CHAMPION, "2", "by a test", "no run")
    _, error = run_command(main, capsys, *WORKLOAD, expect=2)
    assert "disagree" in error
    assert "--to 2" in error
    out, _ = run_command(main, capsys, *WORKLOAD, "--to", "2")
    assert "version 2" in out
    assert "is the champion, and is served again" in out
    assert champion_state.served_digest() == champion_state.digests[1]


def test_a_stopped_server_is_started(champion_state: ChampionState, capsys):
    daemon.stop(champion_state.folder)
    run_command(main, capsys, *WORKLOAD, "--to", "2")
    assert champion_state.served_digest() == champion_state.digests[1]


def test_rollback_does_not_interrupt_a_rollout(champion_state: ChampionState, capsys):
    from continuous_training.rollout.local import LocalTarget

    target, before = LocalTarget(champion_state.folder), champion_state.aliases
    target.begin_trial(NAME, champion_state.archive(1), champion_state.digests[0])
    _, error = run_command(main, capsys, *WORKLOAD, expect=75)
    assert "is on trial. Try again in a minute" in error
    target.revert(NAME, champion_state.digests[0])
    assert (champion_state.aliases, champion_state.served_digest()) == (before, champion_state.digests[2])


def test_rollback_without_a_promotion_creates_nothing(tmp_path: Path, capsys):
    at = ("--state", str(tmp_path / "none"))
    _, error = run_command(main, capsys, *WORKLOAD, *at, expect=2)
    assert "diabetes was never promoted" in error
    _, error = run_command(main, capsys, "--workload", "nothere", *at, expect=2)
    assert "registered are: diabetes, digits" in error
    assert not (tmp_path / "none").exists()


def test_rollback_without_a_champion_is_refused(champion_state: ChampionState, capsys):
    champion_state.registry.remove_alias(NAME, CHAMPION)
    _, error = run_command(main, capsys, *WORKLOAD, expect=2)
    assert "has no champion (its alias was removed" in error
    champion_state.registry.move_alias(NAME, CHAMPION, "3", "restored by a test", "no run")
    _, error = run_command(main, capsys, "--workload", "digits", expect=2)
    assert "digits has no champion (no version was promoted)" in error


def test_a_rollback_notifies_the_webhook(champion_state: ChampionState, capsys, monkeypatch):
    def accept(method: str, path: str):
        return 200, {}

    with web(accept) as webhook:
        monkeypatch.setenv("CT_WEBHOOK", webhook.url)
        result = run_json(main, capsys, *WORKLOAD, "--why", "answers were odd")
    message = json.loads(webhook.requests[-1][2])
    assert message["text"] == "diabetes: rolled back to version 2. answers were odd"
    assert message["run"]["run"] == result["run"]
    # The webhook is closed now.
    out, error = run_command(main, capsys, *WORKLOAD, "--to", "3", "--json")
    assert json.loads(out)["verdict"] == "rolled back"
    assert "webhook cannot be reached" in error


def test_a_second_interrupt_is_not_postponed():
    with ignore_first_interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_long_reason_is_refused(champion_state: ChampionState, capsys):
    _, error = run_command(main, capsys, *WORKLOAD, "--why", "x" * 501, expect=2)
    assert "longer than 500" in error


@pytest.fixture
def signal_rollback(champion_state: ChampionState):
    """A function that runs a rollback, sends it a signal at a point, and returns its exit code."""
    command = [sys.executable, "-m", "tests.pipelines.interrupted_rollback"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdin
        assert process.stdout

        def run(number: signal.Signals, point: int) -> int:
            print(int(number), point, *WORKLOAD, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


def count_rollbacks(state: ChampionState) -> int:
    """Return the number of recorded rollbacks. The record is the last write of a rollback."""
    records = RunHistory(open_store(str(state.folder / "store")), NAME).runs()
    return sum(record.verdict == "rolled back" for record in records)


def champion_and_previous(state: ChampionState) -> tuple[str | None, str | None]:
    """Return the versions of the aliases `champion` and `previous`."""
    aliases = state.aliases
    return aliases.get(CHAMPION), aliases.get(PREVIOUS)


def is_rolled_back(state: ChampionState, capsys) -> bool:
    """Return whether everything is as after one uninterrupted rollback from version 3."""
    workload_status = run_json(status.main, capsys)["workloads"][0]
    processed = RunHistory(open_store(str(state.folder / "store")), NAME).find_processed(
        state.registry.versions(NAME)[2].tags["recipe"]
    )
    return (
        champion_and_previous(state) == ("2", "1")
        and state.served_digest() == state.digests[1]
        and (workload_status["agree"], workload_status["served"].get("phase")) == (True, "serving")
        and processed is not None
        and processed.withdrawal is not None
        and read_champion_history(state.registry.alias_history(NAME), "2").path == ("1", "2")
    )


def test_the_same_command_completes_a_killed_rollback(champion_state: ChampionState, signal_rollback, capsys):
    """The rollback never goes one version too far, and endpoint and registry agree after the second try."""
    for point in itertools.count(1):
        before = count_rollbacks(champion_state)
        code = signal_rollback(signal.SIGKILL, point)
        assert champion_state.aliases[CHAMPION] in ("2", "3")
        assert champion_state.served_digest() in champion_state.digests[1:3]
        if count_rollbacks(champion_state) == before:
            assert code == -signal.SIGKILL
            run_command(main, capsys, *WORKLOAD)
        assert is_rolled_back(champion_state, capsys), f"killed at point {point}"
        assert count_rollbacks(champion_state) == before + 1
        run_command(main, capsys, *WORKLOAD, "--to", "3")
        assert find_leftovers(champion_state.folder) == []
        if code == 0:
            break
    assert point > 16, "there are at least nine writes, with a point before and after each"


def test_an_interrupted_rollback_is_complete_or_without_effect(
    champion_state: ChampionState, signal_rollback, capsys
):
    """Send SIGINT at each of the points."""
    codes = set()
    for point in range(1, 21):
        code = signal_rollback(signal.SIGINT, point)
        codes.add(code)
        if code:
            assert (champion_and_previous(champion_state), champion_state.served_digest()) == (
                ("3", "2"),
                champion_state.digests[2],
            )
            assert run_json(status.main, capsys)["workloads"][0]["agree"] is True
        else:
            assert is_rolled_back(champion_state, capsys), f"interrupted at point {point}"
            run_command(main, capsys, *WORKLOAD, "--to", "3")
    assert codes == {0, INTERRUPTED}


def test_no_request_fails_during_a_rollback(champion_state: ChampionState, capsys):
    """Four clients send requests all the time. Each response comes from one of the two versions."""
    running = daemon.start(champion_state.folder)
    responses, errors, stop = Counter(), [], threading.Event()

    def send_requests() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                response = session.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=10)
                responses[response.headers.get("x-model-digest")] += 1
                if not response.ok or "progression" not in response.json():
                    errors.append(f"{response.status_code} {response.text}")

    clients = [threading.Thread(target=send_requests) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        run_command(main, capsys, *WORKLOAD)
        run_command(main, capsys, *WORKLOAD, "--to", "3")
    finally:
        stop.set()
        for client in clients:
            client.join()
    assert errors == []
    assert {*responses} == {champion_state.digests[1], champion_state.digests[2]}
