"""What every step has around it: settings, messages, errors, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.errors import INTERRUPTED, PipelineError, RolledBack, TransientError, UserError
from components import runtime
from components.settings import Settings

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
    ("error", "code"), [(UserError, 2), (RolledBack, 4), (TransientError, 75), (PipelineError, 1)]
)
def test_an_understood_error_ends_with_its_code_and_one_line(
    error: type[PipelineError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, runtime.reported():
        raise error("wrong: 'é'\nsecond line")
    assert ended.value.code == code
    line = capsys.readouterr().out
    assert line.startswith(runtime.ERROR)
    assert line.count("\n") == 1
    assert json.loads(line.removeprefix(runtime.ERROR)) == {
        "exit_code": code,
        "error": "wrong: 'é'\nsecond line",
    }

    def fail() -> int:
        raise error("wrong")

    assert runtime.finish(fail) == code
    assert capsys.readouterr().err == "error: wrong\n"


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), runtime.reported():
        print(1 / 0)
    with pytest.raises(ZeroDivisionError):
        runtime.finish(lambda: 1 // 0)


def test_an_interruption_has_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt() -> int:
        raise KeyboardInterrupt

    assert runtime.finish(interrupt) == INTERRUPTED
    assert "run it again" in capsys.readouterr().err


def test_the_pipelines_lines_are_read() -> None:
    assert runtime.arguments_of("seed=0\nsource=a=b\n") == {"seed": "0", "source": "a=b"}
    assert runtime.arguments_of("") == {}
    with pytest.raises(UserError, match="given twice"):
        runtime.arguments_of("seed=0\nseed=1")


def test_run_ids_differ() -> None:
    assert len({runtime.new_run_id("digits") for _ in range(20)}) == 20
