"""Slash commands and buttons of Slack.

https://docs.slack.dev/interactivity/implementing-slash-commands
https://docs.slack.dev/reference/interaction-payloads/block_actions-payload
"""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.serving.errors import RequestError
from continuous_training.serving.json_codec import decode
from continuous_training.trigger.events.run_event import one_line
from continuous_training.trigger.run_body import MAX_REASON

MAX_FIELDS = 100
RETRAIN = "retrain"
"""The `action_id` of a button that starts a run."""


@dataclass(frozen=True)
class SlackRequest:
    """A request of a user for a run. `parameters` are texts, as on a command line.

    `response_url` receives further messages. `key` is the same if the request is sent again.
    """

    user_id: str
    user_name: str
    reason: str
    response_url: str
    key: str
    parameters: dict[str, str] = field(default_factory=dict)


def read_slack_request(body: bytes) -> SlackRequest | None:
    """Read the form of a request; None if it does not ask for a run. Raises RequestError if it is invalid."""
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


def _read_button(payload: JsonObject, key: str) -> SlackRequest | None:
    actions = payload.nested_list("actions", [])
    if payload.text("type") != "block_actions" or not actions or actions[0].text("action_id") != RETRAIN:
        return None
    user = payload.nested("user")
    return SlackRequest(
        user_id=user.text("id"),
        user_name=one_line(user.text("username", "") or user.text("name", ""), 60),
        reason="button in Slack",
        response_url=payload.text("response_url", ""),
        key=key,
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
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    kind = "in_channel" if visible_to_all else "ephemeral"
    return {"response_type": kind, "replace_original": False, "text": escaped}
