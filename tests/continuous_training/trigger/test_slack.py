"""Slash commands and buttons of Slack: real signatures, replays, and the message about the verdict."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import requests

from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.events.signatures import verify_slack
from tests.fakes import Web, web

from .payloads import SLACK_SECRET, slack_headers
from .running_service import Service, running_service

EVENTS = """
events:
  slack:
    type: slack
    workload: digits
    secret_file: {folder}/slack
    users: [U2CERLKJA]
    response_url: {url}/
"""
DOCUMENTED = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name"
    b"=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
    b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015"
    b".47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
"""The request of Slack's documentation, which has the signature below at the time 1531420618."""

SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"


@dataclass
class Slack:
    """The service, and the messages that were sent to Slack."""

    service: Service
    url: str
    site: Web

    @property
    def messages(self) -> list[dict[str, str]]:
        return [json.loads(body) for _, _, body in self.site.requests]

    def send(self, body: bytes, headers: dict[str, str] | None = None) -> requests.Response:
        headers = slack_headers(body) if headers is None else headers
        return requests.post(f"{self.service.url}/events/slack", body, headers=headers, timeout=30)

    def command(self, text: str, user: str = "U2CERLKJA") -> dict[str, str]:
        response = self.send(self.command_body(text, user))
        assert response.status_code == 200
        message: dict[str, str] = response.json()
        return message

    def command_body(self, text: str, user: str = "U2CERLKJA") -> bytes:
        form = {
            "token": "deprecated",
            "team_id": "T1DC2JH3J",
            "channel_name": "models",
            "user_id": user,
            "user_name": "roadrunner",
            "command": "/retrain",
            "text": text,
            "response_url": f"{self.url}/commands/1",
            "trigger_id": f"398738663015.47445629121.{time.monotonic_ns()}",
        }
        return urlencode(form).encode()

    def process(self) -> None:
        self.service.dispatcher.process()
        for task in self.service.dispatcher.tasks:
            task()

    def runs(self) -> list[tuple[str, str, dict[str, object]]]:
        runs = self.service.dispatcher.queue.unfinished().get("digits", [])
        return [(run.trigger.caller, run.trigger.reason, dict(run.parameters)) for run in runs]


@pytest.fixture
def slack(tmp_path: Path) -> Iterator[Slack]:
    (tmp_path / "slack").write_bytes(SLACK_SECRET)
    with web(lambda *_: (200, b"ok")) as site, ExitStack() as stack:
        events = EVENTS.format(folder=tmp_path, url=site.url)
        yield Slack(stack.enter_context(running_service(tmp_path, events)), site.url, site)


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


def test_a_button_starts_a_run(slack: Slack) -> None:
    payload = {
        "type": "block_actions",
        "user": {"id": "U2CERLKJA", "username": "roadrunner", "name": "roadrunner", "team_id": "T1DC2JH3J"},
        "container": {"type": "message", "message_ts": "1548261231.000200"},
        "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
        "response_url": f"{slack.url}/actions/1",
        "actions": [{"action_id": "retrain", "block_id": "=qXel", "value": "digits", "type": "button"}],
    }
    body = urlencode({"payload": json.dumps(payload)}).encode()
    assert "digits-" in slack.send(body).json()["text"]
    assert slack.runs() == [("slack:roadrunner", "button in Slack", {})]
    assert "already requested" in slack.send(body).json()["text"]
    other = urlencode({"payload": json.dumps({**payload, "actions": [{"action_id": "link"}]})}).encode()
    assert (slack.send(other).status_code, slack.send(other).json()) == (200, {})
    assert len(slack.runs()) == 1


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
    (tmp_path / "slack").write_bytes(SLACK_SECRET)
    with web(lambda *_: (200, b"ok")) as site:
        events = EVENTS.format(folder=tmp_path, url=site.url)
        with running_service(tmp_path, events, response_seconds=0.1) as service:
            monkeypatch.setattr(service.target, "check_version", lambda *_: time.sleep(1))
            slack = Slack(service, site.url, site)
            assert "is being requested" in slack.command("")["text"]
            deadline = time.monotonic() + 30
            while not site.requests and time.monotonic() < deadline:
                time.sleep(0.05)
            assert "the verdict follows" in slack.messages[0]["text"]


def test_the_signature_is_that_of_the_documentation(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {b"x-slack-request-timestamp": "1531420618", b"x-slack-signature": SIGNATURE}
    with pytest.raises(HttpError, match="not within 300 seconds"):
        verify_slack(headers.get, DOCUMENTED, [SLACK_SECRET])
    monkeypatch.setattr("time.time", lambda: 1531420700.0)
    verify_slack(headers.get, DOCUMENTED, [SLACK_SECRET])
