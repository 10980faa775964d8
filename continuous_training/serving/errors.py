"""Errors of the model server. Each message states what to do."""

from __future__ import annotations

from continuous_training.core.errors import PipelineError, UserError


class VersionRejectedError(UserError):
    """The server did not load, confirm or revert a version. The served versions are unchanged.

    `reasons` lists every reason, for example each golden response that differs.
    """

    def __init__(self, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.reasons = reasons or [message]


class RequestError(UserError):
    """A request is invalid. The message is for the client that sent it."""


class InvalidQueryError(RequestError):
    """A parameter of the query string has an invalid value."""


class UnsupportedMediaTypeError(RequestError):
    """The endpoint does not read bodies of the request's content type."""


class PathNotFoundError(UserError):
    """No resource exists at the requested path."""


class ModelNotFoundError(UserError):
    """No model of the requested name or version is served. The message lists the served ones."""


class ModelNotReadyError(PipelineError):
    """A configured model is not loaded (yet). The message states why."""


class EncodingError(ValueError):
    """A response cannot be encoded as JSON. The message names the value and the reason."""


class HandlerError(PipelineError):
    """A handler failed on a request. The handler's own error is the cause."""


class VersionMismatchError(PipelineError):
    """Another version than the expected one responded."""


class OverloadedError(PipelineError):
    """The request queue is full, or a request waited longer than its timeout. The client can retry."""
