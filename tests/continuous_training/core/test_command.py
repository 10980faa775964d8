"""The common wrapper of commands: exit codes, --json, Ctrl-C and unexpected errors."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable

import pytest

from continuous_training.core import command
from continuous_training.core.command import NOTHING_DONE, ItemProgress, begin_start_up, run_command
from continuous_training.core.errors import TransientError, UserError
from continuous_training.core.exit_codes import (
    DEFECT,
    DONE,
    INTERRUPTED,
    REJECTED,
    TRANSIENT,
    USER_ERROR,
    exit_code_of,
)


def raising(error: BaseException) -> Callable[[], int]:
    """Return the work of a command that fails with an error."""

    def work() -> int:
        raise error

    return work


def test_the_exit_code_of_the_work_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda: DONE, NOTHING_DONE, json_output=True) == DONE
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("wrong"), USER_ERROR),
        (TransientError("wrong"), TRANSIENT),
        (FileNotFoundError(errno.ENOENT, "wrong", "file"), USER_ERROR),
    ],
)
def test_an_expected_error_is_one_line(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error), NOTHING_DONE) == code
    output, message = capsys.readouterr()
    assert output == ""
    assert message.startswith("error: ")
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("wrong"), OSError("names no file")], ids=lambda error: type(error).__name__
)
def test_an_unexpected_error_is_reported_with_its_traceback(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(error), NOTHING_DONE, json_output=True) == DEFECT
    output, message = capsys.readouterr()
    assert json.loads(output)["verdict"] == "failed"
    assert message.startswith("Traceback")


def test_json_output_after_an_error_has_verdict_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"workload": "digits"}
    run_command(raising(UserError("wrong")), NOTHING_DONE, json_output=True, fields=fields)
    expected = {"workload": "digits", "verdict": "failed", "reasons": ["wrong"]}
    assert json.loads(capsys.readouterr().out) == expected


def test_an_interrupt_reports_which_items_are_finished(capsys: pytest.CaptureFixture[str]) -> None:
    progress = ItemProgress("uploaded")

    def work() -> int:
        progress.start(["digits", "iris", "mnist"])
        progress.finish("digits")
        raise KeyboardInterrupt

    assert run_command(work, progress.interruption, json_output=True) == INTERRUPTED
    output, message = capsys.readouterr()
    assert json.loads(output)["verdict"] == "interrupted"
    assert "uploaded: digits; not uploaded: iris, mnist" in message


def test_an_interrupt_before_the_first_item() -> None:
    progress = ItemProgress("compiled")
    progress.start(["digits"])
    assert progress.interruption() == "interrupted: nothing was compiled yet"


def test_the_hook_for_the_start_up_is_removed_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "_start_up", command._StartUp())
    previous = sys.excepthook
    begin_start_up()
    try:
        assert sys.excepthook != previous
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        assert capsys.readouterr().err == f"{NOTHING_DONE}\n"
        hooks = []
        run_command(lambda: hooks.append(sys.excepthook) or DONE, NOTHING_DONE)
        assert hooks == [previous]
    finally:
        sys.excepthook = previous


def test_only_a_rejection_has_its_own_exit_code() -> None:
    codes = [exit_code_of(verdict) for verdict in ("promoted", "unchanged", "rejected")]
    assert codes == [DONE, DONE, REJECTED]
