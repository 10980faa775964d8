"""The endpoints of the trigger service in this process, behind a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import uvicorn

from continuous_training.adapters.object_store import open_store
from continuous_training.core.run_parameters import Parameter, parse_values
from continuous_training.serving.http.app import HttpApp
from continuous_training.serving.http.requests import InFlightBytes, RequestLimits
from continuous_training.serving.http.routing import Router
from continuous_training.serving.process.sockets import listen
from continuous_training.trigger.authorization import Access
from continuous_training.trigger.caller_file import CallerFile, new_token, token_digest
from continuous_training.trigger.dispatcher import Dispatcher
from continuous_training.trigger.endpoints import TriggerEndpoints
from continuous_training.trigger.events.event_endpoint import EventEndpoint
from continuous_training.trigger.events.event_source import read_event_sources
from continuous_training.trigger.events.pending_events import PendingEvents
from continuous_training.trigger.events.slack_decisions import SlackDecisions
from continuous_training.trigger.events.slack_endpoint import SlackEndpoint
from continuous_training.trigger.events.slack_replies import SlackReplies
from continuous_training.trigger.pipeline_parameters import TriggerPipeline
from continuous_training.trigger.rate_limit import RateLimit
from continuous_training.trigger.run_queue import RunQueue
from continuous_training.trigger.run_requests import RunRequests

from .memory_decisions import MemoryDecisions
from .memory_target import MemoryTarget

PARAMETERS = (
    Parameter("seed", 0, "the seed", minimum=0),
    Parameter("share", 0.5, "a share", minimum=0.0, maximum=1.0),
    Parameter("source", "", "the data"),
    Parameter("accept", "", "accept changed data"),
    Parameter("fast", True, "skip the deep model"),
)
RIGHTS = {
    "ci": "{digits: [read, start, cancel]}",
    "reader": '{"*": [read]}',
    "owner": '{"*": [start, approve, rollback]}',
}


@dataclass
class Service:
    """A service with the pipelines digits and mnist, three callers, and a target in memory."""

    url: str
    tokens: dict[str, str]
    target: MemoryTarget
    decisions: MemoryDecisions
    dispatcher: Dispatcher
    pipelines: dict[str, TriggerPipeline]

    def post(self, path: str, body: object = None, caller: str = "ci") -> requests.Response:
        headers = {"authorization": f"Bearer {self.tokens[caller]}"}
        if body is None:
            return requests.post(self.url + path, headers=headers, timeout=30)
        return requests.post(self.url + path, json=body, headers=headers, timeout=30)

    def get(self, path: str, caller: str = "ci") -> requests.Response:
        headers = {"authorization": f"Bearer {self.tokens[caller]}"}
        return requests.get(self.url + path, headers=headers, timeout=30)


@contextmanager
def running_service(
    tmp_path: Path,
    events: str = "",
    response_seconds: float = 30,
    requests_per_minute: float = 40,
    callers: str = "",
) -> Iterator[Service]:
    """Serve the endpoints in a thread. `events` is the file of the sources of events.

    `callers` is appended to the file of the callers.
    """
    tokens = {name: new_token() for name in RIGHTS}
    entries = {
        name: f'{{tokens: ["{token_digest(tokens[name])}"], rights: {RIGHTS[name]}}}' for name in RIGHTS
    }
    path = tmp_path / "callers.yaml"
    path.write_text(
        "callers:\n" + "".join(f"  {name}: {entry}\n" for name, entry in entries.items()) + callers
    )
    target, decisions = MemoryTarget(), MemoryDecisions()
    dispatcher = Dispatcher(RunQueue(open_store(str(tmp_path / "store")), window=60), target, 60)
    pipelines = {
        name: TriggerPipeline(name, "a pipeline", PARAMETERS, lambda values: parse_values(PARAMETERS, values))
        for name in ("digits", "mnist", "iris")
    }
    access = Access(CallerFile(path), RateLimit(requests_per_minute))
    runs = RunRequests(pipelines, dispatcher)
    routes = TriggerEndpoints(access, runs, decisions).routes()
    if events:
        (tmp_path / "events.yaml").write_text(events)
        sources = read_event_sources(tmp_path / "events.yaml", pipelines)
        pending = PendingEvents(dispatcher.queue.store, sources, runs)
        replies = SlackReplies(dispatcher.queue.store, dispatcher.queue)
        dispatcher.tasks += [pending.process, replies.process]
        slack = SlackEndpoint(pending, replies, SlackDecisions(decisions), response_seconds)
        routes += EventEndpoint(sources, access, pending, slack).routes()
    app = HttpApp(Router(routes), RequestLimits(64_000, 5), InFlightBytes(10**6), lambda *_: None, True)
    opened = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{opened.getsockname()[1]}"
        yield Service(url, tokens, target, decisions, dispatcher, pipelines)
    finally:
        server.should_exit = True
        thread.join()
