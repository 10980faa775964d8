"""Errors of the trigger service. The message is for the client that sent the request."""

from __future__ import annotations

from continuous_training.core.errors import UserError


class QueueFullError(UserError):
    """A run of the workload already waits, with other parameters."""


class KeyReusedError(UserError):
    """A request has the key of an earlier request and asks for another run."""
