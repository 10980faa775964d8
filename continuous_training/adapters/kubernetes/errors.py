"""Convert error responses of the API server to errors with an action for the user."""

from __future__ import annotations

import json
import re

from continuous_training.core.errors import PipelineError, TransientError, UserError
from continuous_training.core.json_object import Json

TRANSIENT = {408, 429, 500, 502, 503, 504}
"""Statuses that the next attempt may not have. 500 is the status for an unreachable webhook."""

_NO_SUCH_FIELD = "failed to create typed patch object"
"""The message of a 500 response to an apply of fields that the kind's definition does not contain."""

_NOT_ALLOWED = re.compile(
    r'cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
)


_COMPONENTS = {
    "discovery.k8s.io": "components/kserve",
    "serving.kserve.io": "components/kserve",
    "trainer.kubeflow.org": "components/trainer",
}
"""The folders of the Roles that are not in the base, by API group."""


class ForbiddenError(UserError):
    """The caller's Role does not permit the request."""


class RefusedError(UserError):
    """Admission (quota, policy, webhook) or the validation of fields rejected an object."""


class NotThereError(UserError):
    """The object or its kind does not exist."""


class ConflictError(TransientError):
    """Another client changed the object first. Read it again."""


def status_of(body: bytes | str | None) -> Json:
    """Return the API's Status object in a body. Any other body becomes the message of a Status object."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
    try:
        status = json.loads(text)
    except ValueError:
        status = None
    return status if isinstance(status, dict) else {"message": text.strip()[:500]}


def _role_file(group: str) -> str:
    """Return the manifest with the shipped Role for the resources of an API group."""
    return f"manifests/{_COMPONENTS.get(group, 'base')}/role.yaml"


def error_of(code: int, status: Json, description: str, caller: str) -> PipelineError:
    """Return the error for a response with the status `code`.

    `description` is the action of the request ("apply Deployment x"), and `caller` the name of its sender.
    """
    message = str(status.get("message") or f"HTTP {code}")
    if code == 401:
        return UserError(f"Kubernetes does not know {caller}: {message}. Check the token or the kubeconfig")
    if code == 403 and (denied := _NOT_ALLOWED.search(message)):
        rule = f"verb {denied['verb']} on {denied['resource']} of API group {denied['group']!r}"
        return ForbiddenError(
            f"{caller} may not {description}: its Role lacks the {rule}. The shipped Role has it "
            f"({_role_file(denied['group'])}); apply it, or add the rule ({message})"
        )
    if code in (400, 403, 422) or (code == 500 and _NO_SUCH_FIELD in message):
        return RefusedError(f"Kubernetes refused to {description}: {message}")
    if code == 404:
        return NotThereError(f"Kubernetes could not {description}: {message}")
    if code == 409:
        return ConflictError(f"could not {description}: another client changed the object first: {message}")
    if code in TRANSIENT:
        return TransientError(f"Kubernetes could not {description}: {message} (HTTP {code}); try again later")
    return PipelineError(f"Kubernetes answered HTTP {code} to {description}: {message}")
