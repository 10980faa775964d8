"""Requests to the API server, with retries.

| result | handling |
|---|---|
| no connection, 408, 5xx | retried with exponential backoff within the retry budget |
| 429 | retried, after Retry-After |
| 401, 403 just after a lost connection | retried for ten seconds, because the server may have just started |
| 409 of an apply | retried: another write was faster |
| 409 of a create or replace | ConflictError at once: the object that was read is out of date |
| 410 of a watch | the objects are listed again (see watch.py) |
| anything else | an error with an action for the user (see errors.py) |

So every request must be idempotent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.kubernetes.errors import TRANSIENT, error_of, status_of
from continuous_training.adapters.kubernetes.retry import RetryBudget
from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.progress import Progress

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

JSON, APPLY, MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
_REPORT_BACKOFF = 2.0
"""The backoff in seconds from which on retries are reported."""


@dataclass(frozen=True)
class Request:
    """A request. `description` is the action in messages ("apply Deployment x").

    `retried` are further statuses that are retried. `seconds` is the read timeout, or None for no timeout.
    """

    method: str
    path: str
    description: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    retried: tuple[int, ...] = ()
    seconds: float | None = ANSWER_SECONDS


@dataclass(frozen=True)
class _ErrorResponse:
    """A response with an error status."""

    status: int
    data: bytes | str
    headers: Mapping[str, str]


class Transport:
    """The connection of one caller.

    `caller` is its name in messages. `progress` receives problems that last longer than a few attempts.
    `retry_budget` is the time in seconds within which a request is retried.
    """

    def __init__(self, api: ApiClient, caller: str, progress: Progress, retry_budget: float) -> None:
        self.api, self.caller, self.progress, self.retry_budget = api, caller, progress, retry_budget
        self._connection_lost: float | None = None

    @property
    def seconds_since_lost(self) -> float:
        """The seconds since the connection was last lost; infinity if it never was."""
        return math.inf if self._connection_lost is None else time.monotonic() - self._connection_lost

    @property
    def host(self) -> str:
        """The address of the API server."""
        return str(self.api.configuration.host)

    def send(self, request: Request) -> Any:
        """Send the request with retries. Return urllib3's response with a 2xx status.

        Raises TransientError if the request did not succeed within the retry budget.
        """
        from urllib3.exceptions import HTTPError  # start-up time: only steps on a cluster need it

        budget, reported = RetryBudget(self.retry_budget), False
        while True:
            retry_after = None
            try:
                response = self.once(request)
            except HTTPError as cause:
                budget.record_lost_connection()
                self._connection_lost = time.monotonic()
                error: PipelineError = TransientError(
                    f"could not {request.description}: the API server {self.host} does not answer ({cause})"
                )
            else:
                if response.status < 300:
                    return response
                error = error_of(response.status, status_of(response.data), request.description, self.caller)
                if not self._is_retryable(response.status, error, request, budget):
                    raise error
                retry_after = response.headers.get("Retry-After")
            if budget.backoff > _REPORT_BACKOFF and not reported:
                reported = True
                self.progress(f"{error}; trying again for up to {self.retry_budget:g} s")
            if not budget.wait(retry_after):
                raise error

    def once(self, request: Request) -> Any:
        """Send the request once. Return a response of any status, with status, headers and data.

        Raises urllib3's HTTPError without a response, and UserError if the server's certificate is invalid.
        """
        from kubernetes.client import ApiException  # start-up time: only steps on a cluster need it

        try:
            response, _, _ = self.api.call_api(
                request.path,
                request.method,
                query_params=[(key, value) for key, value in request.query.items() if value],
                header_params={"Content-Type": request.content_type, "Accept": "application/json, */*"},
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=(CONNECT_SECONDS, request.seconds),
            )
        except ApiException as error:
            if not error.status:
                raise UserError(f"the API server {self.host} cannot be trusted: {error.reason}") from None
            return _ErrorResponse(error.status, error.body or b"", error.headers or {})
        return response

    @staticmethod
    def _is_retryable(status: int, error: PipelineError, request: Request, budget: RetryBudget) -> bool:
        caller_unknown = status in (401, 403) and budget.may_be_warming_up
        is_transient = status in TRANSIENT and isinstance(error, TransientError)
        return is_transient or status in request.retried or caller_unknown
