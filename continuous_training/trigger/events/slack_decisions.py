"""Decisions about versions that users of Slack make with the buttons of a notification."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from continuous_training.adapters.notifications.slack_buttons import APPROVE, REJECT, ROLLBACK, ButtonValue
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json
from continuous_training.serving.errors import RequestError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.decisions import Decision, Decisions, RollbackRequest
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.slack_request import SlackButton, slack_message, slack_update
from continuous_training.trigger.run_requests import in_thread

log = logging.getLogger(__name__)

REASON = "button in Slack"
FILTERS = {APPROVE: "approvers", REJECT: "approvers", ROLLBACK: "operators"}
"""The filter of the source with the users who may click a button. Without it, no user may."""

_REVIEWS: dict[str, Decision] = {APPROVE: "approve", REJECT: "reject"}


@dataclass(frozen=True)
class SlackDecisions:
    """Carries out the decisions. `active` are the workloads with a decision in progress."""

    decisions: Decisions
    active: set[str] = field(default_factory=set)

    async def decide(self, source: EventSource, button: SlackButton) -> Json:
        """Carry out the decision, and return the message about it.

        After success, the message replaces the original without its buttons. Otherwise only the user sees
        it. Raises RequestError if the user may not decide.
        """
        value = _checked_value(source, button)
        if value.workload in self.active:
            raise RequestError(f"a decision about {value.workload} is in progress; its result follows here")
        self.active.add(value.workload)
        try:
            record = await in_thread(lambda: self._carry_out(value, button))
        except (HttpError, RequestError, ConnectionError) as error:
            return slack_message(f"{value.workload}: {button.action} was not carried out: {error}")
        finally:
            self.active.discard(value.workload)
        log.info("%s: %s of run %s by %s", value.workload, button.action, value.run, button.caller)
        text = _text(value.workload, record)
        return slack_update(button.blocks, text) if button.blocks else slack_message(text, True)

    def _carry_out(self, value: ButtonValue, button: SlackButton) -> RunRecord:
        if button.action in _REVIEWS:
            person = RunTrigger(button.caller, REASON)
            return self.decisions.review(value.workload, value.run, _REVIEWS[button.action], person)
        # Each further click would otherwise go one version further back.
        rollback = RollbackRequest(champion=value.version)
        person = RunTrigger(button.caller, f"{REASON}, clicked by {button.caller}")
        return self.decisions.roll_back(value.workload, rollback, person)


def _checked_value(source: EventSource, button: SlackButton) -> ButtonValue:
    filter_name = FILTERS[button.action]
    if button.user_id not in source.allowed(filter_name):
        raise RequestError(
            f"you may not use this button for {source.workload}; your user id is {button.user_id}, and the "
            f"field {filter_name} of the events {source.name} lists who may"
        )
    value = button.value
    if value is None or (button.action == ROLLBACK and not value.version):
        raise RequestError("the value of this button does not name a run and its version")
    return value


def _text(workload: str, record: RunRecord) -> str:
    """Return the result. The first reason names the person."""
    version = f" to version {record.rollback.to_version.version}" if record.rollback else ""
    return ". ".join((f"{workload}: {record.verdict}{version}", *record.reasons[:1]))
