"""The webhook: told what a run came to, and no run fails because nobody listens."""

from __future__ import annotations

import json

import pytest

from continuous_training.adapters.notifications import Notifier
from tests.fakes import web


def test_the_webhook_gets_text_and_record_as_json() -> None:
    with web(lambda *_: (200, b"ok")) as hook:
        assert Notifier(f"{hook.url}/hook").send("digits: promoted, 좋음", {"verdict": "promoted"})
    ((method, path, body),) = hook.requests
    assert (method, path) == ("POST", "/hook")
    assert json.loads(body) == {"text": "digits: promoted, 좋음", "run": {"verdict": "promoted"}}


def test_without_a_webhook_nobody_is_told() -> None:
    assert not Notifier().send("text", {})


def test_a_webhook_that_refuses_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with web(lambda *_: (404, b"no")) as hook:
        assert not Notifier(hook.url).send("text", {})
    assert "warning: the webhook answers 404" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no address", "http://", "mailto:a@b"])
def test_a_webhook_that_is_not_there_is_a_warning(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Notifier(url).send("text", {})
    assert "warning: the webhook cannot be reached" in capsys.readouterr().err
