"""Buttons of Slack: who may click them, what they do, repeated clicks, and the message afterwards."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest

from continuous_training.adapters.notifications.notification import run_notification
from continuous_training.adapters.notifications.webhook_body import webhook_body
from continuous_training.artifacts.run_record import RecordedVersion, RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.decisions import RollbackRequest

from .payloads import slack_click, slack_headers
from .slack_service import Slack

APPROVER, OPERATOR = "UAPPROVER", "UOPERATOR"
RECORDS = {
    "approve": RunRecord(run="run-1", verdict="waiting", version="3"),
    "rollback": RunRecord(run="run-1", verdict="promoted", version="3", champion=RecordedVersion("2")),
    "retrain": RunRecord(run="run-1", verdict="failed", reasons=("train: no <rows>",)),
}
RECORDS["reject"] = RECORDS["approve"]
USERS = {"approve": APPROVER, "reject": APPROVER, "rollback": OPERATOR, "retrain": "U2CERLKJA"}


def notification(action: str, workload: str = "digits") -> Json:
    """Return the message with this button, as notify sends it."""
    body = webhook_body(run_notification(workload, RECORDS[action]), "slack-buttons")
    message: Json = json.loads(body.content)
    return message


def click(slack: Slack, action: str, user: str = "", workload: str = "digits") -> bytes:
    """Return the request of a click by a permitted user."""
    url = f"{slack.url}/actions/1"
    return slack_click(notification(action, workload), action, url, user or USERS[action], "ana")


def payload_with(body: bytes, **changes: object) -> bytes:
    """Return the request with other fields in its payload."""
    payload = json.loads(parse_qs(body.decode())["payload"][0])
    return urlencode({"payload": json.dumps({**payload, **changes})}).encode()


def decided(slack: Slack) -> list[Any]:
    return [*slack.service.decisions.reviews, *slack.service.decisions.rollbacks]


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_the_version_of_a_run_is_approved_or_rejected_once(slack: Slack, action: str) -> None:
    message = slack.answer(click(slack, action))
    person = RunTrigger("slack:ana", "button in Slack")
    assert decided(slack) == [(action, "digits", "run-1", person)]

    original = notification(action)["blocks"]
    assert [block["type"] for block in original] == ["section", "context", "actions"]
    assert message["replace_original"] is True
    assert message["blocks"][:2] == original[:2], "only the buttons are removed"
    verdict = {"approve": "promoted", "reject": "rejected"}[action]
    text = f"digits: {verdict}. {action} by slack:ana"
    assert message["blocks"][2:] == [{"type": "context", "elements": [{"type": "mrkdwn", "text": text}]}]
    assert message["text"] == text

    assert "nothing to do" in slack.answer(click(slack, action))["text"]
    assert len(decided(slack)) == 1
    other = {"approve": "reject", "reject": "approve"}[action]
    assert slack.answer(click(slack, other))["response_type"] == "ephemeral"
    assert len(decided(slack)) == 1


def test_a_rollback_starts_from_the_version_of_the_message(slack: Slack) -> None:
    first, second = (slack.answer(click(slack, "rollback")) for _ in range(2))
    assert first["replace_original"] is True
    reason = "button in Slack, clicked by slack:ana"
    assert first["text"] == f"digits: rolled back to version 2. {reason}"
    person = RunTrigger("slack:ana", reason)
    assert decided(slack) == [("digits", RollbackRequest(champion="3"), person)]
    assert (second["response_type"], second["replace_original"]) == ("ephemeral", False)
    assert "the champion is version 2" in second["text"]


def test_the_button_of_a_failed_run_starts_one_run(slack: Slack) -> None:
    first, second = (slack.answer(click(slack, "retrain"))["text"] for _ in range(2))
    assert ("already requested" in first, "already requested" in second) == (False, True)
    assert slack.runs() == [("slack:ana", "button in Slack", {})]


def test_a_button_without_a_run_starts_a_run(slack: Slack) -> None:
    """A button of another message, whose value a person chose."""
    button = {"action_id": "retrain", "block_id": "=qXel", "value": "digits", "type": "button"}
    body = payload_with(click(slack, "retrain"), actions=[button], message={})
    assert "digits-" in slack.answer(body)["text"]
    assert "already requested" in slack.answer(body)["text"]
    for actions in ([{"action_id": "link"}], []):
        response = slack.send(payload_with(body, actions=actions))
        assert (response.status_code, response.json()) == (200, {})
    assert len(slack.runs()) == 1


@pytest.mark.parametrize("action", ["approve", "reject", "rollback"])
@pytest.mark.parametrize("user", ["U2CERLKJA", APPROVER, OPERATOR, "UMNIST"])
def test_a_decision_needs_a_right_of_its_own(slack: Slack, action: str, user: str) -> None:
    message = slack.answer(click(slack, action, user))
    is_permitted = user == USERS[action]
    assert bool(decided(slack)) is is_permitted
    assert ("you may not use this button" in message["text"]) is not is_permitted
    assert message["replace_original"] is is_permitted


def test_the_source_of_the_workload_decides_who_may_click(slack: Slack) -> None:
    clicks = ((APPROVER, "mnist"), ("UMNIST", "mnist"), (APPROVER, "iris"), (APPROVER, "none"))
    texts = [
        slack.answer(click(slack, "approve", *user_and_workload))["text"] for user_and_workload in clicks
    ]
    assert "you may not use this button for mnist" in texts[0]
    assert "the buttons of iris are not connected" in texts[2], "its source belongs to another app"
    assert "the buttons of none are not connected" in texts[3]
    assert [entry[:3] for entry in decided(slack)] == [("approve", "mnist", "run-1")]
    # No list of operators: no user may roll back.
    assert "you may not use" in slack.answer(click(slack, "rollback", "UMNIST", "mnist"))["text"]


@pytest.mark.parametrize("change", ["secret", "body", "old", "other app"])
def test_a_wrong_signature_decides_nothing(slack: Slack, change: str) -> None:
    body = click(slack, "approve")
    secrets = {"secret": b"another", "other app": b"secret of another app"}
    headers = slack_headers(body, **({"secret": secrets[change]} if change in secrets else {}))
    if change == "body":
        body = click(slack, "reject")
    elif change == "old":
        headers = slack_headers(body, age=301)
    assert slack.send(body, headers).status_code == 401
    time.sleep(0.1)
    assert (decided(slack), slack.messages) == ([], [])


def test_a_replay_decides_nothing_again(slack: Slack) -> None:
    body = click(slack, "rollback")
    headers = slack_headers(body)
    for _ in range(2):
        slack.answer(body, headers)
    assert len(decided(slack)) == 1


def test_the_answer_does_not_wait_for_the_rollout(slack: Slack) -> None:
    decisions = slack.service.decisions
    decisions.permitted.clear()
    started = time.monotonic()
    assert slack.send(click(slack, "approve")).status_code == 200
    assert time.monotonic() - started < 2
    message = slack.answer(click(slack, "approve"))
    assert "a decision about digits is in progress" in message["text"]
    decisions.permitted.set()
    assert "promoted" in slack.wait_for_messages(2)[1]["text"]
    assert len(decided(slack)) == 1


@pytest.mark.parametrize("status", [409, 503])
def test_a_decision_that_fails_keeps_the_buttons(slack: Slack, status: int) -> None:
    slack.service.decisions.failure = HttpError(status, "the version <3> no longer waits")
    message = slack.answer(click(slack, "approve"))
    assert (message["response_type"], message["replace_original"]) == ("ephemeral", False)
    assert "the version &lt;3&gt; no longer waits" in message["text"]
    slack.service.decisions.failure = None
    assert slack.answer(click(slack, "approve"))["replace_original"] is True


def test_an_unexpected_error_is_reported_to_the_user(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack.service.decisions, "review", lambda *_: 1 / 0)
    assert "see the log" in slack.answer(click(slack, "approve"))["text"]


@pytest.mark.parametrize(
    "value", ["", "3", "{}", '{"workload": 1, "run": 2}', '{"workload": "digits", "run": "r", "version": ""}']
)
def test_a_value_without_a_version_rolls_nothing_back(slack: Slack, value: str) -> None:
    button = {"action_id": "rollback", "value": value, "type": "button"}
    message = slack.answer(payload_with(click(slack, "rollback"), actions=[button]))
    assert "does not name" in message["text"]
    assert decided(slack) == []


def test_other_buttons_and_messages_without_blocks_stay(slack: Slack) -> None:
    """A person added buttons to the message, or Slack sends no message."""
    other = {"type": "button", "action_id": "link", "url": "https://example.com"}
    body = click(slack, "approve")
    payload = json.loads(parse_qs(body.decode())["payload"][0])
    payload["message"]["blocks"][2]["elements"].append(other)
    message = slack.answer(payload_with(body, message=payload["message"]))
    assert message["blocks"][2] == {"type": "actions", "elements": [other]}
    message = slack.answer(payload_with(body, message={}))
    assert (message["replace_original"], message["response_type"]) == (False, "in_channel")


def test_only_addresses_of_slack_get_messages(slack: Slack) -> None:
    body = payload_with(click(slack, "approve"), response_url="http://169.254.169.254/latest")
    assert "not an address of Slack" in slack.send(body).json()["text"]
    slack.send(payload_with(click(slack, "approve"), response_url=""))
    deadline = time.monotonic() + 30
    while not decided(slack) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(decided(slack)) == 1
    assert slack.messages == []
