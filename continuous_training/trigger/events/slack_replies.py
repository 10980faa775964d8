"""Messages in Slack about the verdict of a run that was started there.

The address of a message is an object `trigger-replies/RUN/DIGEST.json` in the store until the run has ended.
"""

from __future__ import annotations

import hashlib
import json
import logging
from datetime import UTC, datetime, timedelta

import requests

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.trigger.events.slack_request import slack_message
from continuous_training.trigger.queued_run import QueuedRun, RunStatus
from continuous_training.trigger.run_queue import RunQueue

log = logging.getLogger(__name__)

PREFIX = "trigger-replies"
LIFETIME = timedelta(minutes=30)
"""How long Slack accepts messages at a `response_url`."""

_TIMEOUT = 10
_HINT = "delete this object from the object store; the message is not sent"


class SlackReplies:
    """The messages that are sent when their runs end."""

    def __init__(self, store: ObjectStore, queue: RunQueue) -> None:
        self.store = store
        self.queue = queue

    def add(self, run: QueuedRun, response_url: str) -> None:
        """Send a message to this address when the run ends."""
        content = {"url": response_url, "time": datetime.now(UTC).isoformat()}
        digest = hashlib.sha256(response_url.encode()).hexdigest()
        self.store.create(f"{PREFIX}/{run.id}/{digest}.json", json.dumps(content).encode())

    def process(self) -> None:
        """Send the messages of the runs that have ended. Remove those that Slack no longer accepts."""
        for key in self.store.keys(PREFIX):
            try:
                self._process_message(key)
            except PipelineError as error:
                log.warning("a message to Slack is not sent yet: %s", error)

    def _process_message(self, key: str) -> None:
        data = self.store.read(key)
        if data is None:
            return
        document = JsonObject.parse(data, key, ArtifactError, _HINT)
        run = self.queue.find(key.split("/")[1])
        status = self.queue.end(run) if run else None
        is_old = datetime.now(UTC) - datetime.fromisoformat(document.text("time")) > LIFETIME
        if run and status and not is_old:
            send(document.text("url"), slack_message(_verdict_text(run, status), visible_to_all=True))
        if status or is_old:
            self.store.delete(key)


def send(response_url: str, message: Json) -> None:
    """Send a message. A failure is logged without the address, which is a secret."""
    try:
        response = requests.post(
            response_url,
            json=message,
            timeout=_TIMEOUT,
            allow_redirects=False,
        )
    except requests.RequestException as error:
        log.warning("a message to Slack was not sent: %s", type(error).__name__)
        return
    if not response.ok:
        log.warning("a message to Slack was not sent: status %d", response.status_code)


def _verdict_text(run: QueuedRun, status: RunStatus) -> str:
    reasons = f": {'; '.join(status.reasons)}" if status.reasons else ""
    return f"{run.workload}: {status.verdict}{reasons} (run {run.id}, {run.trigger})"[:3000]
