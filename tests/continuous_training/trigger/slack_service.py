"""A trigger service that is connected to a Slack app."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import requests

from continuous_training.core.json_object import Json
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
    approvers: [UAPPROVER]
    operators: [UOPERATOR]
    response_url: {url}/
  slack-mnist:
    type: slack
    workload: mnist
    secret_file: {folder}/slack
    approvers: UMNIST
    response_url: {url}/
  another-app:
    type: slack
    workload: iris
    secret_file: {folder}/slack-of-another-app
    approvers: [UAPPROVER]
    response_url: {url}/
"""


@dataclass
class Slack:
    """The service, and the messages that were sent to Slack."""

    service: Service
    url: str
    site: Web

    @property
    def messages(self) -> list[Json]:
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

    def answer(self, body: bytes, headers: dict[str, str] | None = None) -> Json:
        """Send the request of a click, and return the message that is sent to its address."""
        count = len(self.messages)
        response = self.send(body, headers)
        assert (response.status_code, response.json()) == (200, {})
        return self.wait_for_messages(count + 1)[-1]

    def wait_for_messages(self, count: int) -> list[Json]:
        """Return the messages when there are so many: buttons are processed after the response."""
        deadline = time.monotonic() + 30
        while len(self.messages) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(self.messages) == count
        return self.messages

    def process(self) -> None:
        self.service.dispatcher.process()
        for task in self.service.dispatcher.tasks:
            task()

    def runs(self) -> list[tuple[str, str, dict[str, object]]]:
        runs = self.service.dispatcher.queue.unfinished().get("digits", [])
        return [(run.trigger.caller, run.trigger.reason, dict(run.parameters)) for run in runs]


@contextmanager
def slack_service(folder: Path, response_seconds: float = 30) -> Iterator[Slack]:
    """Run the service. `folder` gets the secrets of the apps."""
    (folder / "slack").write_bytes(SLACK_SECRET)
    (folder / "slack-of-another-app").write_bytes(b"secret of another app")
    with web(lambda *_: (200, b"ok")) as site:
        events = EVENTS.format(folder=folder, url=site.url)
        with running_service(folder, events, response_seconds) as service:
            yield Slack(service, site.url, site)
