"""The bodies of webhook requests: plain JSON, messages of Slack and CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from continuous_training.adapters.notifications.notification import Notification
from continuous_training.adapters.notifications.slack_message import slack_message, slack_message_with_buttons
from continuous_training.core.digest import digest_of
from continuous_training.core.json_object import Json


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


_FORMATS: dict[str, tuple[str, Callable[[Notification], Json]]] = {
    "json": ("application/json", _plain),
    "slack": ("application/json", slack_message),
    "slack-buttons": ("application/json", slack_message_with_buttons),
    "cloudevents": ("application/cloudevents+json", _cloud_event),
}
