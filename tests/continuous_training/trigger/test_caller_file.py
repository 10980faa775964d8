"""Callers: tokens, rights, rotation without a restart, and invalid files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from continuous_training.core.errors import UserError
from continuous_training.trigger.caller_file import CallerFile, new_token, read_callers, token_digest
from continuous_training.trigger.rate_limit import RateLimit

FILE = """
callers:
  ci:
    tokens: [{tokens}]
    rights: {{digits: [start, read], "*": [read]}}
"""


def write(path: Path, *tokens: str) -> None:
    path.write_text(FILE.format(tokens=", ".join(f'"{token_digest(token)}"' for token in tokens)))


def test_rights_are_per_workload(tmp_path: Path) -> None:
    token = new_token()
    write(tmp_path / "callers.yaml", token)
    caller = CallerFile(tmp_path / "callers.yaml").find(token)
    assert caller is not None
    allowed = [(right, name) for right in ("read", "start", "cancel") for name in ("digits", "mnist")]
    assert [pair for pair in allowed if caller.may(*pair)] == [
        ("read", "digits"),
        ("read", "mnist"),
        ("start", "digits"),
    ]


def test_tokens_are_rotated_without_a_restart(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "callers.yaml"
    old, new = new_token(), new_token()
    write(path, old)
    callers = CallerFile(path)
    assert (callers.find(old) is not None, callers.find(new)) == (True, None)
    write(path, old, new)
    assert None not in (callers.find(old), callers.find(new))
    write(path, new)
    assert (callers.find(old), callers.find(new) is not None) == (None, True)
    with caplog.at_level(logging.ERROR):
        path.write_text(f"callers: [{new}")
        assert callers.find(new) is not None
    assert "not valid YAML" in caplog.text
    assert new not in caplog.text
    assert old not in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("callers: {ci: {tokens: [secret-token], rights: {}}}", "sha256:HEX"),
        ("callers: {ci: {tokens: [], rights: {digits: [fly]}}}", "no right 'fly'"),
        ("callers: {ci: {tokens: []}}", "rights is missing"),
        ("callers: {'a b': {tokens: [], rights: {}}}", "is not a name"),
        ("- x", "not a JSON object"),
        ("", "not a JSON object"),
    ],
)
def test_an_invalid_file_is_an_error_without_its_secrets(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "callers.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_callers(path)
    assert "secret-token" not in str(error.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        CallerFile(tmp_path / "callers.yaml")


def test_the_rate_limit_counts_each_caller() -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [limit.take("a") for _ in range(3)] == [0, 0, 30]
    assert limit.take("b") == 0
    now[0] = 30
    assert [limit.take("a") for _ in range(2)] == [0, 30]
