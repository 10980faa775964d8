"""Answers slash commands and buttons of Slack within three seconds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field

from continuous_training.adapters.notifications.slack_buttons import RETRAIN
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import Value
from continuous_training.serving.api.endpoint import Response, json_response
from continuous_training.serving.errors import RequestError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.events.event_source import SLACK, EventSource
from continuous_training.trigger.events.pending_events import PendingEvents
from continuous_training.trigger.events.run_event import RunEvent
from continuous_training.trigger.events.slack_decisions import REASON, SlackDecisions
from continuous_training.trigger.events.slack_replies import SlackReplies, send
from continuous_training.trigger.events.slack_request import (
    SlackButton,
    SlackRequest,
    read_slack_request,
    slack_message,
)
from continuous_training.trigger.run_requests import in_thread

log = logging.getLogger(__name__)

RESPONSE_SECONDS = 2.0
"""Slack shows an error after three seconds."""

RESPONSE_URL = "https://hooks.slack.com/"


@dataclass(frozen=True)
class SlackEndpoint:
    """Starts runs and carries out decisions for users of Slack. The signature is already verified."""

    pending: PendingEvents
    replies: SlackReplies
    decisions: SlackDecisions
    response_seconds: float = RESPONSE_SECONDS
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def respond(self, source: EventSource, body: bytes) -> Response:
        """Return the message for the user. Errors are messages too: Slack shows no other response."""
        try:
            slack = read_slack_request(body)
            if slack is None:
                return json_response({})
            _check_response_url(source, slack.response_url)
            if isinstance(slack, SlackButton):
                # Slack ignores the body of this response: the message is sent to the response_url.
                self._run_later(self._click(source, slack))
                return json_response({})
            _check_user(source, slack.user_id)
            parameters = self._parameters(source, slack)
        except UserError as error:
            return json_response(slack_message(str(error)))
        task = asyncio.create_task(self._start(source, slack, parameters))
        done, _ = await asyncio.wait({task}, timeout=self.response_seconds)
        if done:
            return json_response(slack_message(task.result(), visible_to_all=True))
        self._run_later(_send_result(task, slack.response_url))
        return json_response(slack_message(f"the run of {source.workload} is being requested"))

    def _run_later(self, action: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(action)
        # The event loop keeps only a weak reference to a task.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _click(self, source: EventSource, button: SlackButton) -> None:
        """Carry out the action of the button, and send the message about it."""
        try:
            message = await self._answer(self._source_of(source, button), button)
        except UserError as error:
            message = slack_message(str(error))
        except Exception:
            log.exception("the button %s was not processed", button.action)
            message = slack_message(f"{button.action} failed; see the log of the trigger service")
        await _send(message, button.response_url)

    async def _answer(self, source: EventSource, button: SlackButton) -> Json:
        if button.action != RETRAIN:
            return await self.decisions.decide(source, button)
        _check_user(source, button.user_id)
        request = SlackRequest(button.user_id, button.user_name, REASON, button.response_url, button.key)
        return slack_message(await self._start(source, request, {}), visible_to_all=True)

    def _source_of(self, source: EventSource, button: SlackButton) -> EventSource:
        """Return the source of the button's workload. It must have the same secret, that is the same app.

        An app has one address for the buttons of all workloads.
        """
        workload = button.value.workload if button.value else source.workload
        for other in (source, *self.pending.sources.values()):
            is_same_app = other.type == SLACK and other.secret_file == source.secret_file
            if is_same_app and other.workload == workload:
                return other
        raise RequestError(
            f"the buttons of {workload} are not connected: the file of the events needs a source of the type "
            f"{SLACK} for this workload, with the same secret_file as {source.name}"
        )

    async def _start(self, source: EventSource, slack: SlackRequest, parameters: dict[str, Value]) -> str:
        """Start the run, and return the text about it."""
        event = RunEvent(slack.caller, slack.reason, slack.key, parameters)

        def submit() -> str:
            submission = self.pending.submit(source, event)
            run = submission.run
            if slack.response_url:
                self.replies.add(run, slack.response_url)
            state = "requested" if submission.is_new else "was already requested"
            return f"run {run.id} of {source.workload} {state}, {run.trigger}; the verdict follows here"

        try:
            return await in_thread(submit)
        except (HttpError, RequestError, ConnectionError) as error:
            return f"no run of {source.workload} was started: {error}"

    def _parameters(self, source: EventSource, slack: SlackRequest) -> dict[str, Value]:
        """Return the typed parameters of a command. Raises UserError for those that are not allowed."""
        if "accept" in slack.parameters:
            raise RequestError("accept is not allowed here: use the command line or the API")
        values = self.pending.runs.pipeline(source.workload).parse(slack.parameters)
        return {name: values[name] for name in slack.parameters}


def _check_user(source: EventSource, user_id: str) -> None:
    users = source.allowed("users")
    if users and user_id not in users:
        raise RequestError(f"you may not start runs of {source.workload}; your user id is {user_id}")


def _check_response_url(source: EventSource, response_url: str) -> None:
    urls = source.allowed("response_url") or (RESPONSE_URL,)
    if response_url and not response_url.startswith(urls):
        raise RequestError("the response_url is not an address of Slack")


async def _send_result(task: asyncio.Task[str], response_url: str) -> None:
    await _send(slack_message(await task, visible_to_all=True), response_url)


async def _send(message: Json, response_url: str) -> None:
    if response_url:
        await asyncio.to_thread(send, response_url, message)
