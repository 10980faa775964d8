"""The bodies of webhook requests: plain JSON, Slack blocks and CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from continuous_training.adapters.notifications.notification import Notification
from continuous_training.adapters.notifications.slack_buttons import ButtonValue, actions_block
from continuous_training.core.digest import digest_of
from continuous_training.core.json_object import Json

_EMOJI = {
    "promoted": ":white_check_mark:",
    "rejected": ":no_entry_sign:",
    "waiting": ":hourglass_flowing_sand:",
    "reverted": ":leftwards_arrow_with_hook:",
    "failed": ":x:",
}
MAX_SECTION = 2900
"""Slack rejects a section with more than 3,000 characters."""


@dataclass(frozen=True)
class WebhookBody:
    """The content type and the content of a request."""

    content_type: str
    content: bytes


def webhook_body(notification: Notification, name: str) -> WebhookBody:
    """Return the body in the format `name`, a value of CT_WEBHOOK_FORMAT."""
    content_type, to_json = _FORMATS[name]
    return WebhookBody(content_type, json.dumps(to_json(notification), ensure_ascii=False).encode())


def _plain(notification: Notification) -> Json:
    return {"text": notification.text, "run": notification.record}


def _slack(notification: Notification) -> Json:
    """Return a message with blocks (https://docs.slack.dev/reference/block-kit/blocks), and a plain text."""
    emoji = _EMOJI.get(notification.verdict, ":information_source:")
    reasons = notification.record.get("reasons", [])
    lines = [
        f"{emoji} *{_escape(notification.workload)}: {_escape(notification.verdict)}*",
        *(f"• {_escape(reason)}" for reason in reasons),
        *(f"{_escape(label)}: `{_escape(value)}`" for label, value in notification.details),
    ]
    link = f" · <{_escape(notification.page)}|report>" if notification.page else ""
    return {
        "text": _escape(notification.text),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": _shorten("\n".join(lines))}},
            {
                "type": "context",
                "elements": [{"type": "mrkdwn", "text": f"run {_escape(notification.run)}{link}"}],
            },
        ],
    }


def _slack_with_buttons(notification: Notification) -> Json:
    """Return a message for a Slack app whose interactivity is connected to a trigger service."""
    message = _slack(notification)
    if notification.buttons:
        value = ButtonValue(notification.workload, notification.run, notification.version)
        message["blocks"].append(actions_block(notification.buttons, value))
    return message


def _cloud_event(notification: Notification) -> Json:
    """Return an event in the structured mode of CloudEvents 1.0. Equal results have equal ids."""
    ended = notification.record.get("ended", "")
    return {
        "specversion": "1.0",
        "id": digest_of(notification.record)[:32],
        "source": f"/continuous-training/{notification.workload}",
        "type": f"continuous-training.run.{notification.verdict.split(' ')[0]}",
        "subject": notification.run,
        **({"time": ended} if ended else {}),
        "datacontenttype": "application/json",
        "data": {"text": notification.text, "run": notification.record},
    }


def _escape(text: str) -> str:
    """Escape the three control characters of Slack's markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SECTION else f"{text[:MAX_SECTION]}…"


_FORMATS: dict[str, tuple[str, Callable[[Notification], Json]]] = {
    "json": ("application/json", _plain),
    "slack": ("application/json", _slack),
    "slack-buttons": ("application/json", _slack_with_buttons),
    "cloudevents": ("application/cloudevents+json", _cloud_event),
}
