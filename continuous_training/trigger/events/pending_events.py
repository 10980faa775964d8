"""Events that have not started a run yet: they are collected until no further event arrives.

An event is an object `trigger-events/SOURCE/DIGEST.json` in the store, so a restart loses none of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import JsonObject
from continuous_training.trigger.errors import QueueFullError
from continuous_training.trigger.events.event_source import EventSource
from continuous_training.trigger.events.run_event import RunEvent
from continuous_training.trigger.run_queue import Submission
from continuous_training.trigger.run_requests import RunRequests

log = logging.getLogger(__name__)

PREFIX = "trigger-events"
MAX_DELAY = 10
"""Events that do not end start a run after this many debounce times."""

_HINT = "delete this object from the object store to ignore the event"


class PendingEvents:
    """The collected events of all sources."""

    def __init__(self, store: ObjectStore, sources: Mapping[str, EventSource], runs: RunRequests) -> None:
        self.store = store
        self.sources = sources
        self.runs = runs
        self._events: dict[str, RunEvent] = {}

    def add(self, source: EventSource, event: RunEvent) -> bool:
        """Store an event. Return False if it is already stored."""
        text = json.dumps(event.to_json(), ensure_ascii=False)
        return self.store.create(f"{PREFIX}/{source.name}/{_digest(event.key)}.json", text.encode())

    def submit(self, source: EventSource, event: RunEvent, reason: str = "") -> Submission:
        """Start the run of an event, or return the run that an earlier delivery has started."""
        trigger = RunTrigger(event.caller, reason or event.reason)
        parameters = {**source.parameters, **event.parameters}
        key = f"{source.name}:{_digest(event.key)}"
        return self.runs.submit(source.workload, trigger, parameters, key)

    def process(self) -> None:
        """Start one run for the events of each source that are complete.

        An error of one source does not affect the others.
        """
        keys: dict[str, list[str]] = {}
        for key in self.store.keys(PREFIX):
            keys.setdefault(key.split("/")[1], []).append(key)
        for name in keys.keys() & self.sources.keys():
            try:
                self._process_source(self.sources[name], keys[name])
            except PipelineError as error:
                log.warning("the events %s are processed again later: %s", name, error)

    def _process_source(self, source: EventSource, keys: list[str]) -> None:
        read = [(event, key) for key in keys if (event := self._read(key)) is not None]
        events = sorted(read, key=lambda item: (item[0].time, item[1]))
        if not events or not _are_complete([event for event, _ in events], source.debounce):
            return
        oldest = events[0][0]
        reason = oldest.reason + (f", and {len(events) - 1} more events" if len(events) > 1 else "")
        try:
            self.submit(source, oldest, reason)
        except QueueFullError:
            # Another run waits. The events are kept for the run after it.
            return
        # The run has the key of the oldest event, which is deleted last: a replica that sees only a part of
        # the events gets the same run.
        for _, key in reversed(events):
            self.store.delete(key)
            self._events.pop(key, None)

    def _read(self, key: str) -> RunEvent | None:
        if key not in self._events:
            data = self.store.read(key)
            if data is None:
                return None
            self._events[key] = RunEvent.from_json(JsonObject.parse(data, key, ArtifactError, _HINT))
        return self._events[key]


def _are_complete(events: list[RunEvent], debounce: float) -> bool:
    """Return whether the last event is old enough, or the first one too old."""
    now, step = datetime.now(UTC), timedelta(seconds=debounce)
    first, last = (datetime.fromisoformat(event.time) for event in (events[0], events[-1]))
    return now - last >= step or now - first >= MAX_DELAY * step


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
