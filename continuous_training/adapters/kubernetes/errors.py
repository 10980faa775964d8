"""What an API server answered, as an error that says what to do."""

from __future__ import annotations

import json
import re
from typing import Any

from continuous_training.core.errors import PipelineError, TransientError, UserError

TRANSIENT = {408, 429, 500, 502, 503, 504}
"""Statuses that may be gone on the next try; 500 is what a webhook that cannot be reached gives."""

_NO_SUCH_FIELD = "failed to create typed patch object"
"""How a server refuses, with a 500, an apply of fields that its definition of the kind has not."""

_NOT_ALLOWED = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
)


class ForbiddenError(UserError):
    """The Role does not allow it."""


class RefusedError(UserError):
    """Admission (a quota, a policy, a webhook) or the validation of fields would not have an object."""


class NotThereError(UserError):
    """The object, or its whole kind, is not there."""


class ConflictError(TransientError):
    """Somebody else changed the object first: read it again."""


def status_of(body: bytes | str | None) -> dict[str, Any]:
    """Return the API's Status object in a body; what is none becomes its message."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"message": text.strip()[:500]}


def error_of(code: int, status: dict[str, Any], what: str, who: str) -> PipelineError:
    """Return the error for an answer of `code` to `what` ("apply Deployment x"), asked by `who`."""
    message = str(status.get("message") or f"HTTP {code}")
    if code == 401:
        return UserError(f"Kubernetes does not know {who}: {message}. Look at the token or the kubeconfig")
    if code == 403 and (denied := _NOT_ALLOWED.search(message)):
        rule = f"verb {denied['verb']} on {denied['resource']} of API group {denied['group']!r}"
        return ForbiddenError(
            f"{who} may not {what}: its Role lacks the {rule}. The shipped Role has it "
            f"(manifests/base/role.yaml); apply it, or add the rule ({message})"
        )
    if code in (400, 403, 422) or (code == 500 and _NO_SUCH_FIELD in message):
        return RefusedError(f"Kubernetes refused to {what}: {message}")
    if code == 404:
        return NotThereError(f"Kubernetes could not {what}: {message}")
    if code == 409:
        return ConflictError(f"{what}: somebody else was faster: {message}")
    if code in TRANSIENT:
        return TransientError(f"Kubernetes could not {what}: {message} (HTTP {code}); try again later")
    return PipelineError(f"Kubernetes answered HTTP {code} to {what}: {message}")
