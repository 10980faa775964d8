"""Going back: the former champion in endpoint and registry, or everything as it was."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import requests

from continuous_training.adapters.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from continuous_training.adapters.model_store import find
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.interrupts import postpone_interrupt
from continuous_training.operations.champion_history import read_line
from continuous_training.serving.process import daemon
from pipelines import status
from pipelines.rollback import main
from tests.fakes import web

from . import champions
from .champions import HALF, NAME, PATIENT, ROOT, State, call, told

ASK = ("--workload", NAME)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    with champions.state(tmp_path_factory, "rollback") as opened:
        yield opened


@pytest.fixture
def line(state: State):
    """The state with version 3 served and 2 and 1 behind it, whatever the test before has left."""
    way = read_line(state.registry.trail(NAME), state.aliases.get(CHAMPION)).way
    if way != ("1", "2", "3") or daemon.status(state.folder) is None:
        assert main([*ASK, "--to", "2"]) == main([*ASK, "--to", "3"]) == 0
    return state


def moves(*told: tuple) -> list[dict]:
    """A trail of the champion's alias: (from, to) for a promotion, (from, to, kind) otherwise."""
    keys = ("from", "to", "kind")
    return [
        {
            "when": f"t{number}",
            "alias": "champion",
            "why": "",
            "run": "",
            **dict(zip(keys, move, strict=False)),
        }
        for number, move in enumerate(told)
    ]


BACK = "rollback"
PROMOTED_THRICE = ((None, "1"), ("1", "2"), ("2", "3"))


@pytest.mark.parametrize(
    ("trail", "champion", "way"),
    [
        ((), None, ()),
        (((None, "1"),), "1", ("1",)),
        (PROMOTED_THRICE, "3", ("1", "2", "3")),
        ((*PROMOTED_THRICE, ("3", "2", BACK)), "2", ("1", "2")),
        ((*PROMOTED_THRICE, ("3", "2", BACK), ("2", "1", BACK)), "1", ("1",)),
        ((*PROMOTED_THRICE, ("3", "2", BACK), ("2", "4")), "4", ("1", "2", "4")),
        ((*PROMOTED_THRICE, ("3", "1", BACK), ("1", "3", BACK)), "3", ("1", "3")),
        ((*PROMOTED_THRICE, ("3", "1", BACK), ("1", "3", BACK), ("3", "2", BACK)), "2", ("1", "2")),
        ((*PROMOTED_THRICE, ("3", "2")), "2", ("1", "2", "3", "2")),
        # The trail is written before the alias moves: these moves have failed.
        ((*PROMOTED_THRICE, ("3", "2", BACK)), "3", ("1", "2", "3")),
        (((None, "1"), ("1", "2"), ("1", "2"), ("2", "3")), "3", ("1", "2", "3")),
        # And these were made past the trail.
        (PROMOTED_THRICE, "1", ("1",)),
        (((None, "1"), ("1", "2"), ("5", "6")), "6", ("1", "2", "5", "6")),
        (((None, "1"), (None, "2")), "2", ("1", "2")),
        (((None, "1"), (None, "1")), "1", ("1",)),
    ],
)
def test_the_way_back_follows_the_trail(trail, champion, way):
    line = read_line(moves(*trail), champion)
    assert (line.way, line.champion) == (way, champion)
    assert line.before == (way[-2] if len(way) > 1 else None)


def test_what_is_passed_on_the_way_back_is_left_behind():
    line = read_line(moves(*PROMOTED_THRICE), "3")
    assert (line.behind("1"), line.left_behind("1")) == (None, ["2", "3"])
    assert (line.behind("2"), line.left_behind("2")) == ("1", ["3"])


def test_going_back_twice_and_forth_again(line: State, capsys):
    """One story: each rollback goes one champion further back, and none comes back by itself."""
    one, two, three = line.digests
    planned = told(main, capsys, *ASK, "--dry-run")
    assert (planned["verdict"], planned["from"]["version"], planned["to"]["version"]) == ("planned", "3", "2")
    assert line.aliases == {CHAMPION: "3", PREVIOUS: "2"}
    assert line.served() == three

    done = told(main, capsys, *ASK, "--why", "answers were odd")
    assert (done["verdict"], done["to"]) == ("rolled back", {"version": "2", "digest": two})
    assert line.served() == two
    assert line.aliases == {CHAMPION: "2", PREVIOUS: "1"}
    store = open_store(str(line.folder / "store"))
    assert [find(store, f"{NAME}@{alias}").digest for alias in (CHAMPION, PREVIOUS)] == [two, one]
    last = line.registry.trail(NAME)[-1]
    assert {key: last[key] for key in ("alias", "from", "to", "kind", "why", "run")} == {
        "alias": CHAMPION, "from": "3", "to": "2", "kind": BACK, "run": done["run"],
        "why": "answers were odd",
    }  # fmt: skip
    assert last["by"]
    assert last["when"] > "2020"

    out, _ = call(main, capsys, *ASK)
    assert "version 1" in out
    assert line.served() == one
    assert line.aliases == {CHAMPION: "1"}

    _, said = call(main, capsys, *ASK, expect=2)
    assert "nothing to go back to" in said
    assert "rolled back before: 2, 3" in said
    assert line.served() == one

    _unchanged_and_not_promoted_again(line, two)

    assert told(main, capsys, *ASK, "--to", "2")["previous"] == "1"
    records = RunHistory(open_store(str(line.folder / "store")), NAME)
    recipe = line.registry.versions(NAME)[1].tags["recipe"]
    judged = records.judged(recipe)
    assert judged
    assert (judged["verdict"], judged["version"], judged["digest"]) == ("promoted", "2", two)
    back = [record["version"] for record in records.runs() if record["verdict"] == "rolled back"]
    assert {"1", "2"} <= {*back}, "each rollback is on record"
    assert told(main, capsys, *ASK, "--to", "3")["previous"] == "2"


def _unchanged_and_not_promoted_again(line: State, rolled_back: str) -> None:
    """A run on the data and parameters of what was rolled back leaves all as it is."""
    run = json.loads(champions.python("pipelines.run", *HALF, "--json").stdout)
    assert run["verdict"] == "unchanged"
    assert "since rolled back" in run["reasons"][0]
    assert run["digest"] is None, "what was rolled back is not named as served"
    assert line.aliases == {CHAMPION: "1"}
    assert line.served() != rolled_back


def test_going_back_over_several_versions(line: State, capsys):
    done = told(main, capsys, *ASK, "--to", "1")
    assert (done["to"]["version"], done["previous"]) == ("1", None)
    assert line.served() == line.digests[0]
    records = RunHistory(open_store(str(line.folder / "store")), NAME)
    for version in line.registry.versions(NAME)[1:3]:
        judged = records.judged(version.tags["recipe"])
        assert judged
        assert "rolled back" in judged["verdict"]
    call(main, capsys, *ASK, expect=2)


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("9", "no version '9'; former champions and the present one: 1, 2, 3"),
        ("two", "no version 'two'"),
        ("4", "version 4 of diabetes was never promoted"),
    ],
)
def test_a_version_that_never_was_champion_is_refused(line: State, capsys, to, words):
    if len(line.digests) < 4:
        challenger = champions.add_another(line.folder, line.registry, "tried-only")
        line.registry.point(NAME, CHALLENGER, challenger.version, "archived", "run-4")
    before = line.aliases
    _, said = call(main, capsys, *ASK, "--to", to, expect=2)
    assert words in said
    assert (line.aliases, line.served()) == (before, line.digests[2])


def test_the_champion_itself_is_nothing_to_do(line: State, capsys):
    trail = line.registry.trail(NAME)
    out, _ = call(main, capsys, *ASK, "--to", "3")
    assert "nothing to do" in out
    assert line.registry.trail(NAME) == trail


def test_a_tampered_archive_is_refused_by_the_endpoint(line: State, capsys):
    path = line.archive(2)
    sound, before = path.read_bytes(), line.aliases
    path.write_bytes(sound[:-1] + b"!")
    try:
        failed = told(main, capsys, *ASK, expect=4)
        said = failed["reasons"][0]
        assert "was refused" in said
        assert "answers again" in said
        assert "the registry was not moved: its champion is version 3" in said
        assert "is not" not in call(main, capsys, *ASK, "--dry-run", expect=2)[0]
        assert (line.aliases, line.served()) == (before, line.digests[2])
    finally:
        path.write_bytes(sound)


def test_a_missing_archive_is_told_with_what_stays(line: State, capsys):
    path, before = line.archive(2), line.aliases
    away = path.rename(path.with_suffix(".away"))
    try:
        _, said = call(main, capsys, *ASK, expect=2)
        assert "is missing. Nothing was changed" in said
        assert f"champion is version 3, and the endpoint serves {line.digests[2][:12]}" in said
        assert (line.aliases, line.served()) == (before, line.digests[2])
    finally:
        away.rename(path)


@pytest.mark.parametrize(("harm", "words"), [("lose", "is missing"), ("alter", "was altered")])
def test_the_champions_archive_is_put_back_from_the_endpoints_copy(line: State, capsys, harm, words):
    champion = line.aliases[CHAMPION]
    path, trail = line.archive(int(champion)), line.registry.trail(NAME)
    sound = path.read_bytes()
    path.unlink() if harm == "lose" else path.write_bytes(sound[:-1] + b"!")
    try:
        to = (*ASK, "--to", champion)
        _, said = call(main, capsys, *to, "--dry-run")
        assert f"{words} in the store; it would be put back" in said
        assert not path.is_file() or path.read_bytes() != sound, "nothing was changed"
        out, said = call(main, capsys, *to)
        assert f"{words} in the store; it was put back" in said
        assert "its archive is in the store again" in out
        assert path.read_bytes() == sound
        assert "nothing to do" in call(main, capsys, *to)[0]
        assert line.registry.trail(NAME) == trail
    finally:
        path.write_bytes(sound)


def test_an_archive_is_not_put_back_from_a_copy_that_was_altered_too(line: State, capsys):
    champion = line.aliases[CHAMPION]
    path = line.archive(int(champion))
    copy = line.folder / "archives" / f"{NAME}-{line.digests[int(champion) - 1][:12]}.mar"
    sound = copy.read_bytes()
    away = path.rename(path.with_suffix(".away"))
    copy.write_bytes(sound[:-1] + b"!")
    try:
        # The endpoint serves it still, so there is nothing that a rollback could do.
        out, said = call(main, capsys, *ASK, "--to", champion)
        assert "put back" not in out + said
        assert not path.exists()
    finally:
        copy.write_bytes(sound)
        away.rename(path)


def test_a_registry_that_will_not_move_leaves_the_endpoint_as_it_was(line: State, capsys, monkeypatch):
    """The endpoint has switched already when the alias is refused; both go back, `previous` included."""
    before = line.aliases

    def forward(method: str, path: str):
        body = proxy.requests[-1][2]
        if path.endswith("registered-models/alias") and b'"champion"' in body and method == "POST":
            return 400, {"error_code": "INVALID_STATE", "message": "not today"}
        headers = {"content-type": "application/json"}
        answer = line.registry.session.request(
            method, line.registry.uri + path, data=body, headers=headers, timeout=10
        )
        return answer.status_code, answer.content

    with web(forward) as proxy:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.url)
        _, said = call(main, capsys, *ASK, expect=2)
    assert "not today" in said
    assert "the registry was not moved: its champion is version 3" in said
    assert (line.aliases, line.served()) == (before, line.digests[2])


def test_endpoint_and_registry_that_disagree_are_not_gone_back_from_blindly(line: State, capsys):
    line.registry.point(NAME, CHAMPION, "2", "by a test", "no run")
    _, said = call(main, capsys, *ASK, expect=2)
    assert "disagree" in said
    assert "--to 2" in said
    out, _ = call(main, capsys, *ASK, "--to", "2")
    assert "version 2" in out
    assert "is served again, as the registry says" in out
    assert line.served() == line.digests[1]


def test_a_stopped_server_is_started(line: State, capsys):
    daemon.stop(line.folder)
    call(main, capsys, *ASK, "--to", "2")
    assert line.served() == line.digests[1]


def test_a_rollout_under_way_is_not_disturbed(line: State, capsys):
    from continuous_training.rollout.local import LocalTarget

    target, before = LocalTarget(line.folder), line.aliases
    target.begin_trial(NAME, line.archive(1), line.digests[0])
    _, said = call(main, capsys, *ASK, expect=75)
    assert "is on trial. Try again in a minute" in said
    target.revert(NAME, line.digests[0])
    assert (line.aliases, line.served()) == (before, line.digests[2])


def test_a_state_where_nothing_was_promoted_is_told_and_stays_unmade(tmp_path: Path, capsys):
    at = ("--state", str(tmp_path / "none"))
    _, said = call(main, capsys, *ASK, *at, expect=2)
    assert "diabetes was never promoted" in said
    _, said = call(main, capsys, "--workload", "nothere", *at, expect=2)
    assert "registered are: diabetes, digits" in said
    assert not (tmp_path / "none").exists()


def test_a_workload_without_a_champion_is_told(line: State, capsys):
    line.registry.remove_alias(NAME, CHAMPION)
    _, said = call(main, capsys, *ASK, expect=2)
    assert "has no champion (its alias was taken away" in said
    line.registry.point(NAME, CHAMPION, "3", "put back by a test", "no run")
    _, said = call(main, capsys, "--workload", "digits", expect=2)
    assert "digits has no champion (nothing was promoted)" in said


def test_people_are_told(line: State, capsys, monkeypatch):
    def hear(method: str, path: str):
        return 200, {}

    with web(hear) as hook:
        monkeypatch.setenv("CT_WEBHOOK", hook.url)
        done = told(main, capsys, *ASK, "--why", "answers were odd")
    message = json.loads(hook.requests[-1][2])
    assert message["text"] == "diabetes: rolled back to version 2. answers were odd"
    assert message["run"]["run"] == done["run"]
    # Nobody listens any more.
    out, said = call(main, capsys, *ASK, "--to", "3", "--json")
    assert json.loads(out)["verdict"] == "rolled back"
    assert "webhook cannot be reached" in said


def test_a_second_interruption_does_not_wait():
    with postpone_interrupt():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_letter_is_no_reason(line: State, capsys):
    _, said = call(main, capsys, *ASK, "--why", "x" * 501, expect=2)
    assert "longer than 500" in said


@pytest.fixture
def cut(line: State):
    """Cut a rollback off: called with a signal and the point where; returns its exit code."""
    command = [sys.executable, "-m", "tests.pipelines.cut_off"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as forks:
        assert forks.stdin
        assert forks.stdout

        def at(number: signal.Signals, point: int) -> int:
            print(int(number), point, *ASK, file=forks.stdin, flush=True)
            return int(forks.stdout.readline())

        yield at
        forks.stdin.close()


def rollbacks(state: State) -> int:
    """How many rollbacks are on record: each one's last write."""
    records = RunHistory(open_store(str(state.folder / "store")), NAME).runs()
    return sum(record["verdict"] == "rolled back" for record in records)


def pair(state: State) -> tuple[str | None, str | None]:
    """The champion and the one behind it; a challenger may stand beside them."""
    aliases = state.aliases
    return aliases.get(CHAMPION), aliases.get(PREVIOUS)


def is_rolled_back(state: State, capsys) -> bool:
    """Whether all is as after one undisturbed rollback from version 3, and seen to be."""
    found = told(status.main, capsys)["workloads"][0]
    judged = RunHistory(open_store(str(state.folder / "store")), NAME).judged(
        state.registry.versions(NAME)[2].tags["recipe"]
    )
    return (
        pair(state) == ("2", "1")
        and state.served() == state.digests[1]
        and (found["agree"], found["served"].get("phase")) == (True, "serving")
        and "withdrawn" in (judged or {})
        and read_line(state.registry.trail(NAME), "2").way == ("1", "2")
    )


def test_a_rollback_that_is_killed_at_any_write_is_finished_by_the_same_command(line: State, cut, capsys):
    """Never one version too many, never two that differ; and what is killed later is never less done."""
    for point in itertools.count(1):
        before = rollbacks(line)
        code = cut(signal.SIGKILL, point)
        assert line.aliases[CHAMPION] in ("2", "3")
        assert line.served() in line.digests[1:3]
        if rollbacks(line) == before:
            assert code == -signal.SIGKILL
            call(main, capsys, *ASK)
        assert is_rolled_back(line, capsys), f"killed at point {point}"
        assert rollbacks(line) == before + 1
        call(main, capsys, *ASK, "--to", "3")
        if code == 0:
            break
    assert point > 16, "there are nine writes at least, with a point before and after each"


def test_a_rollback_that_is_interrupted_at_any_write_is_done_or_was_never(line: State, cut, capsys):
    """Ctrl-C, at each of the points."""
    codes = set()
    for point in range(1, 21):
        code = cut(signal.SIGINT, point)
        codes.add(code)
        if code:
            assert (pair(line), line.served()) == (("3", "2"), line.digests[2])
            assert told(status.main, capsys)["workloads"][0]["agree"] is True
        else:
            assert is_rolled_back(line, capsys), f"interrupted at point {point}"
            call(main, capsys, *ASK, "--to", "3")
    assert codes == {0, INTERRUPTED}


def test_no_caller_notices_a_rollback(line: State, capsys):
    """Four callers ask all the while, and every answer is one of the two versions'."""
    running = daemon.start(line.folder)
    answers, faults, stop = Counter(), [], threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                answer = session.post(f"{running.url}/predict/{NAME}", json=PATIENT, timeout=10)
                answers[answer.headers.get("x-model-digest")] += 1
                if not answer.ok or "progression" not in answer.json():
                    faults.append(f"{answer.status_code} {answer.text}")

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    try:
        call(main, capsys, *ASK)
        call(main, capsys, *ASK, "--to", "3")
    finally:
        stop.set()
        for caller in callers:
            caller.join()
    assert faults == []
    assert {*answers} == {line.digests[1], line.digests[2]}
