"""The endpoint that receives events: `POST /events/NAME`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from continuous_training.core.errors import TransientError, UserError
from continuous_training.serving.api.endpoint import EndpointRequest, Response, Route, json_response
from continuous_training.serving.errors import RequestError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.authorization import Access, require
from continuous_training.trigger.caller_file import START
from continuous_training.trigger.errors import QueueFullError
from continuous_training.trigger.events.bucket_event import read_bucket_event
from continuous_training.trigger.events.cloud_event import read_cloud_event
from continuous_training.trigger.events.event_source import (
    BUCKET,
    CLOUDEVENTS,
    GITHUB,
    MLFLOW,
    SLACK,
    EventSource,
)
from continuous_training.trigger.events.github_event import read_github_event
from continuous_training.trigger.events.mlflow_event import read_mlflow_event
from continuous_training.trigger.events.pending_events import PendingEvents
from continuous_training.trigger.events.run_event import RunEvent
from continuous_training.trigger.events.signatures import verify_github, verify_mlflow, verify_slack
from continuous_training.trigger.events.slack_endpoint import SlackEndpoint
from continuous_training.trigger.run_requests import in_thread

log = logging.getLogger(__name__)

_TOKEN_READERS = {CLOUDEVENTS: read_cloud_event, BUCKET: read_bucket_event}
_SIGNED_READERS = {GITHUB: (verify_github, read_github_event), MLFLOW: (verify_mlflow, read_mlflow_event)}


@dataclass(frozen=True)
class EventEndpoint:
    """Receives the events of all sources."""

    sources: Mapping[str, EventSource]
    access: Access
    pending: PendingEvents
    slack: SlackEndpoint

    def routes(self) -> list[Route]:
        """Return the route of the events."""
        return [Route("POST", "/events/{name}", self._receive)]

    async def _receive(self, request: EndpointRequest) -> Response:
        source = self.sources.get(request.parameters["name"])
        if source is None:
            raise HttpError(404, f"there is no source of events {request.parameters['name'][:80]!r}")
        if source.type == SLACK:
            body = await request.body()
            verify_slack(request.header, body, source_secrets(source))
            self.access.count(f"events of {source.name}")
            return await self.slack.respond(source, body)
        event = await self._read(source, request)
        if event is None:
            return json_response({"state": "ignored"})
        if source.debounce:
            return await self._collect(source, event)
        return await self._start(source, event)

    async def _read(self, source: EventSource, request: EndpointRequest) -> RunEvent | None:
        """Verify the sender, and read the event."""
        if source.type in _TOKEN_READERS:
            # Collected events start one run, so they do not count for the limit.
            caller = await self.access.authenticate(request, count=not source.debounce)
            require(caller, START, source.workload)
            body = await request.body()
            return _TOKEN_READERS[source.type](source, caller.name, request.header, body)
        verify, read = _SIGNED_READERS[source.type]
        body = await request.body()
        verify(request.header, body, source_secrets(source))
        if not source.debounce:
            self.access.count(f"events of {source.name}")
        return read(source, request.header, body)

    async def _start(self, source: EventSource, event: RunEvent) -> Response:
        def submit() -> Response:
            submission = self.pending.submit(source, event)
            view = self.pending.runs.view(submission)
            status = 202 if submission.is_new else 200
            return json_response(view.to_json(), status, location=f"/runs/{view.run.id}")

        try:
            return await in_thread(submit)
        except HttpError as error:
            if not isinstance(error.__cause__, QueueFullError):
                raise
        # The sender may not repeat the event, so it is kept until a run can wait.
        return await self._collect(source, event)

    async def _collect(self, source: EventSource, event: RunEvent) -> Response:
        is_new = await in_thread(lambda: self.pending.add(source, event))
        log.info("%s event for %s: %s", "new" if is_new else "known", source.workload, event.reason)
        return json_response({"state": "collected", "debounce": source.debounce}, 202)


def source_secrets(source: EventSource) -> list[bytes]:
    """Return the secrets of a source. Raises HttpError 503 if they cannot be read."""
    try:
        return source.secrets()
    except (RequestError, TransientError):
        raise
    except UserError as error:
        log.error("%s", error)
        raise HttpError(503, "the secret of this source cannot be read; see the service's log") from error
