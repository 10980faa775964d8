"""Messages of Slack with the result of a run."""

from __future__ import annotations

from continuous_training.adapters.notifications.notification import Notification
from continuous_training.adapters.notifications.slack_buttons import ButtonValue, actions_block
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


def slack_message(notification: Notification) -> Json:
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


def slack_message_with_buttons(notification: Notification) -> Json:
    """Return a message for a Slack app whose interactivity is connected to a trigger service."""
    message = slack_message(notification)
    if notification.buttons:
        value = ButtonValue(notification.workload, notification.run, notification.version)
        message["blocks"].append(actions_block(notification.buttons, value))
    return message


def _escape(text: str) -> str:
    """Escape the three control characters of Slack's markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SECTION else f"{text[:MAX_SECTION]}…"
