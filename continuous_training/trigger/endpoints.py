"""The endpoints of the trigger service."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.serving.api.endpoint import EndpointRequest, Response, Route, json_response
from continuous_training.serving.errors import RequestError, UnsupportedMediaTypeError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.callers import APPROVE, CANCEL, READ, START, Caller, CallerFile
from continuous_training.trigger.dispatcher import Dispatcher
from continuous_training.trigger.errors import KeyReusedError, QueueFullError
from continuous_training.trigger.openapi import openapi_document
from continuous_training.trigger.pipeline_parameters import TriggerPipeline
from continuous_training.trigger.queued_run import QueuedRun
from continuous_training.trigger.rate_limit import RateLimit
from continuous_training.trigger.run_body import RunBody
from continuous_training.trigger.run_view import RunView, view_run

log = logging.getLogger(__name__)

RUN_FIELDS = ("parameters", "reason", "key", "version")
CANCEL_FIELDS = ("reason",)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class TriggerEndpoints:
    """The routes of the service.

    The store and the target are used in threads, so that a slow request does not block others.
    """

    pipelines: Mapping[str, TriggerPipeline]
    callers: CallerFile
    dispatcher: Dispatcher
    rate_limit: RateLimit

    def routes(self) -> list[Route]:
        """Return the routes. Only the root, the health and the OpenAPI document need no token."""
        return [
            Route("GET", "/", self._index),
            Route("GET", "/healthz", self._health),
            Route("GET", "/openapi.json", self._openapi),
            Route("GET", "/pipelines", self._list_pipelines),
            Route("POST", "/pipelines/{name}/runs", self._start_run),
            Route("POST", "/train", self._train),
            Route("GET", "/runs/{id}", self._read_run),
            Route("POST", "/runs/{id}/cancel", self._cancel_run),
        ]

    async def _index(self, _: EndpointRequest) -> Response:
        return json_response({"paths": [f"{route.method} {route.path}" for route in self.routes()]})

    async def _health(self, _: EndpointRequest) -> Response:
        return json_response({"status": "ok"})

    async def _openapi(self, _: EndpointRequest) -> Response:
        return json_response(openapi_document())

    async def _list_pipelines(self, request: EndpointRequest) -> Response:
        caller = self._authenticate(request)
        visible = [entry for name, entry in sorted(self.pipelines.items()) if caller.may(READ, name)]
        return json_response({"pipelines": [pipeline.to_json() for pipeline in visible]})

    async def _start_run(self, request: EndpointRequest) -> Response:
        caller = self._authenticate(request, count=True)
        name = request.parameters["name"]
        self._require(caller, START, name)
        body = RunBody.parse(await _json_body(request), RUN_FIELDS)
        return await self._submit(caller, name, body)

    async def _train(self, request: EndpointRequest) -> Response:
        caller = self._authenticate(request, count=True)
        body = RunBody.parse(await _json_body(request), ("workload", *RUN_FIELDS))
        name = body.workload or self._only_workload(caller)
        self._require(caller, START, name)
        return await self._submit(caller, name, body)

    async def _submit(self, caller: Caller, name: str, body: RunBody) -> Response:
        pipeline = self.pipelines.get(name)
        if pipeline is None:
            raise HttpError(404, f"there is no pipeline {name[:80]!r}; GET /pipelines lists them")
        parameters = pipeline.check(body.parameters)
        if parameters.get("accept"):
            # A person answers for data that differ from those of the champion.
            self._require(caller, APPROVE, name)
        trigger = RunTrigger(caller.name, body.reason)
        queue, target = self.dispatcher.queue, self.dispatcher.target

        def submit() -> tuple[RunView, bool]:
            try:
                target.check_version(name, body.version)
            except TransientError:
                raise
            except UserError as error:
                raise RequestError(str(error)) from error
            submission = queue.submit(name, trigger, parameters, body.key, body.version)
            return RunView(submission.run, None, None, None), submission.is_new

        view, is_new = await _in_thread(submit)
        self.dispatcher.wake()
        log.info("%s requested %s (%s)", caller.name, view.run.id, "new" if is_new else "existing")
        if not is_new:
            view = await _in_thread(lambda: view_run(view.run, queue, target))
        return json_response(view.to_json(), 202 if is_new else 200, location=f"/runs/{view.run.id}")

    async def _read_run(self, request: EndpointRequest) -> Response:
        run = await self._find_run(request, self._authenticate(request), READ)
        return json_response((await self._view(run)).to_json())

    async def _cancel_run(self, request: EndpointRequest) -> Response:
        caller = self._authenticate(request, count=True)
        run = await self._find_run(request, caller, CANCEL)
        body = RunBody.parse(await _json_body(request), CANCEL_FIELDS)
        view = await self._view(run)
        if not (view.status and view.status.verdict):
            await _in_thread(lambda: self.dispatcher.cancel(run, RunTrigger(caller.name, body.reason)))
            log.info("%s cancelled %s", caller.name, run.id)
            view = await self._view(run)
        return json_response(view.to_json(), 202)

    async def _view(self, run: QueuedRun) -> RunView:
        return await _in_thread(lambda: view_run(run, self.dispatcher.queue, self.dispatcher.target))

    async def _find_run(self, request: EndpointRequest, caller: Caller, right: str) -> QueuedRun:
        run_id = request.parameters["id"]
        run = await _in_thread(lambda: self.dispatcher.queue.find(run_id))
        # A caller without the right gets the same response for runs that exist and for others.
        if run is None or not caller.may(right, run.workload):
            raise HttpError(404, f"there is no run {run_id[:80]!r} that {caller.name} may {right}")
        return run

    def _authenticate(self, request: EndpointRequest, count: bool = False) -> Caller:
        """Return the caller. Raises HttpError 401 without a valid token, and 429 for too many requests."""
        scheme, _, token = (request.header(b"authorization") or "").partition(" ")
        caller = self.callers.find(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            message = "the header Authorization: Bearer TOKEN is missing, or the token is not valid"
            raise HttpError(401, message, {"www-authenticate": "Bearer"})
        seconds = self.rate_limit.take(caller.name) if count else 0
        if seconds:
            message = f"{caller.name} may send {self.rate_limit.per_minute:g} requests per minute"
            raise HttpError(429, message, {"retry-after": str(math.ceil(seconds))})
        return caller

    def _require(self, caller: Caller, right: str, workload: str) -> None:
        if not caller.may(right, workload):
            raise HttpError(403, f"{caller.name} does not have the right {right!r} for {workload[:80]!r}")

    def _only_workload(self, caller: Caller) -> str:
        names = [name for name in sorted(self.pipelines) if caller.may(START, name)]
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


async def _in_thread(function: Callable[[], _Result]) -> _Result:
    """Run blocking work in a thread. Converts errors that a client can act on to responses."""
    try:
        return await asyncio.to_thread(function)
    except QueueFullError as error:
        raise HttpError(409, str(error), {"retry-after": "60"}) from error
    except KeyReusedError as error:
        raise HttpError(422, str(error)) from error
    except (RequestError, TransientError):
        raise
    except PipelineError as error:
        # The set-up of the service is wrong. The message can contain addresses, so only the log has it.
        log.error("the request failed: %s", error)
        raise HttpError(
            502, "the store or the pipelines cannot be used; see the log of the service"
        ) from error
