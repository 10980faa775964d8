"""Slash commands of Slack: real signatures, replays, and the message about the verdict."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest

from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.events.signatures import verify_slack

from .payloads import SLACK_SECRET, slack_headers
from .slack_service import Slack, slack_service

DOCUMENTED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name"
    b"=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
    b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015"
    b".47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
"""The request of Slack's documentation, which has the signature below at the time 1531420618."""

SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


def test_a_command_starts_a_run_and_its_verdict_is_sent(slack: Slack) -> None:
    message = slack.command("seed=7 share=0.25 new labels <today>")
    assert (message["response_type"], "digits-" in message["text"]) == ("in_channel", True)
    assert "&lt;today&gt;" in message["text"]
    assert slack.runs() == [("slack:roadrunner", "new labels <today>", {"seed": 7, "share": 0.25})]
    slack.process()
    assert slack.messages == []
    run_id = slack.service.target.started[0]
    slack.service.target.verdicts[run_id] = "promoted"
    slack.process()
    slack.process()
    (sent,) = slack.messages
    assert sent["response_type"] == "in_channel"
    assert sent["text"].startswith(f"digits: promoted (run {run_id}, started by slack:roadrunner")


def test_a_replay_starts_nothing(slack: Slack) -> None:
    body = slack.command_body("")
    headers = slack_headers(body)
    first, second = slack.send(body, headers).json(), slack.send(body, headers).json()
    assert ("already requested" in first["text"], "already requested" in second["text"]) == (False, True)
    assert slack.send(body, slack_headers(body, age=301)).status_code == 401
    assert slack.send(body, slack_headers(body, age=-301)).status_code == 401
    assert len(slack.runs()) == 1


@pytest.mark.parametrize("change", ["secret", "body", "time", "missing", "old version"])
def test_a_wrong_signature_is_rejected(slack: Slack, change: str, caplog: pytest.LogCaptureFixture) -> None:
    body = slack.command_body("")
    headers = slack_headers(body, b"another" if change == "secret" else SLACK_SECRET)
    if change == "body":
        body += b"&text=seed%3D1"
    elif change == "time":
        headers["x-slack-request-timestamp"] = str(int(headers["x-slack-request-timestamp"]) - 1)
    elif change == "missing":
        del headers["x-slack-signature"]
    elif change == "old version":
        headers["x-slack-signature"] = headers["x-slack-signature"].removeprefix("v0=")
    with caplog.at_level(logging.DEBUG):
        assert slack.send(body, headers).status_code == 401
    assert slack.runs() == []
    assert SLACK_SECRET.decode() not in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sed=1", "did you mean seed?"),
        ("seed=-1", "seed"),
        ("seed=1 seed=2", "given twice"),
        ("accept=x", "not allowed"),
        ("'x", "quotation mark"),
    ],
)
def test_an_invalid_command_is_answered_to_its_user(slack: Slack, text: str, expected: str) -> None:
    message = slack.command(text)
    assert message["response_type"] == "ephemeral"
    assert expected in message["text"]
    assert slack.runs() == []


def test_only_permitted_users_and_addresses_of_slack_are_accepted(slack: Slack) -> None:
    assert "may not start runs" in slack.command("", user="U0000")["text"]
    body = slack.command_body("").replace(b"127.0.0.1", b"169.254.169.254")
    assert "not an address of Slack" in slack.send(body).json()["text"]
    assert slack.send(b"ssl_check=1&token=x").json() == {}
    assert slack.send(b"\xff").json()["response_type"] == "ephemeral"
    assert slack.send(urlencode({"payload": "[]"}).encode()).json()["response_type"] == "ephemeral"
    assert slack.runs() == []


def test_a_full_queue_is_reported(slack: Slack) -> None:
    for seed in (1, 2):
        slack.command(f"seed={seed}")
    assert "already waits" in slack.command("seed=3")["text"]


def test_a_slow_request_is_answered_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with slack_service(tmp_path, response_seconds=0.1) as slack:
        monkeypatch.setattr(slack.service.target, "check_version", lambda *_: time.sleep(1))
        assert "is being requested" in slack.command("")["text"]
        (message,) = slack.wait_for_messages(1)
        assert "the verdict follows" in message["text"]


def test_the_signature_is_that_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {b"x-slack-request-timestamp": "1531420618", b"x-slack-signature": SIGNATURE}
    with pytest.raises(HttpError, match="not within 300 seconds"):
        verify_slack(headers.get, DOCUMENTED, [SLACK_SECRET])
    monkeypatch.setattr("time.time", lambda: 1531420700.0)
    verify_slack(headers.get, DOCUMENTED, [SLACK_SECRET])
