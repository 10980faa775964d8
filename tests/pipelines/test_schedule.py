"""The schedule command against a Kubeflow server: effects on the server, and rejected files."""

import json
import re
from datetime import UTC, datetime
from itertools import islice

import jsonschema
import pytest
import yaml

from continuous_training.core.errors import UserError
from continuous_training.kubeflow.schedules.cron import Cron
from pipelines import schedule
from tests.fakes import web, write_kubeconfig
from tests.kfp_server import ApiError, kfp_server

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


def write_requests(kfp):
    return [(method, path) for method, path in kfp.requests if method != "GET"]


def test_apply_creates_keeps_and_replaces(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    assert schedule.main(["apply"]) == 0
    output = capsys.readouterr().out
    (created,) = kfp.recurring_runs.values()
    assert created["trigger"]["cron_schedule"]["cron"] == "0 30 2 * * *", "the server reads seconds first"
    assert (created["no_catchup"], created["max_concurrency"], created["mode"]) == (True, "1", "ENABLE")
    assert created["runtime_config"]["parameters"] == {"test_size": 0.3}
    assert created["description"] == "kept by pipelines.schedule: diabetes, 0 30 2 * * * UTC"
    assert created["service_account"] == "continuous-training"
    assert "nightly: create" in output
    assert len(re.findall(r"\d\d 02:30:00", output)) == 5, "the next five times"

    kfp.requests.clear()
    assert schedule.main(["apply"]) == 0
    assert "nightly: nothing to do" in capsys.readouterr().out
    assert write_requests(kfp) == []

    write(tmp_path, NIGHTLY.replace("30 2", "45 3"))
    assert schedule.main(["apply"]) == 0
    output = capsys.readouterr().out
    (replacement,) = kfp.recurring_runs.values()
    assert replacement["recurring_run_id"] != created["recurring_run_id"]
    assert "cron: 0 30 2 * * * -> 0 45 3 * * *" in output


def test_replacement_does_not_kill_active_runs(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (first,) = kfp.recurring_runs
    kfp.outcome = [("prep-data", "RUNNING")]
    run = kfp.tick(first)
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))
    assert schedule.main(["apply"]) == 0
    assert "a deletion would kill its active runs" in capsys.readouterr().out
    assert (len(kfp.recurring_runs), kfp.recurring_runs[first]["mode"]) == (2, "DISABLE")
    assert kfp.runs[run]["state"] == "PENDING"
    assert schedule.main(["apply"]) == 0, "the run is still active, so both remain"
    assert len(kfp.recurring_runs) == 2
    kfp.runs[run]["state"] = "SUCCEEDED"
    assert schedule.main(["apply"]) == 0
    assert first not in kfp.recurring_runs
    assert len(kfp.recurring_runs) == 1


@pytest.mark.parametrize("failing_path", [":disable", "/recurringruns", ":enable"])
def test_a_rejected_replacement_leaves_the_previous_schedule_running(kfp, tmp_path, failing_path):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (first,) = kfp.recurring_runs
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))

    def fail(method, path):
        if path.endswith(failing_path) and method == "POST" and not path.endswith(f"{first}:enable"):
            raise ApiError(500, {"message": "gone"})

    kfp.fail = fail
    assert schedule.main(["apply"]) == 75
    enabled = [key for key, row in kfp.recurring_runs.items() if row["mode"] == "ENABLE"]
    assert enabled == [first]
    kfp.fail = lambda *_: None
    assert schedule.main(["apply"]) == 0
    (remaining,) = kfp.recurring_runs.values()
    assert remaining["mode"] == "ENABLE"
    assert remaining["runtime_config"]["parameters"] == {"test_size": 0.4}


def test_a_replacement_that_cannot_be_reversed_is_reported(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))

    def fail(_, path):
        if path.endswith(":enable"):
            raise ApiError(500, {"message": "gone"})

    kfp.fail = fail
    assert schedule.main(["apply"]) == 75
    assert "the schedule starts no runs until an apply succeeds" in capsys.readouterr().err
    kfp.fail = lambda *_: None
    assert schedule.main(["apply"]) == 0
    (remaining,) = kfp.recurring_runs.values()
    assert (remaining["mode"], remaining["runtime_config"]["parameters"]) == ("ENABLE", {"test_size": 0.4})


def test_delete_with_force_does_not_wait_for_active_runs(kfp, tmp_path):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    kfp.outcome = []
    kfp.tick(next(iter(kfp.recurring_runs)))
    assert schedule.main(["delete", "nightly", "--force"]) == 0
    assert not kfp.recurring_runs


@pytest.mark.parametrize(
    ("same_cluster", "has_workflow", "exit_code"), [(True, False, 0), (True, True, 75), (False, False, 75)]
)
def test_a_run_without_a_workflow_does_not_prevent_a_deletion(
    kfp, tmp_path, monkeypatch, same_cluster, has_workflow, exit_code
):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    kfp.outcome = []
    (recurring_run,) = kfp.recurring_runs
    run = kfp.tick(recurring_run)
    workflows = [{"metadata": {"labels": {"pipeline/runid": run}}}] if has_workflow else []
    uid = recurring_run if same_cluster else "another"
    objects = {"scheduledworkflows": [{"metadata": {"uid": uid}}], "workflows": workflows}

    def answer(_, path):
        plural = path.partition("?")[0].rpartition("/")[2]
        return 200, {"metadata": {"resourceVersion": "1"}, "items": objects[plural]}

    with web(answer) as cluster:
        write_kubeconfig(tmp_path / "kubeconfig", cluster.url)
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        assert schedule.main(["delete", "nightly"]) == exit_code
    assert bool(kfp.recurring_runs) == (exit_code != 0)


def test_diff_prints_the_changes_without_making_them(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    assert schedule.main(["diff"]) == 0
    assert "nightly: create" in capsys.readouterr().out
    assert write_requests(kfp) == []
    schedule.main(["apply"])
    kfp.requests.clear()
    write(tmp_path, NIGHTLY.replace("0.3", "0.4"))
    assert schedule.main(["apply", "--dry-run"]) == 0
    assert "parameters: {'test_size': 0.3} -> {'test_size': 0.4}" in capsys.readouterr().out
    assert write_requests(kfp) == []


def test_pause_resume_and_delete_commands(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (created,) = kfp.recurring_runs.values()
    assert schedule.main(["pause", "nightly"]) == 0
    assert created["mode"] == "DISABLE"
    assert schedule.main(["resume", "nightly"]) == 0
    assert created["mode"] == "ENABLE"
    kfp.outcome = []
    run = kfp.tick(created["recurring_run_id"])
    capsys.readouterr()
    assert schedule.main(["delete", "nightly"]) == 75
    output = capsys.readouterr()
    assert "a deletion would kill its active runs (nightly-1)" in output.err
    assert output.out == ""
    assert created["recurring_run_id"] in kfp.recurring_runs, "one of its runs is active"
    kfp.runs[run]["state"] = "FAILED"
    assert schedule.main(["delete", "nightly"]) == 0
    assert capsys.readouterr().out == f"nightly: deleted {created['recurring_run_id']}\n"
    assert not kfp.recurring_runs
    assert schedule.main(["pause", "nightly"]) == 2
    assert "no schedule nightly was created from a file" in capsys.readouterr().err


def test_paused_in_the_file_changes_the_mode_without_a_replacement(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (first,) = kfp.recurring_runs
    write(tmp_path, NIGHTLY + "    paused: true\n")
    schedule.main(["apply"])
    assert kfp.recurring_runs[first]["mode"] == "DISABLE"
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    assert {key: row["mode"] for key, row in kfp.recurring_runs.items()} == {first: "ENABLE"}
    assert "nightly: resume" in capsys.readouterr().out


def test_unmanaged_recurring_runs_of_the_same_name_are_reported_and_not_changed(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    (created,) = kfp.recurring_runs.values()
    copied = ("display_name", "pipeline_version_reference", "experiment_id", "mode")
    body = {key: created[key] for key in copied}
    body |= {"trigger": {"cron_schedule": {"cron": "30 2 * * *"}}, "max_concurrency": 1}
    unmanaged = kfp.create_recurring_run(body)["recurring_run_id"]
    capsys.readouterr()
    assert schedule.main(["apply"]) == 0
    assert f"warning: {unmanaged} has the same name" in capsys.readouterr().err
    assert unmanaged in kfp.recurring_runs
    assert schedule.main(["list"]) == 0
    printed = capsys.readouterr()
    assert "not created from a file; another one has the same name" in printed.out
    assert "warning: five fields" in printed.err


def test_schedules_that_are_not_in_the_file_are_reported(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY)
    schedule.main(["apply"])
    write(tmp_path, NIGHTLY.replace("nightly", "weekly"))
    schedule.main(["apply"])
    assert "nightly: not in schedules.yaml; not changed" in capsys.readouterr().out
    assert len(kfp.recurring_runs) == 2


NSMC = """
schedules:
  - {name: nightly, workload: diabetes, cron: "30 2 * * *"}
  - {name: reviews, workload: nsmc, cron: "30 3 * * *", parameters: {model: fast, passes: 5}}
"""


def test_recommended_commands_have_the_options_of_the_server(kfp, tmp_path, capsys):
    profile = ["--host", kfp.url, "--namespace", "team-a"]
    assert schedule.main(["list", *profile]) == 0
    options = f"--host {kfp.url} --namespace team-a"
    assert f"-m pipelines.schedule apply {options}\n" in capsys.readouterr().err
    write(tmp_path, NIGHTLY)
    assert schedule.main(["apply", *profile]) == 0
    write(tmp_path, NIGHTLY.replace("nightly", "weekly"))
    capsys.readouterr()
    assert schedule.main(["apply", *profile]) == 0
    assert f"to delete it: .venv/bin/python -m pipelines.schedule delete nightly {options}\n" in re.sub(
        r"to delete it: \S+", "to delete it: .venv/bin/python", capsys.readouterr().err
    )


def test_fixed_parameters_are_not_passed_to_the_runs(kfp, tmp_path, capsys):
    write(tmp_path, NSMC)
    assert schedule.main(["apply", "--fix", "model=fast"]) == 0
    recurring_runs = {row["display_name"]: row for row in kfp.recurring_runs.values()}
    assert recurring_runs["reviews"]["runtime_config"]["parameters"] == {"passes": 5}
    inputs = [v["pipeline_spec"]["root"]["inputDefinitions"]["parameters"] for v in kfp.versions.values()]
    assert not any("model" in names for names in inputs)
    days = ["--from", "2026-11-01", "--to", "2026-11-01", "--dry-run", "--fix", "model=fast"]
    assert schedule.main(["backfill", "reviews", *days]) == 0


@pytest.mark.parametrize(
    ("fixed", "message"),
    [("model=deep", "model=fast differs from --fix model=deep"), ("depth=3", "no such run parameter")],
)
@pytest.mark.parametrize(
    "verb",
    [["apply"], ["diff"], ["backfill", "reviews", "--from", "2026-11-01", "--to", "2026-11-01"]],
    ids=lambda verb: verb[0],
)
def test_a_fixed_parameter_that_does_not_fit_is_rejected(kfp, tmp_path, capsys, verb, fixed, message):
    write(tmp_path, NSMC)
    assert schedule.main([*verb, "--fix", fixed]) == 2
    assert message in capsys.readouterr().err
    assert write_requests(kfp) == []


def test_backfill_runs_each_time_once_and_continues_after_a_failure(kfp, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    write(tmp_path, NIGHTLY)
    days = ["--from", "2026-11-01", "--to", "2026-11-03"]
    assert schedule.main(["backfill", "nightly", *days, "--dry-run"]) == 0
    assert capsys.readouterr().out.split() == [f"2026-11-0{n}T02:30:00Z" for n in (1, 2, 3)]
    states = iter(["SUCCEEDED", "FAILED"])
    start_run = kfp.start_run

    def start_with_outcome(body, *arguments):
        kfp.outcome = [("run", next(states, "SUCCEEDED"))]
        return start_run(body, *arguments)

    monkeypatch.setattr(kfp, "start_run", start_with_outcome)
    assert schedule.main(["backfill", "nightly", *days]) == 1
    assert "the run as of 2026-11-02T02:30:00Z ended with state FAILED" in capsys.readouterr().err
    assert schedule.main(["backfill", "nightly", *days]) == 0
    as_of_values = [run["runtime_config"]["parameters"]["as_of"] for run in kfp.runs.values()]
    assert as_of_values == [f"2026-11-0{n}T02:30:00Z" for n in (1, 2, 2, 3)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schedules: nightly", "schedules: must be a list, not 'nightly'"),
        ("schedules: [a]", "schedules[0]: must be a mapping"),
        ("[]", "schedules.yaml: must be a mapping"),
        (NIGHTLY.replace("    cron:", "    # cron:"), "schedules[0].cron: this key is required"),
        (NIGHTLY.replace("    cron:", "    crn:"), "schedules[0]: unknown key 'crn'; the keys are name,"),
        (NIGHTLY + "    catch_up: true\n", "unknown key 'catch_up'; the keys are name, workload"),
        (NIGHTLY + "    paused: 'yes'\n", "schedules[0].paused: must be a valid boolean, not 'yes'"),
        (NIGHTLY + "    max_concurrency: 11\n", "max_concurrency: must be less than or equal to 10, not 11"),
        (NIGHTLY.replace("30 2 * * *", "often"), "five fields"),
        (NIGHTLY.replace("30 2 * * *", "61 2 * * *"), "cron '61 2 * * *': minute '61': use numbers"),
        (NIGHTLY.replace("30 2", "0 22-2,L"), "hour 'L'"),
        (NIGHTLY + "    timezone: Mars/Base\n", "the time zone 'Mars/Base' does not exist"),
        (NIGHTLY.replace("test_size", "tset_size"), "did you mean test_size?"),
        (NIGHTLY.replace("0.3", "0.9"), "a number from 0.05 to 0.5"),
        (NIGHTLY.replace("test_size: 0.3", "as_of: '2026-01-01'"), "parameter as_of cannot be set"),
        (NIGHTLY.replace("test_size: 0.3", "accept: new scanner"), "parameter accept cannot be set"),
        (NIGHTLY.replace("diabetes", "diabetis"), "diabetis"),
        (NIGHTLY.replace("name: nightly", "name: Nightly!"), "lower-case letters"),
        (NIGHTLY + NIGHTLY.split("schedules:")[1], "the name nightly is used twice"),
    ],
)
def test_a_file_with_a_mistake_is_rejected_before_any_request(kfp, tmp_path, capsys, text, message):
    write(tmp_path, text)
    assert schedule.main(["apply"]) == 2
    assert message in capsys.readouterr().err
    assert kfp.requests == []


@pytest.mark.parametrize(
    ("cron", "on_server"),
    [
        ("0 3 * * 7", "0 0 3 * * 0"),
        ("0 22-2 * * *", "0 0 22,23,0,1,2 * * *"),
        ("0 3 * * FRI-MON", "0 0 3 * * 5,6,0,1"),
        ("@daily", "0 0 0 * * *"),
    ],
)
def test_a_cron_expression_is_rewritten_for_the_parser_of_the_server(kfp, tmp_path, capsys, cron, on_server):
    write(tmp_path, NIGHTLY.replace("30 2 * * *", cron))
    assert schedule.main(["apply"]) == 0
    (created,) = kfp.recurring_runs.values()
    assert created["trigger"]["cron_schedule"]["cron"] == on_server
    assert f"{cron} is {on_server} for the server" in capsys.readouterr().out
    assert schedule.main(["diff"]) == 0
    assert "nightly: nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("cron", ["0 3 L * *", "0 3 * * FRI#2", "0 3 15W * *", "R R * * *", "0 3 31 2 *"])
def test_a_cron_expression_that_the_server_cannot_interpret_is_rejected(kfp, tmp_path, capsys, cron):
    write(tmp_path, NIGHTLY.replace("30 2 * * *", cron))
    for verb in ("diff", "apply"):
        assert schedule.main([verb]) == 2
        assert re.search("(minute|day of month|weekday) '", capsys.readouterr().err)
    assert kfp.requests == []


def test_several_mistakes_are_reported_at_once(kfp, tmp_path, capsys):
    write(tmp_path, NIGHTLY + "    paused: 3\n    max_concurrency: 0\n")
    assert schedule.main(["apply"]) == 2
    error = capsys.readouterr().err
    assert "schedules.yaml: schedules[0].paused:" in error
    assert "schedules.yaml: schedules[0].max_concurrency:" in error


def test_the_schema_accepts_what_the_command_accepts(capsys):
    assert schedule.main(["--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.validate(yaml.safe_load(NIGHTLY), schema)
    with pytest.raises(jsonschema.ValidationError, match="crn"):
        jsonschema.validate(yaml.safe_load(NIGHTLY.replace("cron:", "crn:")), schema)
    assert schema["$defs"]["Schedule"]["properties"]["cron"]["description"]


def test_a_missing_file_is_rejected(kfp, capsys):
    assert schedule.main(["diff"]) == 2
    assert "schedules.yaml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cron", "zone", "converted"),
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
def test_local_times_are_converted_to_utc(cron, zone, converted):
    assert Cron.parse(cron, zone).in_utc(NOW).text == converted


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("30 2 1 * *", "Asia/Seoul"),
        ("0 2,20 * * 1", "Asia/Seoul"),
        ("0,45 9 * * *", "Asia/Kolkata"),
    ],
)
def test_times_without_one_expression_in_utc_are_rejected(cron, zone):
    with pytest.raises(UserError, match="Write it in UTC, or as two schedules"):
        Cron.parse(cron, zone).in_utc(NOW)


def test_clock_change_returns_the_next_day_with_another_offset():
    berlin = Cron.parse("30 2 * * *", "Europe/Berlin")
    assert str(berlin.clock_change(NOW)) == "2027-03-28"
    assert Cron.parse("30 2 * * *", "Asia/Seoul").clock_change(NOW) is None
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert berlin.in_utc(NOW).text != berlin.in_utc(summer).text, "diff shows this difference"


def test_times_respect_the_time_zone():
    as_of_values = islice(Cron.parse("30 2 * * *", "Asia/Seoul").times(NOW), 2)
    assert [f"{time:%d %H:%M %Z}" for time in as_of_values] == ["21 17:30 UTC", "22 17:30 UTC"]
