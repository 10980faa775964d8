"""The commands of the server: output and exit codes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from toy_models import make_archive

from continuous_training.serving.process.client import ServerClient
from continuous_training.serving.process.state_files import RunningServer
from serving.__main__ import main

ROOT = Path(__file__).parents[3]


def test_start_status_stop(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    option = ["--state", str(state)]
    assert main(["status", *option]) == 75
    assert capsys.readouterr().out == f"no server runs in {state}\n"
    assert main(["status", "--json", *option]) == 75
    assert json.loads(capsys.readouterr().out) == {"running": False}
    assert main(["start", *option, "--port", "0"]) == 0
    assert capsys.readouterr().out.startswith("serving at http://127.0.0.1:")
    assert main(["start", *option]) == 0
    assert capsys.readouterr().out.startswith("already serving at http://127.0.0.1:")
    assert main(["stop", *option]) == 0
    assert capsys.readouterr().out == "stopped\n"
    assert main(["stop", *option]) == 0
    assert capsys.readouterr().out == f"no server runs in {state}\n"


def test_status_shows_a_line_for_each_model(
    state: Path, endpoint: ServerClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = make_archive(tmp_path)
    endpoint.load("toy", toy.path, toy.digest, 30)
    assert main(["status", "--state", str(state)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"serving at {endpoint.running.url} (pid {endpoint.running.pid}, since 20")
    assert second.startswith(f"toy  {toy.digest[:12]}  probation  since 20")
    assert main(["status", "--json", "--state", str(state)]) == 0
    status = json.loads(capsys.readouterr().out)
    assert list(status) == ["running", "pid", "url", "started", "models"]
    assert (status["running"], status["models"][0]["digest"]) == (True, toy.digest)
    assert list(status["models"][0]) == [
        "state",
        "reason",
        "name",
        "version",
        "digest",
        "phase",
        "former",
        "expires_in",
        "shielded",
        "loaded_at",
        "archive",
    ]
    assert endpoint.running.token not in json.dumps(status)


def test_a_taken_port_is_a_user_error(
    tmp_path: Path, running: RunningServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["start", "--state", str(tmp_path / "other"), "--port", str(running.port)]) == 2
    assert capsys.readouterr().err.startswith(f"error: port {running.port} of 127.0.0.1 is taken")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--archive", "none.mar"], "error: there is no archive at none.mar"),
        (["serve"], "error: pass either --archive FILE.mar, or --model-store STORE with --model NAME"),
        (["serve", "--archive", "a.mar", "--model", "toy"], "error: pass either --archive"),
        (["serve", "--model", "toy"], "error: pass either --archive"),
        (["serve", "--archive", "a.mar", "--batch-rows", "0"], "error: batch-rows must be above 0, not 0"),
        (["serve", "--model-store", "s3://", "--model", "toy"], "error: object store 's3://': name a bucket"),
        (
            ["serve", "--archive", "a.mar", "--management-port", "0"],
            "error: --management-port and --token-file must",
        ),
        (
            ["serve", "--archive", "a.mar", "--management-port", "0", "--token-file", "none"],
            "error: the token file none",
        ),
        (
            ["serve", "--archive", "a.mar", "--workers", "2", "--management-port", "0", "--token-file", "t"],
            "error: --management-port changes the models of one process only",
        ),
    ],
)
def test_serve_rejects_wrong_options(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(message)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explode"],
        ["start", "--port", "x"],
        ["start", "--port", "70000"],
        ["serve", "--archive", "a.mar", "--workers", "-1"],
        ["serve", "--archive", "a.mar", "--workers", "1000"],
    ],
)
def test_invalid_arguments_have_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def serve(*arguments: str, temp: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serving", "serve", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temp)},
    )


def test_serve_runs_until_it_is_interrupted_and_removes_its_files(tmp_path: Path) -> None:
    temp, token = tmp_path / "temp", tmp_path / "token"
    temp.mkdir()
    token.write_text("secret\n")
    archives = [make_archive(tmp_path, name=name, scale=scale) for name, scale in (("toy", 2), ("other", 3))]
    options = [argument for archive in archives for argument in ("--archive", str(archive.path))]
    server = serve(*options, "--management-port", "0", "--token-file", str(token), temp=temp)
    assert server.stdout is not None
    lines = [server.stdout.readline() for _ in range(4)]
    url = lines[0].split(" at ")[1].removesuffix("/predict/toy\n")
    assert lines[0].startswith(f"serving toy {archives[0].digest[:12]} at http://127.0.0.1:")
    curl, address, data, request = shlex.split(lines[1])
    assert (curl, address, data) == ("curl", f"{url}/predict/toy", "-d")
    assert requests.post(address, data=request, timeout=5).json() == {"scale": 2, "y": [2.0, 5.0]}
    assert requests.post(f"{url}/predict/other", json={"x": [1]}, timeout=5).json()["scale"] == 3
    assert list(temp.iterdir())
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=10) == ("", "")
    assert server.returncode == 0
    assert not list(temp.iterdir())


def test_serve_rejects_an_archive_that_fails_its_golden_requests(tmp_path: Path) -> None:
    temp = tmp_path / "temp"
    temp.mkdir()
    server = serve("--archive", str(make_archive(tmp_path, wrong=True).path), temp=temp)
    output, error = server.communicate(timeout=20)
    assert (server.returncode, output) == (2, "")
    assert error.startswith("error: ")
    assert "responses to the golden requests differ" in error
    assert not list(temp.iterdir())


def test_serve_rejects_two_archives_of_one_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(make_archive(tmp_path, scale=scale).path) for scale in (2, 3)]
    assert main(["serve", "--archive", paths[0], "--archive", paths[1]]) == 2
    assert "pass one archive per model" in capsys.readouterr().err
