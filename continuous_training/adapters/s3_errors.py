"""Convert the errors of S3 services: those that need a change of the set-up, and temporary ones."""

from __future__ import annotations

import re

from continuous_training.core.errors import PipelineError, TransientError, UserError

NO_BUCKET = "the bucket does not exist; create it, or use another one"
_KEYS = "check the access key and its secret (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
_TOKEN = "the temporary credentials have expired or are invalid; renew them (AWS_SESSION_TOKEN)"  # noqa: S105
_REGION = "the bucket is in another region; add region=REGION to the address, and its endpoint if it has one"
_REDIRECT = "the server redirects to another endpoint, which is not followed; use the endpoint of the bucket"
_CLOCK = "the clock of this machine differs from the server's by more than 15 minutes; correct it"
_DISABLED = "the key is disabled; enable it, or use another one"
_ARCHIVED = "the object is archived; restore it, or copy it to a storage class that can be read at once"
_ACTIONS = {
    "NoSuchBucket": NO_BUCKET,
    **dict.fromkeys(("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"), _KEYS),
    **dict.fromkeys(
        ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"), _TOKEN
    ),
    **dict.fromkeys(
        ("AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "IncorrectEndpoint"), _REGION
    ),
    **dict.fromkeys(("PermanentRedirect", "TemporaryRedirect", "Redirect"), _REDIRECT),
    **dict.fromkeys(("RequestTimeTooSkewed", "RequestExpired"), _CLOCK),
    **dict.fromkeys(
        (
            *(
                "AllAccessDisabled",
                "AccountProblem",
                "InactiveAccessKey",
                "AccessKeyDisabled",
                "UserDisabled",
            ),
            *("KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException"),
        ),
        _DISABLED,
    ),
    **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), _ARCHIVED),
}
_TRANSIENT = {
    *("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"),
    *("OperationAborted", "ConditionalRequestConflict", "PreconditionFailed", "BandwidthLimitExceeded"),
}
_TRANSIENT_STATUSES = {408, 409, 412, 425, 429}


def convert(error: Exception, store: str) -> PipelineError:
    """Return the error for an exception of the client. `store` is the name of the store in messages."""
    if isinstance(error, PipelineError):
        return error
    code, status, region = _code(error), _status(error), _region(error)
    if isinstance(error, ValueError) and not code:
        keys = "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if "credentials" in str(error) else ""
        return UserError(f"{store}: {error}{keys}")
    if action := _ACTIONS.get(code):
        if region and action in (_REGION, _REDIRECT):
            action = f"the bucket is in the region {region}; add region={region} to the address"
        return UserError(
            f"{store}: refused ({code}); {action}" if code != "NoSuchBucket" else f"{store}: {action}"
        )
    is_user_error = 300 <= status < 500 and status not in _TRANSIENT_STATUSES and code not in _TRANSIENT
    if is_user_error:
        message = getattr(error, "message", "") or f"HTTP {status}"
        return UserError(
            f"{store}: refused ({code or f'HTTP {status}'}): {message}; check the address and the keys"
        )
    return TransientError(f"{store}: {code or type(error).__name__}: {error}")


def _code(error: Exception) -> str:
    # The client does not parse errors with the content type text/xml.
    match = re.search(r"<Code>([\w.]+)</Code>", str(error))
    return str(getattr(error, "code", "") or (match[1] if match else ""))


def _status(error: Exception) -> int:
    """Return the HTTP status of an error, or 0."""
    response = getattr(error, "response", None)
    status = getattr(response, "status", 0) or getattr(error, "status_code", 0) or getattr(error, "_code", 0)
    return status if isinstance(status, int) else 0


def _region(error: Exception) -> str:
    """Return the region that a response names for the bucket, or an empty text."""
    response = getattr(error, "response", None)
    region = response.headers.get("x-amz-bucket-region") if response is not None else None
    body = getattr(response, "data", b"") or b""
    match = re.search(r"<Region>([\w-]+)</Region>", f"{error}{body.decode(errors='replace')}")
    return str(region or (match[1] if match else ""))
