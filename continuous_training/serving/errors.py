"""What can go wrong in serving, each as an error whose message says what to do."""

from __future__ import annotations

from continuous_training.core.errors import PipelineError, UserError


class VersionRejectedError(UserError):
    """A version was not taken, or not kept; what was served before is served still."""

    def __init__(self, message: str, reasons: list[str] | None = None) -> None:
        super().__init__(message)
        self.reasons = reasons or [message]


class RequestError(UserError):
    """A request cannot be answered as it is; the message is for the caller."""


class InvalidQueryError(RequestError):
    """A parameter of the query string has an invalid value."""


class UnsupportedMediaTypeError(RequestError):
    """The endpoint does not read bodies of the request's content type."""


class PathNotFoundError(UserError):
    """No resource exists at the requested path."""


class ModelNotFoundError(UserError):
    """No model of that name or version is served; the message lists the ones that are."""


class ModelNotReadyError(PipelineError):
    """A model should be served and is not (yet); the message says why."""


class EncodingError(ValueError):
    """An answer cannot be written as JSON; the message says what in it and why."""


class HandlerError(PipelineError):
    """A handler failed on a request that it should have answered; its own error is the cause."""


class VersionMismatchError(PipelineError):
    """Another version answered than the one that was asked."""


class OverloadedError(PipelineError):
    """Too many requests wait for their turn, or this one has waited too long; try again in a moment."""
