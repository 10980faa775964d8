"""Notifications by webhook and e-mail: their content, retries, and errors, which are only warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from continuous_training.adapters.notifications.notification import Notification, run_notification
from continuous_training.adapters.notifications.notifier import MAIL, WEBHOOK, Notifier
from continuous_training.adapters.notifications.slack_buttons import RETRAIN_VERDICTS
from continuous_training.artifacts.approval import Approval
from continuous_training.artifacts.evaluation import TrackingRun
from continuous_training.artifacts.measurements import Interval
from continuous_training.artifacts.run_record import RecordedVersion, RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.notification_settings import MailServer, NotificationSettings
from tests.fakes import web
from tests.smtp_server import smtp_server

RECORD = RunRecord(
    run="run-1",
    verdict="promoted",
    reasons=("accuracy is higher than the champion's by <1 % & more, 좋음",),
    ended="2026-11-29T12:00:00+00:00",
    metrics={"accuracy": Interval(0.962, 0.94, 0.98), "log_loss": Interval(0.1, 0.05, 0.2)},
    champion=RecordedVersion("12"),
    difference=Interval(0.0125, 0.001, 0.024),
    registry=TrackingRun("abc", "http://registry/#/experiments/1/runs/abc"),
    version="13",
)
NOTIFICATION = run_notification("digits", RECORD)


def notifier(url: str = "", form: str = "json", mail: MailServer | None = None) -> Notifier:
    return Notifier(NotificationSettings(webhook=url, format=form, mail=mail), backoff=0.01)


def posted(form: str, notification: Notification = NOTIFICATION) -> Any:
    """Return the JSON body of the request in this format."""
    with web(lambda *_: (200, b"ok")) as hook:
        assert notifier(f"{hook.url}/hook", form).send(notification) == {WEBHOOK}
    ((method, path, body),) = hook.requests
    assert (method, path) == ("POST", "/hook")
    return json.loads(body)


def test_the_details_contain_metric_difference_and_version() -> None:
    assert NOTIFICATION.details == (
        ("accuracy", "0.962 (0.94 to 0.98)"),
        ("difference to champion 12", "+0.0125 (+0.001 to +0.024)"),
        ("version", "13"),
    )
    failed = RunRecord(run="run-2", verdict="failed", reasons=("train: no rows (exit code 2)",))
    command = "python -m pipelines.logs run-2"
    assert run_notification("digits", failed, command).details == (("more", command),)


@pytest.mark.parametrize(("state", "expected"), [("waiting", True), ("approved", False)])
def test_the_details_of_a_version_that_waits_contain_the_command(state: str, expected: bool) -> None:
    approval = Approval("run-1", "2026-11-29T12:00:00Z", "2026-12-06T12:00:00Z", state=state)
    command = "python -m pipelines.approve --workload digits --state /data/state"
    details = run_notification("digits", replace(RECORD, approval=approval), approve=command).details
    assert (("approve", command) in details) is expected


def test_json_contains_the_text_and_the_record() -> None:
    assert posted("json") == {
        "text": NOTIFICATION.text,
        "run": {"workload": "digits", **RECORD.to_json()},
    }


def test_slack_blocks_are_escaped_and_link_to_the_report() -> None:
    message = posted("slack")
    section, context = (block for block in message["blocks"])
    assert section["text"]["text"].split("\n") == [
        ":white_check_mark: *digits: promoted*",
        "• accuracy is higher than the champion's by &lt;1 % &amp; more, 좋음",
        "accuracy: `0.962 (0.94 to 0.98)`",
        "difference to champion 12: `+0.0125 (+0.001 to +0.024)`",
        "version: `13`",
    ]
    assert context["elements"][0]["text"] == "run run-1 · <http://registry/#/experiments/1/runs/abc|report>"
    assert message["text"].startswith("digits: promoted. accuracy is higher than the champion's by &lt;1")


def test_slack_sections_have_at_most_3000_characters() -> None:
    long = run_notification("digits", replace(RECORD, reasons=("x" * 5000,)))
    assert len(posted("slack", long)["blocks"][0]["text"]["text"]) <= 3000


WAITING = replace(RECORD, verdict="waiting", champion=None)
BUTTONS = [
    (RECORD, ["rollback"]),
    (replace(RECORD, champion=None), []),
    (replace(RECORD, version=None), []),
    (replace(RECORD, disagreement="the endpoint serves version 12"), []),
    (WAITING, ["approve", "reject"]),
    *((replace(RECORD, verdict=verdict), ["retrain"]) for verdict in RETRAIN_VERDICTS),
    (replace(RECORD, verdict="unchanged"), []),
    (replace(RECORD, verdict="rolled back"), []),
]


@pytest.mark.parametrize(("record", "expected"), BUTTONS)
def test_slack_messages_have_the_useful_buttons(record: RunRecord, expected: list[str]) -> None:
    message = run_notification("digits", record)
    blocks = posted("slack-buttons", message)["blocks"]
    assert blocks[:2] == posted("slack", message)["blocks"], "without a trigger service: no buttons"
    elements = [element for block in blocks[2:] for element in block["elements"]]
    assert [element["action_id"] for element in elements] == expected
    assert all(block["type"] == "actions" for block in blocks[2:])
    for element in elements:
        value = {"workload": "digits", "run": "run-1", "version": record.version or ""}
        assert json.loads(element["value"]) == value


def test_slack_asks_for_a_confirmation_of_what_changes_the_endpoint() -> None:
    """The limits of Block Kit: 75 characters for a button, 100, 300 and 30 for the texts of a dialog."""
    dialogs = {}
    for record, _ in BUTTONS:
        notification = run_notification("w" * 63, replace(record, run="r" * 63))
        for element in posted("slack-buttons", notification)["blocks"][2:][:1]:
            for button in element["elements"]:
                assert button["text"]["type"] == "plain_text"
                assert len(button["text"]["text"]) <= 75
                assert len(button["value"]) <= 2000
                dialogs[button["action_id"]] = button.get("confirm")
    assert {action for action, dialog in dialogs.items() if dialog} == {"approve", "rollback"}
    for dialog in filter(None, dialogs.values()):
        texts = [dialog.pop(name) for name in ("title", "text", "confirm", "deny")]
        assert {text["type"] for text in texts} == {"plain_text"}
        limits = (100, 300, 30, 30)
        assert all(len(text["text"]) <= limit for text, limit in zip(texts, limits, strict=True))
        assert dialog in ({"style": "primary"}, {"style": "danger"})


def test_cloud_events_have_the_required_attributes() -> None:
    """CloudEvents 1.0, section 2: id, source, specversion and type are required, and time is RFC 3339."""
    event = posted("cloudevents")
    assert set(event) == {
        "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data",
    }  # fmt: skip
    assert (event["specversion"], event["source"]) == ("1.0", "/continuous-training/digits")
    assert (event["type"], event["subject"]) == ("continuous-training.run.promoted", "run-1")
    assert datetime.fromisoformat(event["time"]).utcoffset() is not None
    assert event["data"]["run"]["version"] == "13"
    assert posted("cloudevents")["id"] == event["id"], "the same result has the same id"
    failed = run_notification("digits", replace(RECORD, verdict="failed"))
    assert posted("cloudevents", failed)["id"] != event["id"]


def test_without_a_channel_no_notification_is_sent() -> None:
    assert notifier().send(NOTIFICATION) == frozenset()


@pytest.mark.parametrize("status", [429, 503])
def test_a_temporary_error_is_retried(status: int) -> None:
    answers = iter([(status, b"later"), (status, b"later"), (200, b"ok")])
    with web(lambda *_: next(answers)) as hook:
        assert notifier(hook.url).send(NOTIFICATION) == {WEBHOOK}
    assert len(hook.requests) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_webhook_is_not_followed(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with (
        web(lambda *_: (200, b"ok")) as other,
        web(lambda *_: (status, b""), {"Location": other.url}) as hook,
    ):
        assert notifier(hook.url).send(NOTIFICATION) == frozenset()
    assert other.requests == []
    assert f"the webhook answers {status}, a redirect, which is not followed" in capsys.readouterr().err


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (500, 3)])
def test_an_error_status_of_the_webhook_logs_a_warning(
    status: int, requests: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with web(lambda *_: (status, b"no")) as hook:
        assert notifier(hook.url).send(NOTIFICATION) == frozenset()
    assert f"warning: the webhook answers {status}" in capsys.readouterr().err
    assert len(hook.requests) == requests


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/secret", "no address/secret", "http://", "mailto:a@b"])
def test_an_unreachable_webhook_logs_a_warning_without_its_address(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notifier(url).send(NOTIFICATION) == frozenset()
    error = capsys.readouterr().err
    assert "warning: the webhook cannot be reached" in error
    assert "secret" not in error


def mail_server(port: int, user: str = "") -> MailServer:
    recipients = ("ops@example.com", "team@example.com")
    return MailServer("127.0.0.1", port, False, "ct@example.com", recipients, user, "pw" if user else "")


def test_a_mail_contains_the_result() -> None:
    with smtp_server() as server:
        assert notifier(mail=mail_server(server.port)).send(NOTIFICATION) == {MAIL}
    (message,) = server.messages
    assert server.recipients == ["ops@example.com", "team@example.com"]
    assert (message["Subject"], message["From"]) == ("digits: promoted", "ct@example.com")
    text = message.get_content()
    assert NOTIFICATION.text in text
    assert "difference to champion 12: +0.0125 (+0.001 to +0.024)" in text
    assert "report: http://registry/#/experiments/1/runs/abc" in text


def test_errors_of_the_mail_server_are_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    with smtp_server() as server:
        assert notifier(mail=mail_server(server.port, "ct")).send(NOTIFICATION) == frozenset()
    assert "the server offers no encryption, which a login requires" in capsys.readouterr().err
    assert server.messages == []
    assert notifier(mail=mail_server(server.port)).send(NOTIFICATION) == frozenset()
    assert "warning: the mail was not sent" in capsys.readouterr().err


def test_a_channel_that_has_received_the_result_is_skipped() -> None:
    with smtp_server() as server, web(lambda *_: (200, b"ok")) as hook:
        sender = notifier(hook.url, mail=mail_server(server.port))
        assert sender.send(NOTIFICATION, frozenset({WEBHOOK})) == {MAIL}
    assert (hook.requests, len(server.messages)) == ([], 1)


def test_the_settings_are_read_from_the_environment() -> None:
    environment = {
        "CT_NOTIFY": "failed", "CT_WEBHOOK": "https://hook", "CT_WEBHOOK_FORMAT": "slack",
        "CT_SMTP": "smtps://ct@mail.example.com", "CT_SMTP_PASSWORD": "pw",
        "CT_MAIL_FROM": "ct@example.com", "CT_MAIL_TO": "ops@example.com, team@example.com",
    }  # fmt: skip
    settings = NotificationSettings.from_environment(environment)
    recipients = ("ops@example.com", "team@example.com")
    mail = MailServer("mail.example.com", 465, True, "ct@example.com", recipients, "ct", "pw")
    assert settings == NotificationSettings("failed", "https://hook", "slack", mail)
    assert "pw" not in repr(settings)


@pytest.mark.parametrize(
    ("selection", "announced"),
    [
        ("changed", {"promoted", "rejected", "failed", "reverted", "interrupted"}),
        ("failed", {"failed", "reverted", "interrupted"}),
        ("all", {"promoted", "rejected", "failed", "reverted", "interrupted", "unchanged"}),
    ],
)
def test_the_selection_of_runs(selection: str, announced: set[str]) -> None:
    verdicts = {"promoted", "rejected", "failed", "reverted", "interrupted", "unchanged"}
    settings = NotificationSettings(selection)
    assert {verdict for verdict in verdicts if settings.selects(verdict)} == announced


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"CT_NOTIFY": "never"}, "CT_NOTIFY is 'never': it must be one of changed, all, failed"),
        ({"CT_WEBHOOK_FORMAT": "xml"}, "CT_WEBHOOK_FORMAT is 'xml'"),
        ({"CT_SMTP": "mail.example.com"}, "CT_SMTP is 'mail.example.com': it must be smtp://"),
        ({"CT_SMTP": "smtp://mail:99999"}, "CT_SMTP is 'smtp://mail:99999'"),
        ({"CT_SMTP": "smtp://mail"}, "CT_MAIL_FROM is '': with CT_SMTP, it must be an e-mail address"),
    ],
)
def test_invalid_settings_are_rejected(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        NotificationSettings.from_environment(environment)


@pytest.mark.parametrize("address", ["smtp://user:hidden@mail", "user:hidden@mail"])
def test_a_password_in_the_address_is_rejected_and_not_shown(address: str) -> None:
    with pytest.raises(UserError, match=r"CT_SMTP is '\.\.\.@mail': .* CT_SMTP_PASSWORD") as raised:
        NotificationSettings.from_environment({"CT_SMTP": address})
    assert "hidden" not in str(raised.value)
