"""The signatures of GitHub, MLflow and Slack. Each function compares in constant time."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Iterable

from continuous_training.serving.http.errors import HttpError
from continuous_training.trigger.events.run_event import Header

REPLAY_SECONDS = 300
"""How much the time of a signed request may differ from the time of this machine."""


def verify_github(header: Header, body: bytes, secrets: Iterable[bytes]) -> None:
    """Verify `X-Hub-Signature-256`.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    """
    expected = [b"sha256=" + _hmac(secret, body).hex().encode() for secret in secrets]
    _require_match(header(b"x-hub-signature-256"), expected)


def verify_slack(header: Header, body: bytes, secrets: Iterable[bytes]) -> None:
    """Verify `X-Slack-Signature` and `X-Slack-Request-Timestamp`.

    https://docs.slack.dev/authentication/verifying-requests-from-slack
    """
    timestamp = _recent_timestamp(header(b"x-slack-request-timestamp"))
    content = b"v0:" + timestamp + b":" + body
    expected = [b"v0=" + _hmac(secret, content).hex().encode() for secret in secrets]
    _require_match(header(b"x-slack-signature"), expected)


def verify_mlflow(header: Header, body: bytes, secrets: Iterable[bytes]) -> None:
    """Verify `X-MLflow-Signature`, which covers the id of the delivery and its time.

    https://mlflow.org/docs/latest/ml/webhooks/
    """
    timestamp = _recent_timestamp(header(b"x-mlflow-timestamp"))
    delivery = (header(b"x-mlflow-delivery-id") or "").encode("latin-1")
    content = delivery + b"." + timestamp + b"." + body
    expected = [b"v1," + base64.b64encode(_hmac(secret, content)) for secret in secrets]
    _require_match(header(b"x-mlflow-signature"), expected)


def _hmac(secret: bytes, content: bytes) -> bytes:
    return hmac.digest(secret, content, hashlib.sha256)


def _recent_timestamp(value: str | None) -> bytes:
    """Return the timestamp of a request. Raises HttpError 401 if it is not recent."""
    text = value or ""
    is_recent = text.isascii() and text.isdecimal() and len(text) <= 12
    if not is_recent or abs(time.time() - int(text)) > REPLAY_SECONDS:
        raise HttpError(401, f"the time of the request is not within {REPLAY_SECONDS} seconds of now")
    return text.encode()


def _require_match(value: str | None, expected: list[bytes]) -> None:
    received = (value or "").encode("latin-1", "replace")
    # All secrets are compared, so that the time does not depend on which one matches.
    if not sum(hmac.compare_digest(received, signature) for signature in expected):
        raise HttpError(401, "the signature of the request is missing or wrong")
