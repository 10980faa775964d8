"""The command line of a step: settings, messages, errors and exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components import step_cli
from continuous_training.adapters.object_store import FolderStore
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.command import NOTHING_DONE
from continuous_training.core.errors import (
    DiskFullError,
    PipelineError,
    RolloutReverted,
    TransientError,
    UserError,
    as_pipeline_error,
)
from continuous_training.core.exit_codes import DEFECT, INTERRUPTED
from continuous_training.core.messages import ERROR
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings
from tests.fakes import web

ROOT = Path(__file__).parents[2]
REMOTE = {
    "CT_STATE": "/far/state", "MLFLOW_TRACKING_URI": "https://mlflow", "CT_STORE": "s3://bucket",
    "MLFLOW_TRACKING_TOKEN": "t", "CT_KFP_API": "http://kfp", "CT_WEBHOOK": "http://hook",
}  # fmt: skip


def test_without_environment_variables_all_paths_are_below_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings.state == tmp_path / ".state"
    assert settings.registry_access == (f"sqlite:///{tmp_path}/.state/mlflow/mlflow.db", "", "", "")
    assert settings.store == str(tmp_path / ".state/store")
    assert (settings.kfp_api, settings.notifications.webhook) == ("", "")


def test_environment_variables_set_the_locations() -> None:
    settings = Settings.from_environment(REMOTE)
    assert settings.registry_access == ("https://mlflow", "", "", "t")
    assert (settings.state, settings.store) == (Path("/far/state"), "s3://bucket")
    assert (settings.kfp_api, settings.notifications.webhook) == ("http://kfp", "http://hook")


def test_an_explicit_state_directory_contains_all_data(tmp_path: Path) -> None:
    settings = Settings.from_environment(REMOTE, tmp_path)
    assert settings.registry == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert (settings.store, settings.kfp_api) == (str(tmp_path / "store"), "")
    assert settings.notifications.webhook == "http://hook"


@pytest.mark.parametrize(
    ("error", "code"), [(UserError, 2), (RolloutReverted, 4), (TransientError, 75), (PipelineError, 1)]
)
def test_a_pipeline_error_ends_with_its_exit_code_and_one_line(
    error: type[PipelineError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised, step_cli.reported():
        raise error("wrong: 'é'\nsecond line")
    assert raised.value.code == code
    line = capsys.readouterr().err
    assert line.startswith(step_cli.ERROR)
    assert line.count("\n") == 1
    assert json.loads(line.removeprefix(step_cli.ERROR)) == {
        "exit_code": code,
        "error": "wrong: 'é'\nsecond line",
    }

    def fail() -> int:
        raise error("wrong")

    assert step_cli.finish(fail) == code
    assert capsys.readouterr().err == "error: wrong\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (RolloutReverted("the responses differ"), 4, "the responses differ"),
        (ZeroDivisionError("division by zero"), 1, "unexpected error: ZeroDivisionError: division by zero"),
    ],
)
def test_a_failure_in_a_pipeline_is_recorded(
    error: Exception, code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"CT_RUN": "run-1", "CT_WORKLOAD": "fence", "CT_STORE": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises((SystemExit, ZeroDivisionError)), step_cli.reported("train"):
        raise error
    history = RunHistory(FolderStore(tmp_path), "fence")
    assert history.failure("run-1") == StepFailure("run-1", "train", code, message)
    assert history.failure("run-2") is None


@pytest.mark.parametrize(
    ("verdict", "messages"), [("failed", 1), ("reverted", 1), ("promoted", 0), (None, 0)]
)
def test_a_result_that_replaces_a_failure_is_announced(
    verdict: str | None, messages: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = RunHistory(FolderStore(tmp_path), "fence")
    if verdict:
        history.write_run(RunRecord(run="run-1", verdict=verdict))
    with web(lambda *_: (200, b"ok")) as server:
        environment = {"CT_RUN": "run-1", "CT_WORKLOAD": "fence", "CT_STORE": str(tmp_path)}
        for name, value in {**environment, "CT_WEBHOOK": server.url}.items():
            monkeypatch.setenv(name, value)
        step_cli.run_in_pipeline("prep-data", lambda _: None)
        unannounced = list(server.requests)
        promoted = RunRecord(run="run-1", verdict="promoted", reasons=("it is better",))
        step_cli.run_in_pipeline("deploy-serving", lambda _: history.write_run(promoted))
    # The first step replaces no record. A record that states a success is announced by notify.
    assert [json.loads(body)["text"] for _, _, body in server.requests[len(unannounced) :]] == (
        ["fence: promoted. it is better"] * messages
    )
    assert unannounced == []


def test_a_failure_that_cannot_be_recorded_keeps_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CT_RUN", "run-1")
    monkeypatch.setenv("CT_WORKLOAD", "fence")
    monkeypatch.setenv("CT_STORE", str(tmp_path / "file" / "store"))
    with pytest.raises(SystemExit) as raised, step_cli.reported("train"):
        raise TransientError("the registry is down")
    assert raised.value.code == 75
    assert "the failure was not recorded in the store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (TransientError("the registry is down"), 3),
        (OSError(errno.ENOSPC, "no space", "rows.parquet"), 1),
        (UserError("a column is missing"), 1),
    ],
)
def test_only_a_temporary_failure_is_retried(
    error: Exception, calls: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CT_RETRIES", "2")
    monkeypatch.setenv("CT_RETRY_BACKOFF", "0.01")
    executed = []

    def fail(settings: Settings) -> None:
        executed.append(settings.retries)
        raise error

    with pytest.raises(SystemExit) as raised:
        step_cli.run_in_pipeline("train", fail)
    assert raised.value.code == as_pipeline_error(error).exit_code  # type: ignore[arg-type]
    assert len(executed) == calls
    output = capsys.readouterr().err
    assert ("the registry is down; retry 2 of 2 in 0.02 s" in output) == (calls == 3)


def test_a_step_succeeds_after_a_temporary_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CT_RETRIES", "1")
    monkeypatch.setenv("CT_RETRY_BACKOFF", "0")
    failures = iter([TransientError("the source is away")])

    def execute(_: Settings) -> str:
        for failure in failures:
            raise failure
        return "done"

    assert step_cli.run_in_pipeline("train", execute) == "done"


@pytest.mark.parametrize("text", ["two", "-1", "inf"])
def test_an_invalid_number_of_retries_is_rejected(text: str) -> None:
    with pytest.raises(UserError, match=f"CT_RETRIES is '{text}'"):
        Settings.from_environment({"CT_RETRIES": text})


def test_an_unexpected_error_prints_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), step_cli.reported():
        print(1 / 0)
    assert step_cli.finish(lambda: 1 // 0) == DEFECT
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_an_unexpected_error_is_reported_with_the_line_of_the_workload(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    module = tmp_path / "workloads" / "toy" / "workload.py"
    module.parent.mkdir(parents=True)
    module.write_text("def train():\n    import nosuchmodule\n")
    namespace: dict[str, Callable[[], None]] = {}
    exec(compile(module.read_text(), str(module), "exec"), namespace)  # noqa: S102
    with pytest.raises(ModuleNotFoundError), step_cli.reported():
        namespace["train"]()
    line = capsys.readouterr().err.partition(ERROR)[2].splitlines()[0]
    assert json.loads(line) == {
        "exit_code": 1,
        "error": "unexpected error: ModuleNotFoundError: No module named 'nosuchmodule' "
        "(workloads/toy/workload.py, line 2, in train); the log contains the traceback",
    }


def test_a_full_disk_is_transient_and_other_os_errors_are_user_errors(tmp_path: Path) -> None:
    transient = as_pipeline_error(OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(transient, TransientError)
    assert "a disk of this machine: no space left on the device; free some space" in str(transient)
    named = as_pipeline_error(OSError(errno.EFBIG, "File too large", "rows.parquet"))
    assert isinstance(named, DiskFullError)
    assert str(named).startswith("rows.parquet: no space left")
    user_error = as_pipeline_error(NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/runs"))
    assert isinstance(user_error, UserError)
    assert str(user_error) == "/dev/null/runs: Not a directory"
    with pytest.raises(OSError, match="no file"):
        as_pipeline_error(OSError("no file"))


COMMANDS = [
    ("pipelines.run", "--workload", "diabetes"),
    ("pipelines.demo", "--workload", "diabetes"),
    ("pipelines.rollback", "--workload", "diabetes"),
    ("components.deploy_serving", "--archive", "nowhere"),
    ("serving", "start"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("state", "message"),
    [("", "the value is empty: name a directory"), ("/dev/null", "/dev/null")],
    ids=["empty", "device"],
)
def test_an_invalid_state_directory_is_reported_in_one_line(
    command: tuple[str, ...], state: str, message: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", *command, "--state", state],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("command", ["pipelines.run", "pipelines.demo"])
def test_ctrl_c_during_imports_prints_one_line(command: str, tmp_path: Path) -> None:
    # `rich` is imported late: its import sends the signal.
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    process = subprocess.run(
        [sys.executable, "-m", command, "--workload", "digits"], capture_output=True, text=True, check=False,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert process.returncode == -signal.SIGINT
    assert process.stderr == f"{NOTHING_DONE}\n"


def test_an_interruption_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert step_cli.finish(interrupt) == INTERRUPTED
    assert capsys.readouterr().err == f"{step_cli.INTERRUPTION}\n"


def test_arguments_of_parses_the_lines_of_the_pipeline() -> None:
    assert step_cli.arguments_of("seed=0\nsource=a=b\n") == {"seed": "0", "source": "a=b"}
    assert step_cli.arguments_of("") == {}
    with pytest.raises(UserError, match="given twice"):
        step_cli.arguments_of("seed=0\nseed=1")


def test_run_ids_differ() -> None:
    assert len({new_run_id("digits") for _ in range(20)}) == 20
