"""Answers slash commands and buttons of Slack within three seconds."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Value
from continuous_training.serving.api.endpoint import Response, json_response
from continuous_training.serving.errors import RequestError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.pending_events import PendingEvents
from continuous_training.trigger.events.run_event import RunEvent
from continuous_training.trigger.events.slack_replies import SlackReplies, send
from continuous_training.trigger.events.slack_request import SlackRequest, read_slack_request, slack_message
from continuous_training.trigger.run_requests import in_thread

log = logging.getLogger(__name__)

RESPONSE_SECONDS = 2.0
"""Slack shows an error after three seconds."""

RESPONSE_URL = "https://hooks.slack.com/"


@dataclass(frozen=True)
class SlackEndpoint:
    """Starts runs for users of Slack. The signature of the request is already verified."""

    pending: PendingEvents
    replies: SlackReplies
    response_seconds: float = RESPONSE_SECONDS

    async def respond(self, source: EventSource, body: bytes) -> Response:
        """Return the message for the user. Errors are messages too: Slack shows no other response."""
        try:
            slack = read_slack_request(body)
            if slack is None:
                return json_response({})
            _check_sender(source, slack)
            parameters = self._parameters(source, slack)
        except UserError as error:
            return json_response(slack_message(str(error)))
        task = asyncio.create_task(self._start(source, slack, parameters))
        done, _ = await asyncio.wait({task}, timeout=self.response_seconds)
        if done:
            return json_response(slack_message(task.result(), visible_to_all=True))
        task.add_done_callback(lambda finished: _send_later(finished, slack.response_url))
        return json_response(slack_message(f"the run of {source.workload} is being requested"))

    async def _start(self, source: EventSource, slack: SlackRequest, parameters: dict[str, Value]) -> str:
        """Start the run, and return the text about it."""
        event = RunEvent(f"slack:{slack.user_name or slack.user_id}", slack.reason, slack.key, parameters)

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


def _check_sender(source: EventSource, slack: SlackRequest) -> None:
    users, urls = source.allowed("users"), source.allowed("response_url") or (RESPONSE_URL,)
    if users and slack.user_id not in users:
        raise RequestError(f"you may not start runs of {source.workload}; your user id is {slack.user_id}")
    if slack.response_url and not slack.response_url.startswith(urls):
        raise RequestError("the response_url is not an address of Slack")


def _send_later(task: asyncio.Task[str], response_url: str) -> None:
    if response_url and not task.cancelled() and task.exception() is None:
        asyncio.get_running_loop().run_in_executor(None, send, response_url, task.result())
