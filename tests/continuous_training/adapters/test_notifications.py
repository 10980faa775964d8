"""The webhook receives the result of a run, and an error of the webhook is only a warning."""

from __future__ import annotations

import json

import pytest

from continuous_training.adapters.webhook import Notifier
from tests.fakes import web


def test_the_webhook_receives_text_and_record_as_json() -> None:
    with web(lambda *_: (200, b"ok")) as hook:
        assert Notifier(f"{hook.url}/hook").send("digits: promoted, 좋음", {"verdict": "promoted"})
    ((method, path, body),) = hook.requests
    assert (method, path) == ("POST", "/hook")
    assert json.loads(body) == {"text": "digits: promoted, 좋음", "run": {"verdict": "promoted"}}


def test_without_a_webhook_no_notification_is_sent() -> None:
    assert not Notifier().send("text", {})


def test_an_error_status_of_the_webhook_logs_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with web(lambda *_: (404, b"no")) as hook:
        assert not Notifier(hook.url).send("text", {})
    assert "warning: the webhook answers 404" in capsys.readouterr().err


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_webhook_is_not_followed(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        web(lambda *_: (200, b"ok")) as other,
        web(lambda *_: (status, b""), {"Location": other.url}) as hook,
    ):
        assert not Notifier(hook.url).send("text", {})
    assert other.requests == []
    assert f"the webhook answers {status}, a redirect, which is not followed" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no address", "http://", "mailto:a@b"])
def test_an_unreachable_webhook_logs_a_warning(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not Notifier(url).send("text", {})
    assert "warning: the webhook cannot be reached" in capsys.readouterr().err
