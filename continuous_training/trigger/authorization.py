"""Identify the caller of a request by its token, and check its rights."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from continuous_training.serving.api.endpoint import EndpointRequest
from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.caller_file import Caller, CallerFile
from continuous_training.trigger.rate_limit import RateLimit

_THREADS = ThreadPoolExecutor(4, thread_name_prefix="token")
"""Threads that verify tokens. While an issuer does not answer, the threads that use the store stay free."""


@dataclass(frozen=True)
class Access:
    """The callers of the service, and the limit of their requests."""

    callers: CallerFile
    rate_limit: RateLimit

    async def authenticate(self, request: EndpointRequest, count: bool = False) -> Caller:
        """Return the caller. Raises HttpError 401 without a valid token.

        With `count`, the request counts for the rate limit, and HttpError 429 is raised for too many.
        """
        scheme, _, token = (request.header(b"authorization") or "").partition(" ")
        caller = await self._find(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            message = "the header Authorization: Bearer TOKEN is missing, or the token is not valid"
            raise HttpError(401, message, {"www-authenticate": "Bearer"})
        if count:
            self.count(caller.name)
        return caller

    async def _find(self, token: str) -> Caller | None:
        if caller := self.callers.find(token):
            return caller
        # The keys of an issuer may have to be requested, which must not block the event loop.
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self.callers.find_by_claims, token)

    def count(self, name: str) -> None:
        """Count a request. Raises HttpError 429 if there are too many."""
        seconds = self.rate_limit.take(name)
        if seconds:
            message = f"{name} may send {self.rate_limit.per_minute:g} requests per minute"
            raise HttpError(429, message, {"retry-after": str(math.ceil(seconds))})


def require(caller: Caller, right: str, workload: str) -> None:
    """Raise HttpError 403 if the caller does not have the right on the workload."""
    if not caller.may(right, workload):
        raise HttpError(403, f"{caller.name} does not have the right {right!r} for {workload[:80]!r}")
