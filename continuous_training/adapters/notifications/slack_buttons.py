"""The buttons of a message in Slack, which call the trigger service.

https://docs.slack.dev/reference/block-kit/blocks/actions-block
https://docs.slack.dev/reference/block-kit/block-elements/button-element
https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json, JsonObject

RETRAIN, ROLLBACK, APPROVE, REJECT = BUTTONS = ("retrain", "rollback", "approve", "reject")
"""The `action_id` of each button."""

RETRAIN_VERDICTS = ("rejected", "reverted", "failed", "interrupted")

_LABELS = {RETRAIN: "Retrain", ROLLBACK: "Roll back", APPROVE: "Approve", REJECT: "Reject"}
_STYLES = {APPROVE: "primary", ROLLBACK: "danger"}
_MAX_TITLE = 100
"""Slack rejects a dialog with a longer title. Texts of dialogs may have 300 characters, labels 30."""


@dataclass(frozen=True)
class ButtonValue:
    """The value of a button: the run of the message, and its version (empty: none)."""

    workload: str
    run: str
    version: str = ""

    @classmethod
    def parse(cls, text: str) -> ButtonValue | None:
        """Read a value. Return None if the button is not one of these messages."""
        try:
            value = JsonObject.parse(text, "the value of the button")
            return cls(value.text("workload"), value.text("run"), value.text("version", ""))
        except UserError:
            return None

    def to_text(self) -> str:
        """Return the value, far shorter than the 2,000 characters that Slack allows."""
        return json.dumps(asdict(self))


def buttons_of(record: RunRecord) -> tuple[str, ...]:
    """Return the buttons that are useful for the result of a run.

    A version can be rolled back if it was compared with a champion, and if the endpoint serves it.
    """
    if record.verdict == "waiting" and record.version:
        return APPROVE, REJECT
    if record.verdict == "promoted" and record.version and record.champion and not record.disagreement:
        return (ROLLBACK,)
    return (RETRAIN,) if record.verdict in RETRAIN_VERDICTS else ()


def actions_block(buttons: Sequence[str], value: ButtonValue) -> Json:
    """Return the block with the buttons."""
    return {"type": "actions", "elements": [_button(button, value) for button in buttons]}


def _button(action: str, value: ButtonValue) -> Json:
    dialogs = {
        APPROVE: (
            f"Approve version {value.version} of {value.workload}?",
            "The version is rolled out and becomes the champion.",
        ),
        ROLLBACK: (
            f"Roll back {value.workload}?",
            f"The champion before version {value.version[:20]} is served again.",
        ),
    }
    style = {"style": _STYLES[action]} if action in _STYLES else {}
    return {
        "type": "button",
        "action_id": action,
        "text": _plain_text(_LABELS[action]),
        "value": value.to_text(),
        **style,
        **({"confirm": _confirmation(action, *dialogs[action])} if action in dialogs else {}),
    }


def _confirmation(action: str, title: str, text: str) -> Json:
    return {
        "title": _plain_text(title[:_MAX_TITLE]),
        "text": _plain_text(text),
        "confirm": _plain_text(_LABELS[action]),
        "deny": _plain_text("Cancel"),
        "style": _STYLES[action],
    }


def _plain_text(text: str) -> Json:
    return {"type": "plain_text", "text": text}
