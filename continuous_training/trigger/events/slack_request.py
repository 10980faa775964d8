"""Slash commands and buttons of Slack.

https://docs.slack.dev/interactivity/implementing-slash-commands
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from continuous_training.adapters.notifications.slack_buttons import BUTTONS, ButtonValue
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.run_event import one_line
from continuous_training.trigger.run_body import MAX_REASON

MAX_FIELDS = 100
MAX_CONTEXT = 2900
"""Slack rejects an element of a context block with more than 3,000 characters."""


@dataclass(frozen=True)
class SlackRequest:
    """A slash command, which starts a run. `parameters` are texts, as on a command line.

    `response_url` receives further messages. `key` is the same if the request is sent again.
    """

    user_id: str
    user_name: str
    reason: str
    response_url: str
    key: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> str:
        """The name of the user for the records."""
        return _caller(self.user_id, self.user_name)


@dataclass(frozen=True)
class SlackButton:
    """A button that a user clicked.

    `value` is None for a button of another message than a notification. `blocks` are the blocks of the
    message, empty if Slack does not send it. `key` is the same for each click on a button of a notification.
    """

    action: str
    value: ButtonValue | None
    user_id: str
    user_name: str
    response_url: str
    key: str
    blocks: tuple[Json, ...] = ()

    @property
    def caller(self) -> str:
        """The name of the user for the records."""
        return _caller(self.user_id, self.user_name)


def _caller(user_id: str, user_name: str) -> str:
    return f"slack:{user_name or user_id}"


def read_slack_request(body: bytes) -> SlackRequest | SlackButton | None:
    """Read the form of a request; None if it asks for nothing. Raises RequestError if it is invalid."""
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise RequestError(f"the request is not a form of Slack: {error}") from None
    form = JsonObject({name: values[0] for name, values in fields.items()}, "the request", RequestError)
    key = hashlib.sha256(body).hexdigest()
    if "payload" in form:
        return _read_button(JsonObject(decode(form.text("payload").encode()), "payload", RequestError), key)
    if "command" not in form:
        return None
    parameters, reason = _parse_text(form.text("text", ""))
    return SlackRequest(
        user_id=form.text("user_id"),
        user_name=one_line(form.text("user_name", ""), 60),
        reason=reason or f"command {one_line(form.text('command'), 60)}",
        response_url=form.text("response_url", ""),
        key=key,
        parameters=parameters,
    )


def _read_button(payload: JsonObject, key: str) -> SlackButton | None:
    actions = payload.nested_list("actions", [])
    action = actions[0].text("action_id") if actions else ""
    if payload.text("type") != "block_actions" or action not in BUTTONS:
        return None
    user, value = payload.nested("user"), ButtonValue.parse(actions[0].text("value", ""))
    message = payload.nested("message", {})
    return SlackButton(
        action=action,
        value=value,
        user_id=user.text("id"),
        user_name=one_line(user.text("username", "") or user.text("name", ""), 60),
        response_url=payload.text("response_url", ""),
        key=f"{action} {value.to_text()}" if value else key,
        blocks=tuple(dict(block.value) for block in message.nested_list("blocks", [])),
    )


def _parse_text(text: str) -> tuple[dict[str, str], str]:
    """Return the run parameters `name=value` at the beginning of a text, and the reason after them."""
    try:
        words = shlex.split(text)
    except ValueError:
        raise RequestError("a quotation mark is not closed") from None
    count = next((number for number, word in enumerate(words) if "=" not in word), len(words))
    return parse_assignments(words[:count]), one_line(" ".join(words[count:]), MAX_REASON)


def slack_message(text: str, visible_to_all: bool = False) -> Json:
    """Return a message. By default, only the user who sent the request can see it."""
    kind = "in_channel" if visible_to_all else "ephemeral"
    return {"response_type": kind, "replace_original": False, "text": _escape(text)}


def slack_update(blocks: Iterable[Json], text: str) -> Json:
    """Return a message that replaces the message with these blocks: with `text`, and without our buttons."""
    escaped = _escape(text)
    context = {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped[:MAX_CONTEXT]}]}
    content = [new for block in blocks if (new := _without_buttons(block))]
    return {"replace_original": True, "text": escaped, "blocks": [*content, context]}


def _without_buttons(block: Json) -> Json | None:
    """Return a block for the replaced message, None if only our buttons were in it."""
    # Slack requires a new id for each version of a message, and generates one if there is none.
    block = {name: value for name, value in block.items() if name != "block_id"}
    if block.get("type") != "actions":
        return block
    elements = [item for item in block.get("elements", []) if item.get("action_id") not in BUTTONS]
    return {**block, "elements": elements} if elements else None


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
