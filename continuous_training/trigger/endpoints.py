"""The endpoints of the trigger service."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.serving.api.endpoint import EndpointRequest, Response, Route, json_response
from continuous_training.serving.errors import RequestError, UnsupportedMediaTypeError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.authorization import Access, require
from continuous_training.trigger.caller_file import APPROVE, CANCEL, READ, ROLLBACK, START, Caller
from continuous_training.trigger.decisions import Decision, Decisions, RollbackRequest
from continuous_training.trigger.openapi import openapi_document
from continuous_training.trigger.queued_run import QueuedRun
from continuous_training.trigger.run_body import RunBody
from continuous_training.trigger.run_requests import RunRequests, in_thread
from continuous_training.trigger.run_view import RunView, view_run

log = logging.getLogger(__name__)

RUN_FIELDS = ("parameters", "reason", "key", "version")
CANCEL_FIELDS = DECISION_FIELDS = ("reason",)
ROLLBACK_FIELDS = ("reason", "version", "champion")


@dataclass(frozen=True)
class TriggerEndpoints:
    """The routes of the service.

    The store and the target are used in threads, so that a slow request does not block others.
    """

    access: Access
    runs: RunRequests
    decisions: Decisions

    def routes(self) -> list[Route]:
        """Return the routes. Only the root, the health and the OpenAPI document need no token."""
        return [
            Route("GET", "/", self._index),
            Route("GET", "/healthz", self._health),
            Route("GET", "/openapi.json", self._openapi),
            Route("GET", "/pipelines", self._list_pipelines),
            Route("POST", "/pipelines/{name}/runs", self._start_run),
            Route("POST", "/pipelines/{name}/rollback", self._roll_back),
            Route("POST", "/train", self._train),
            Route("GET", "/runs/{id}", self._read_run),
            Route("POST", "/runs/{id}/cancel", self._cancel_run),
            Route("POST", "/runs/{id}/approve", lambda request: self._decide(request, "approve")),
            Route("POST", "/runs/{id}/reject", lambda request: self._decide(request, "reject")),
        ]

    async def _index(self, _: EndpointRequest) -> Response:
        return json_response({"paths": [f"{route.method} {route.path}" for route in self.routes()]})

    async def _health(self, _: EndpointRequest) -> Response:
        return json_response({"status": "ok"})

    async def _openapi(self, _: EndpointRequest) -> Response:
        return json_response(openapi_document())

    async def _list_pipelines(self, request: EndpointRequest) -> Response:
        caller = await self.access.authenticate(request)
        visible = [entry for name, entry in sorted(self.runs.pipelines.items()) if caller.may(READ, name)]
        return json_response({"pipelines": [pipeline.to_json() for pipeline in visible]})

    async def _start_run(self, request: EndpointRequest) -> Response:
        caller = await self.access.authenticate(request, count=True)
        name = request.parameters["name"]
        require(caller, START, name)
        body = RunBody.parse(await _json_body(request), RUN_FIELDS)
        return await self._submit(caller, name, body)

    async def _train(self, request: EndpointRequest) -> Response:
        caller = await self.access.authenticate(request, count=True)
        body = RunBody.parse(await _json_body(request), ("workload", *RUN_FIELDS))
        name = body.workload or self._only_workload(caller)
        require(caller, START, name)
        return await self._submit(caller, name, body)

    async def _submit(self, caller: Caller, name: str, body: RunBody) -> Response:
        parameters = self.runs.pipeline(name).check(body.parameters)
        if parameters.get("accept"):
            # A person answers for data or a challenger that the gate rejects.
            require(caller, APPROVE, name)
        trigger = RunTrigger(caller.name, body.reason)

        def submit() -> tuple[RunView, bool]:
            submission = self.runs.submit(name, trigger, parameters, body.key, body.version)
            return self.runs.view(submission), submission.is_new

        view, is_new = await in_thread(submit)
        return json_response(view.to_json(), 202 if is_new else 200, location=f"/runs/{view.run.id}")

    async def _read_run(self, request: EndpointRequest) -> Response:
        run = await self._find_run(request, await self.access.authenticate(request), READ)
        return json_response((await self._view(run)).to_json())

    async def _cancel_run(self, request: EndpointRequest) -> Response:
        caller = await self.access.authenticate(request, count=True)
        run = await self._find_run(request, caller, CANCEL)
        body = RunBody.parse(await _json_body(request), CANCEL_FIELDS)
        view = await self._view(run)
        if not (view.status and view.status.verdict):
            await in_thread(lambda: self.runs.dispatcher.cancel(run, RunTrigger(caller.name, body.reason)))
            log.info("%s cancelled %s", caller.name, run.id)
            view = await self._view(run)
        return json_response(view.to_json(), 202)

    async def _decide(self, request: EndpointRequest, decision: Decision) -> Response:
        caller = await self.access.authenticate(request, count=True)
        run = await self._find_run(request, caller, APPROVE)
        body = RunBody.parse(await _json_body(request), DECISION_FIELDS)
        started = (await self._view(run)).ended_start()
        person = RunTrigger(caller.name, body.reason)
        await in_thread(lambda: self.decisions.review(run.workload, started.run, decision, person))
        log.info("%s: %s by %s", run.id, decision, caller.name)
        return json_response((await self._view(run)).to_json())

    async def _roll_back(self, request: EndpointRequest) -> Response:
        caller = await self.access.authenticate(request, count=True)
        name = request.parameters["name"]
        require(caller, ROLLBACK, name)
        self.runs.pipeline(name)
        body = RunBody.parse(await _json_body(request), ROLLBACK_FIELDS)
        rollback = RollbackRequest(body.version, body.champion)
        person = RunTrigger(caller.name, body.reason)
        record = await in_thread(lambda: self.decisions.roll_back(name, rollback, person))
        log.info("%s: %s by %s", name, record.verdict, caller.name)
        return json_response({"workload": name, **record.to_json()})

    async def _view(self, run: QueuedRun) -> RunView:
        return await in_thread(lambda: view_run(run, self.runs.dispatcher.queue, self.runs.dispatcher.target))

    async def _find_run(self, request: EndpointRequest, caller: Caller, right: str) -> QueuedRun:
        run_id = request.parameters["id"]
        run = await in_thread(lambda: self.runs.dispatcher.queue.find(run_id))
        # A caller without the right gets the same response for runs that exist and for others.
        if run is None or not caller.may(right, run.workload):
            raise HttpError(404, f"there is no run {run_id[:80]!r} that {caller.name} may {right}")
        return run

    def _only_workload(self, caller: Caller) -> str:
        names = [name for name in sorted(self.runs.pipelines) if caller.may(START, name)]
        if len(names) != 1:
            raise RequestError(f'set "workload" to one of: {", ".join(names) or "(none is permitted)"}')
        return names[0]


async def _json_body(request: EndpointRequest) -> bytes:
    """Read the body. Raises UnsupportedMediaTypeError for another content type than JSON."""
    body = await request.body()
    content_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
    if body and content_type != "application/json":
        raise UnsupportedMediaTypeError(
            "send the body as JSON, with the header content-type: application/json"
        )
    return body
