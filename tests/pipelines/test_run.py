"""A local run as a process: every verdict, invalid input, interrupts, and lost files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest
import requests

from continuous_training.core.temporary_files import find_leftovers
from continuous_training.serving.process import daemon
from pipelines.run import LOCAL_INTERRUPTION

ROOT = Path(__file__).parents[2]


def run(*arguments, expect=0, env=None, module="pipelines.run", python=sys.executable):
    process = subprocess.run(
        [python, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(env or {})},
        cwd=ROOT,
    )
    assert process.returncode == expect, process.stderr[-3000:]
    return process


def result_of(*arguments, expect=0, env=None):
    process = run(*arguments, "--json", expect=expect, env=env)
    assert process.stdout.count("\n") == 1, "standard output is one JSON object and nothing else"
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    folder = tmp_path_factory.mktemp("state")
    yield folder
    daemon.stop(folder)


@pytest.fixture(scope="module")
def first(state):
    """The result of the first run of diabetes. The tests below use its state directory."""
    return result_of("--workload", "diabetes", "--state", str(state))


def test_the_first_model_is_promoted_and_served(first, state):
    assert first["verdict"] == "promoted"
    assert first["version"] == "1"
    assert any("no champion yet" in reason for reason in first["reasons"])
    assert set(first["seconds"]) == {
        "prep-data", "train", "evaluate", "archive", "deploy-serving", "notify", "total",
    }  # fmt: skip
    interval = first["metrics"]["r2"]
    assert interval["low"] < interval["value"] < interval["high"]
    assert "<html" in Path(first["report"]).read_text()
    request = {"patient": dict.fromkeys(("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"), 1)}
    answer = requests.post(first["endpoint"], json=request, timeout=10)
    assert answer.headers["x-model-digest"] == first["digest"]
    assert isinstance(answer.json()["progression"][0], float)


def test_a_run_on_unchanged_data_changes_nothing(first, state):
    before = sorted(p for p in (state / "mlflow").rglob("*") if p.name != "server.log")
    stamps = [p.stat().st_mtime_ns for p in before]
    repeated = result_of("--workload", "diabetes", "--state", str(state))
    assert repeated["verdict"] == "unchanged"
    assert "data unchanged" in repeated["reasons"][0]
    assert repeated["digest"] == first["digest"]
    assert repeated["endpoint"] == first["endpoint"]
    assert set(repeated["seconds"]) == {"prep-data", "notify", "total"}
    assert repeated["report"] == first["report"]
    assert [p.stat().st_mtime_ns for p in before] == stamps, "the registry is not changed"


def test_a_worse_challenger_is_rejected(first, state):
    arguments = ("--workload", "diabetes", "--state", str(state), "--set", "features=age")
    rejected = result_of(*arguments, expect=3)
    assert rejected["verdict"] == "rejected"
    assert rejected["version"] is None
    assert any("against champion 1" in reason for reason in rejected["reasons"])
    answer = requests.get(first["endpoint"].replace("/predict", "/v2/models"), timeout=10).json()
    assert answer["versions"] == [first["digest"][:12]]
    repeated = result_of(*arguments)
    assert repeated["verdict"] == "unchanged", "rejected inputs are not trained again"


def test_a_better_challenger_is_promoted(tmp_path):
    try:
        arguments = ("--workload", "diabetes", "--state", str(tmp_path), "--set", "test_size=0.5")
        weak = result_of(*arguments, "--set", "features=bmi")
        strong = result_of(*arguments)
        assert (weak["verdict"], strong["verdict"]) == ("promoted", "promoted")
        assert strong["version"] == "2"
        assert strong["endpoint"] == weak["endpoint"]
        answer = requests.get(strong["endpoint"].replace("/predict", "/v2/models"), timeout=10).json()
        assert answer["versions"] == [strong["digest"][:12]]
    finally:
        daemon.stop(tmp_path)


def test_a_stopped_server_is_started_with_the_champion(first, state):
    daemon.stop(state)
    repeated = result_of("--workload", "diabetes", "--state", str(state))
    assert repeated["verdict"] == "unchanged"
    assert requests.get(repeated["endpoint"].replace("/predict", "/v2/models"), timeout=10).ok


@pytest.mark.parametrize("lost", ["all of it", "models.json"])
def test_a_lost_endpoint_serves_the_champion_again(first, state, lost):
    daemon.stop(state)
    if lost == "all of it":
        shutil.rmtree(state / "serving")
        shutil.rmtree(state / "archives")
    else:
        (state / "serving/models.json").write_text("{")
    repeated = result_of("--workload", "diabetes", "--state", str(state))
    assert repeated["verdict"] == "unchanged"
    answer = requests.get(repeated["endpoint"].replace("/predict", "/v2/models"), timeout=10).json()
    assert answer["versions"] == [first["digest"][:12]]


def test_the_table_and_the_progress_are_printed(first, state):
    process = run("--workload", "diabetes", "--state", str(state))
    assert "unchanged" in process.stdout
    assert "prep-data: reading sklearn:diabetes" in process.stderr
    assert "Traceback" not in process.stderr
    assert "Warning" not in process.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workload", "nothere"], "registered are: diabetes, digits,"),
        (["--workload", "diabetes", "--set", "featurs=bmi"], "did you mean features?"),
        (["--workload", "diabetes", "--set", "test_size=big"], "a number from 0.05 to 0.5"),
        (["--workload", "diabetes", "--set", "test_size=0.9"], "a number from 0.05 to 0.5"),
        (["--workload", "diabetes", "--set", "features=weight"], "one of all, age"),
        (["--workload", "diabetes", "--set", "features"], "not of the form name=value"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(arguments, message, tmp_path):
    process = run(*arguments, "--state", str(tmp_path / "state"), expect=2)
    assert message in process.stderr
    assert not (tmp_path / "state").exists()


def test_dry_run_starts_nothing(tmp_path):
    process = run("--workload", "digits", "--set", "seed=3", "--dry-run", "--state", str(tmp_path / "state"))
    plan = json.loads(process.stdout)
    assert plan["parameters"]["seed"] == 3
    assert plan["pipeline"].startswith("digits-")
    assert not (tmp_path / "state").exists()


def test_invalid_data_is_reported_with_row_and_column(first, state, tmp_path):
    rows = ["50,1,25,100,200,100,50,4,5,90,150"] * 150
    rows[120] = "50,1,250,100,200,100,50,4,5,90,150"
    source = tmp_path / "new.csv"
    source.write_text("\n".join(rows))
    failed = result_of("--workload", "diabetes", "--state", str(state), "--set", f"source={source}", expect=2)
    assert failed["verdict"] == "failed"
    assert "new.csv, row 121, column bmi: 250.0 is over 80" in failed["reasons"][0]
    assert result_of("--workload", "diabetes", "--state", str(state))["verdict"] == "unchanged"


def test_new_rows_are_new_data(state, tmp_path):
    import gzip

    from workloads.csv_reader import scikit_learn_file

    names = ("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz")
    features, target = (
        gzip.decompress(Path(scikit_learn_file(name)).read_bytes()).decode().split("\n") for name in names
    )
    rows = [f"{f.strip().replace(' ', ',')},{float(t)}" for f, t in zip(features, target, strict=True) if f]
    younger = [f"{float(row.split(',', 1)[0]) - 1},{row.split(',', 1)[1]}" for row in rows[:2]]
    for name, content in {"old": rows, "same": [*rows, *rows[:2]], "more": [*rows, *younger]}.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(content))
    arguments = ("--workload", "diabetes", "--state", str(state), "--set")
    evaluated = result_of(*arguments, f"source={tmp_path}/old.csv", expect=3)
    assert any("against champion 1" in reason for reason in evaluated["reasons"])
    repeated = result_of(*arguments, f"source={tmp_path}/same.csv")
    assert repeated["verdict"] == "unchanged", "only the content counts, without duplicate rows"
    evaluated = result_of(*arguments, f"source={tmp_path}/more.csv", expect=3)
    assert any("against champion 1" in reason for reason in evaluated["reasons"])


def test_paths_with_special_characters(tmp_path):
    """An interpreter in a folder with a space, and a state directory with special characters."""
    venv.create(tmp_path / "a b", symlinks=True)
    (site,) = (tmp_path / "a b").glob("lib/python*/site-packages")
    site.joinpath("ours.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    state = tmp_path / "ein Zustand: 100 % ü?#&'"
    try:
        process = run("--workload", "diabetes", "--state", str(state), python=tmp_path / "a b/bin/python")
        assert "promoted" in process.stdout
    finally:
        daemon.stop(state)


def test_a_run_after_an_interrupt_succeeds(tmp_path):
    arguments = ["--workload", "digits", "--state", str(tmp_path), "--set", "max_iter=500"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.run", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "train: training on" in line:
            break
    # A terminal sends the signal to every process of the foreground group, too.
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert LOCAL_INTERRUPTION in error
    try:
        after = result_of("--workload", "digits", "--state", str(tmp_path))
        assert after["verdict"] == "promoted"
    finally:
        daemon.stop(tmp_path)


def test_a_run_after_a_killed_run_succeeds(tmp_path):
    """SIGKILL also ends the server of the registry. The next run is complete, and removes the leftovers."""
    system_folder, state = tmp_path / "tmp", tmp_path / "state"
    system_folder.mkdir()
    arguments = ["--workload", "diabetes", "--state", str(state)]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.run", *arguments],
        env={**os.environ, "TMPDIR": str(system_folder)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "evaluate: starts" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while _processes_with(state / "mlflow") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _processes_with(state / "mlflow"), "the server of the registry still runs"
    assert list(system_folder.iterdir()) == []
    assert find_leftovers(state)
    try:
        assert result_of(*arguments)["verdict"] == "promoted"
        assert find_leftovers(state) == []
    finally:
        daemon.stop(state)


def _processes_with(folder: Path) -> list[str]:
    """Return the command lines of running processes that contain the folder."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            lines.append(line)
    return lines
