"""Requests to the API server, tried again where that is right.

| what comes back | what is done |
|---|---|
| no connection, 408, 5xx | tried again, with growing pauses, for `patience` seconds |
| 429 | the same, after as long as Retry-After asks |
| 401, 403 just after the server was away | the same, for ten seconds: it does not know its callers yet |
| 409 of an apply | the same: the server lost a race with itself |
| 409 of a create or replace | ConflictError at once: what was read is old |
| 410 of a watch | listed anew (`watching`) |
| anything else | an error that says what to do (`errors`) |

So every request must be one that may be done twice without harm.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from continuous_training.adapters.kubernetes.errors import TRANSIENT, error_of, status_of
from continuous_training.adapters.kubernetes.retry import Patience
from continuous_training.core.errors import PipelineError, TransientError, UserError

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

JSON, APPLY = "application/json", "application/apply-patch+yaml"
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
_TOLD_AFTER = 2.0


@dataclass(frozen=True)
class Request:
    """A request, and `what` it is for in words ("apply Deployment x").

    `retried` are further statuses after which it is sent again; `seconds` is how long the server may be
    silent, None for ever.
    """

    method: str
    path: str
    what: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    retried: tuple[int, ...] = ()
    seconds: float | None = ANSWER_SECONDS


@dataclass(frozen=True)
class _Refusal:
    """An answer that is an error."""

    status: int
    data: bytes | str
    headers: Mapping[str, str]


class Transport:
    """The connection of one caller; `who` is its name in words, `say` hears of troubles that last."""

    def __init__(self, api: ApiClient, who: str, say: Callable[[str], None], patience: float) -> None:
        self.api, self.who, self.say, self.patience = api, who, say, patience
        self._lost: float | None = None

    @property
    def seconds_since_lost(self) -> float:
        """The seconds since the server was last seen to be away; infinity when it never was."""
        return math.inf if self._lost is None else time.monotonic() - self._lost

    @property
    def host(self) -> str:
        """The API server's address."""
        return str(self.api.configuration.host)

    def send(self, request: Request) -> Any:
        """Send the request, again where that is right; returns urllib3's response of a 2xx.

        TransientError when it did not succeed for `patience` seconds.
        """
        from urllib3.exceptions import HTTPError

        patience, told = Patience(self.patience), False
        while True:
            retry_after = None
            try:
                response = self.once(request)
            except HTTPError as error:
                patience.lost_connection()
                self._lost = time.monotonic()
                trouble: PipelineError = TransientError(
                    f"could not {request.what}: the API server {self.host} does not answer ({error})"
                )
            else:
                if response.status < 300:
                    return response
                trouble = error_of(response.status, status_of(response.data), request.what, self.who)
                if not self._again(response.status, trouble, request, patience):
                    raise trouble
                retry_after = response.headers.get("Retry-After")
            if patience.wait > _TOLD_AFTER and not told:
                told = True
                self.say(f"{trouble}; trying again for up to {self.patience:g} s")
            if not patience.again(retry_after):
                raise trouble

    def once(self, request: Request) -> Any:
        """Send the request once; returns a response of whatever status, with status, headers and data.

        Raises urllib3's HTTPError when there is no answer, UserError when TLS refuses the server.
        """
        from kubernetes.client import ApiException

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
            return _Refusal(error.status, error.body or b"", error.headers or {})
        return response

    @staticmethod
    def _again(status: int, trouble: PipelineError, request: Request, patience: Patience) -> bool:
        unknown = status in (401, 403) and patience.may_be_warming_up
        gone_soon = status in TRANSIENT and isinstance(trouble, TransientError)
        return gone_soon or status in request.retried or unknown
