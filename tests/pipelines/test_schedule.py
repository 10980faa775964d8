"""Schedules on a Kubeflow server, by the command line: what apply does, and what it never does."""

import re
from datetime import UTC, datetime
from itertools import islice

import pytest

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.schedules.cron import Cron
from pipelines import schedule
from tests.kfp_server import Refused, kfp_server

NIGHTLY = """
schedules:
  - name: nightly
    workload: diabetes
    cron: "30 2 * * *"
    parameters: {test_size: 0.3}
"""
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def kfp(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    with kfp_server() as server:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.url)
        yield server


def write(tmp_path, text):
    (tmp_path / "schedules.yaml").write_text(text)


def changed(kfp):
    return [(method, path) for method, path in kfp.requests if method != "GET"]


def test_apply_creates_leaves_alone_and_replaces(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    assert schedule.main(["apply"]) == 0
    told = capsys.readouterr().out
    (made,) = kfp.recurring.values()
    assert made["trigger"]["cron_schedule"]["cron"] == "0 30 2 * * *", "the server reads seconds first"
    assert (made["no_catchup"], made["max_concurrency"], made["mode"]) == (True, "1", "ENABLE")
    assert made["runtime_config"]["parameters"] == {"test_size": 0.3}
    assert "nightly: create" in told
    assert len(re.findall(r"\d\d 02:30:00", told)) == 5, "the next five times"

    kfp.requests.clear()
    assert schedule.main(["apply"]) == 0
    assert "nightly: nothing to do" in capsys.readouterr().out
    assert changed(kfp) == []

    write(tmp_path, NIGHTLY.replace("30 2", "45 3"))
    assert schedule.main(["apply"]) == 0
    told = capsys.readouterr().out
    (now,) = kfp.recurring.values()
    assert now["recurring_run_id"] != made["recurring_run_id"]
    assert "cron: 0 30 2 * * * -> 0 45 3 * * *" in told


def test_a_replacement_kills_no_running_work(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (first,) = kfp.recurring
    kfp.outcome = [("prep-data", "RUNNING")]
    run = kfp.tick(first)
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))
    assert schedule.main(["apply"]) == 0
    assert "goes on, and deleting it would kill that" in capsys.readouterr().out
    assert (len(kfp.recurring), kfp.recurring[first]["mode"]) == (2, "DISABLE")
    assert kfp.runs[run]["state"] == "PENDING"
    assert schedule.main(["apply"]) == 0, "still running: still there"
    assert len(kfp.recurring) == 2
    kfp.runs[run]["state"] = "SUCCEEDED"
    assert schedule.main(["apply"]) == 0
    assert first not in kfp.recurring
    assert len(kfp.recurring) == 1


@pytest.mark.parametrize("dies_at", [":disable", "/recurringruns"])
def test_apply_takes_up_what_a_crash_left(kfp, tmp_path, dies_at):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))

    def die(method, path):
        if method == "POST" and path.endswith(dies_at):
            raise Refused(500, {"message": "gone"})

    kfp.fail = die
    assert schedule.main(["apply"]) == 75
    kfp.fail = lambda *_: None
    assert schedule.main(["apply"]) == 0
    (left,) = kfp.recurring.values()
    assert left["mode"] == "ENABLE"
    assert left["runtime_config"]["parameters"] == {"test_size": 0.4}


def test_diff_changes_nothing_and_says_what_apply_would_do(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    assert schedule.main(["diff"]) == 0
    assert "nightly: create" in capsys.readouterr().out
    assert changed(kfp) == []
    schedule.main(["apply"])
    kfp.requests.clear()
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))
    assert schedule.main(["apply", "--dry-run"]) == 0
    assert "parameters: {'test_size': 0.3} -> {'test_size': 0.4}" in capsys.readouterr().out
    assert changed(kfp) == []


def test_pause_resume_and_delete_by_hand(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (made,) = kfp.recurring.values()
    assert schedule.main(["pause", "nightly"]) == 0
    assert made["mode"] == "DISABLE"
    assert schedule.main(["resume", "nightly"]) == 0
    assert made["mode"] == "ENABLE"
    kfp.outcome = []
    run = kfp.tick(made["recurring_run_id"])
    assert schedule.main(["delete", "nightly"]) == 0
    assert made["recurring_run_id"] in kfp.recurring, "a run goes on"
    kfp.runs[run]["state"] = "FAILED"
    assert schedule.main(["delete", "nightly"]) == 0
    assert not kfp.recurring
    assert schedule.main(["pause", "nightly"]) == 2
    assert "there is no schedule nightly" in capsys.readouterr().err


def test_the_file_pauses_and_resumes_without_a_replacement(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (first,) = kfp.recurring
    write(tmp_path, NIGHTLY + "    paused: true\n")
    schedule.main(["apply"])
    assert kfp.recurring[first]["mode"] == "DISABLE"
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    assert {key: row["mode"] for key, row in kfp.recurring.items()} == {first: "ENABLE"}
    assert "nightly: resume" in capsys.readouterr().out


def test_strangers_of_the_same_name_are_told_of_and_left_alone(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (made,) = kfp.recurring.values()
    body = {key: made[key] for key in ("display_name", "pipeline_version_reference", "experiment_id", "mode")}
    body |= {"trigger": {"cron_schedule": {"cron": "30 2 * * *"}}, "max_concurrency": 1}
    stranger = kfp._schedule(body)["recurring_run_id"]
    capsys.readouterr()
    assert schedule.main(["apply"]) == 0
    assert f"warning: {stranger} has this name, too" in capsys.readouterr().err
    assert stranger in kfp.recurring
    assert schedule.main(["list"]) == 0
    printed = capsys.readouterr()
    assert "not made from a file; there is another one of this name" in printed.out
    assert "warning: five fields" in printed.err


def test_what_is_on_the_server_and_not_in_the_file_is_told_of(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    write(tmp_path, NIGHTLY.replace("nightly", "weekly"))
    schedule.main(["apply"])
    assert "nightly: not in schedules.yaml; left alone" in capsys.readouterr().out
    assert len(kfp.recurring) == 2


def test_a_backfill_runs_each_time_once_and_goes_on_where_it_ended(kfp, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    write(tmp_path, NIGHTLY)
    days = ["--from", "2026-11-01", "--to", "2026-11-03"]
    assert schedule.main(["backfill", "nightly", *days, "--dry-run"]) == 0
    assert capsys.readouterr().out.split() == [f"2026-11-0{n}T02:30:00Z" for n in (1, 2, 3)]
    ends = iter(["SUCCEEDED", "FAILED"])
    real = kfp.start

    def start(body, *more):
        kfp.outcome = [("run", next(ends, "SUCCEEDED"))]
        return real(body, *more)

    monkeypatch.setattr(kfp, "start", start)
    assert schedule.main(["backfill", "nightly", *days]) == 1
    assert "the run as of 2026-11-02T02:30:00Z ended as FAILED" in capsys.readouterr().err
    assert schedule.main(["backfill", "nightly", *days]) == 0
    times = [run["runtime_config"]["parameters"]["as_of"] for run in kfp.runs.values()]
    assert times == [f"2026-11-0{n}T02:30:00Z" for n in (1, 2, 2, 3)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schedules: nightly", "holds one key, schedules, with a list"),
        ("schedules: [a]", "schedule 1: is no mapping"),
        (NIGHTLY.replace("    cron:", "    crn:"), "has no cron"),
        (NIGHTLY + "    catch_up: true\n", "there is no key 'catch_up'; the keys are name, workload"),
        (NIGHTLY + "    paused: 'yes'\n", "paused: 'yes' is no bool"),
        (NIGHTLY + "    max_concurrency: 11\n", "is not from 1 to 10"),
        (NIGHTLY.replace("30 2 * * *", "often"), "five fields"),
        (NIGHTLY.replace("30 2 * * *", "61 2 * * *"), "five fields"),
        (NIGHTLY + "    timezone: Mars/Base\n", "there is no time zone 'Mars/Base'"),
        (NIGHTLY.replace("test_size", "tset_size"), "did you mean test_size?"),
        (NIGHTLY.replace("0.3", "0.9"), "a number from 0.05 to 0.5"),
        (NIGHTLY.replace("test_size: 0.3", "as_of: '2026-01-01'"), "take their own time"),
        (NIGHTLY.replace("diabetes", "diabetis"), "registered are"),
        (NIGHTLY.replace("name: nightly", "name: Nightly!"), "a name has small letters"),
        (NIGHTLY + NIGHTLY.split("schedules:")[1], "the name nightly is there twice"),
    ],
)
def test_a_file_with_a_mistake_changes_nothing(kfp, tmp_path, capsys, text, said):
    write(tmp_path, text)
    assert schedule.main(["apply"]) == 2
    assert said in capsys.readouterr().err
    assert kfp.requests == []


def test_there_is_no_file(kfp, capsys):
    assert schedule.main(["diff"]) == 2
    assert "there is no schedules.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cron", "zone", "turned"),
    [
        ("30 2 * * *", "UTC", "0 30 2 * * *"),
        ("15 30 2 * * *", "UTC", "15 30 2 * * *"),
        ("30 2 * * *", "Asia/Seoul", "0 30 17 * * *"),
        ("30 2 * * MON", "Asia/Seoul", "0 30 17 * * 0"),
        ("0 20 * * 5,6", "America/New_York", "0 0 1 * * 0,6"),
        ("*/15 * * * *", "Asia/Kolkata", "0 0,15,30,45 * * * *"),
        ("0 9 1 * *", "Europe/Berlin", "0 0 8 1 * *"),
        ("0 * * * *", "Europe/Berlin", "0 0 * * * *"),
    ],
)
def test_local_times_are_turned_into_the_servers(cron, zone, turned):
    assert Cron.parse(cron, zone).in_utc(NOW).text == turned


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("30 2 1 * *", "Asia/Seoul"),
        ("0 2,20 * * 1", "Asia/Seoul"),
        ("0,45 9 * * *", "Asia/Kolkata"),
    ],
)
def test_what_utc_cannot_say_is_refused(cron, zone):
    with pytest.raises(UserError, match="Write it in UTC, or as two schedules"):
        Cron.parse(cron, zone).in_utc(NOW)


def test_the_day_when_the_clock_changes_is_told():
    berlin = Cron.parse("30 2 * * *", "Europe/Berlin")
    assert str(berlin.clock_change(NOW)) == "2027-03-28"
    assert Cron.parse("30 2 * * *", "Asia/Seoul").clock_change(NOW) is None
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert berlin.in_utc(NOW).text != berlin.in_utc(summer).text, "which is what diff then shows"


def test_times_go_by_the_zone():
    times = islice(Cron.parse("30 2 * * *", "Asia/Seoul").times(NOW), 2)
    assert [f"{when:%d %H:%M %Z}" for when in times] == ["21 17:30 UTC", "22 17:30 UTC"]
