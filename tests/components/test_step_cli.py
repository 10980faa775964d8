"""What every step has around it: settings, messages, errors, exit codes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components import step_cli
from continuous_training.core.command import NOTHING_DONE
from continuous_training.core.errors import (
    PipelineError,
    RolloutReverted,
    TransientError,
    UserError,
    as_pipeline_error,
)
from continuous_training.core.exit_codes import DEFECT, INTERRUPTED
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings

ROOT = Path(__file__).parents[2]
FAR = {
    "CT_STATE": "/far/state", "MLFLOW_TRACKING_URI": "https://mlflow", "CT_STORE": "s3://bucket",
    "MLFLOW_TRACKING_TOKEN": "t", "CT_KFP_API": "http://kfp", "CT_WEBHOOK": "http://hook",
}  # fmt: skip


def test_without_an_environment_all_is_below_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_environment({})
    assert settings.state == tmp_path / ".state"
    assert settings.registry_access == (f"sqlite:///{tmp_path}/.state/mlflow/mlflow.db", "", "", "")
    assert settings.store == str(tmp_path / ".state/store")
    assert (settings.kfp_api, settings.webhook) == ("", "")


def test_the_environment_says_where_things_are() -> None:
    settings = Settings.from_environment(FAR)
    assert settings.registry_access == ("https://mlflow", "", "", "t")
    assert (settings.state, settings.store) == (Path("/far/state"), "s3://bucket")
    assert (settings.kfp_api, settings.webhook) == ("http://kfp", "http://hook")


def test_a_folder_that_is_asked_for_holds_everything(tmp_path: Path) -> None:
    settings = Settings.from_environment(FAR, tmp_path)
    assert settings.registry == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert (settings.store, settings.kfp_api) == (str(tmp_path / "store"), "")
    assert settings.webhook == "http://hook"


@pytest.mark.parametrize(
    ("error", "code"), [(UserError, 2), (RolloutReverted, 4), (TransientError, 75), (PipelineError, 1)]
)
def test_an_understood_error_ends_with_its_code_and_one_line(
    error: type[PipelineError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, step_cli.reported():
        raise error("wrong: 'é'\nsecond line")
    assert ended.value.code == code
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


def test_a_defect_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), step_cli.reported():
        print(1 / 0)
    assert step_cli.finish(lambda: 1 // 0) == DEFECT
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_full_disk_may_pass_and_other_refusals_are_the_users(tmp_path: Path) -> None:
    full = as_pipeline_error(OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(full, TransientError)
    assert "free some space" in str(full)
    refused = as_pipeline_error(NotADirectoryError(errno.ENOTDIR, "Not a directory", "/dev/null/runs"))
    assert isinstance(refused, UserError)
    assert str(refused) == "/dev/null/runs: Not a directory"
    with pytest.raises(OSError, match="no file"):
        as_pipeline_error(OSError("no file"))


VERBS = [
    ("pipelines.run", "--workload", "diabetes"),
    ("pipelines.demo", "--workload", "diabetes"),
    ("pipelines.rollback", "--workload", "diabetes"),
    ("components.deploy_serving", "--archive", "nowhere"),
    ("serving", "start"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
@pytest.mark.parametrize(
    ("state", "words"),
    [("", "the value is empty: name a directory"), ("/dev/null", "/dev/null")],
    ids=["empty", "device"],
)
def test_a_state_folder_that_cannot_be_is_told_in_a_line(
    verb: tuple[str, ...], state: str, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *verb, "--state", state], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["pipelines.run", "pipelines.demo"])
def test_ctrl_c_during_the_imports_is_a_line(verb: str, tmp_path: Path) -> None:
    # What is imported late: its import is where the signal comes.
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", verb, "--workload", "digits"], capture_output=True, text=True, check=False,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGINT
    assert done.stderr == f"{NOTHING_DONE}\n"


def test_an_interruption_has_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert step_cli.finish(interrupt) == INTERRUPTED
    assert capsys.readouterr().err == f"{step_cli.INTERRUPTION}\n"


def test_the_pipelines_lines_are_read() -> None:
    assert step_cli.arguments_of("seed=0\nsource=a=b\n") == {"seed": "0", "source": "a=b"}
    assert step_cli.arguments_of("") == {}
    with pytest.raises(UserError, match="given twice"):
        step_cli.arguments_of("seed=0\nseed=1")


def test_run_ids_differ() -> None:
    assert len({new_run_id("digits") for _ in range(20)}) == 20
