"""Check a request for a run, and add the run to the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.errors import PipelineError, TransientError
from continuous_training.core.run_parameters import Value
from continuous_training.serving.errors import RequestError
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.dispatcher import Dispatcher
from continuous_training.trigger.errors import KeyReusedError, QueueFullError
from continuous_training.trigger.pipeline_parameters import TriggerPipeline
from continuous_training.trigger.run_queue import Submission
from continuous_training.trigger.run_view import RunView, view_run

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class RunRequests:
    """Adds runs of the pipelines to the queue of the dispatcher. The methods block."""

    pipelines: Mapping[str, TriggerPipeline]
    dispatcher: Dispatcher

    def pipeline(self, name: str) -> TriggerPipeline:
        """Return the pipeline of that name. Raises HttpError 404 if there is none."""
        if name not in self.pipelines:
            raise HttpError(404, f"there is no pipeline {name[:80]!r}; GET /pipelines lists them")
        return self.pipelines[name]

    def submit(
        self,
        workload: str,
        trigger: RunTrigger,
        parameters: Mapping[str, Value],
        key: str = "",
        version: str = "",
    ) -> Submission:
        """Add a run with checked parameters. Raises RequestError for a version that does not exist."""
        self.dispatcher.target.check_version(workload, version)
        submission = self.dispatcher.queue.submit(workload, trigger, parameters, key, version)
        state = "new" if submission.is_new else "existing"
        log.info("%s requested %s (%s)", trigger.caller, submission.run.id, state)
        self.dispatcher.wake()
        return submission

    def view(self, submission: Submission) -> RunView:
        """Return the state of the run for a response."""
        if submission.is_new:
            return RunView(submission.run, None, None, None)
        return view_run(submission.run, self.dispatcher.queue, self.dispatcher.target)


async def in_thread(function: Callable[[], _Result]) -> _Result:
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
        raise HttpError(502, "the store or the pipelines cannot be used; see the service's log") from error
