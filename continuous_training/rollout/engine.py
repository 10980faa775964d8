"""The rollout engine: move an endpoint to a new version, or restore the previous version.

The engine is the same for every deployment target. Its order of operations is part of its contract:

1. `target.begin_trial` verifies the golden requests before the new version receives traffic, then moves the
   traffic.
2. The engine verifies the golden requests again, through the public endpoint.
3. `make_champion` moves the alias in the registry.
4. `target.confirm` ends the trial.

If one of the first three fails, the engine reverts the trial and verifies the previous version: all of its
servers are ready and answer its golden requests. After the alias has moved, the engine does not revert: if
the trial has expired in the meantime, the engine serves the version again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.errors import PipelineError, RolloutReverted, TransientError, UnsettledError
from continuous_training.core.messages import extend_message
from continuous_training.core.progress import Progress
from continuous_training.rollout.golden_verification import read_golden_set, verify
from continuous_training.rollout.restore_verification import describe_restored, short
from continuous_training.rollout.target_interface import DeploymentTarget

_NEXT_ROLLOUT = "the next rollout of the model, or a retry of this step, restores the previous version"


def roll_out(
    target: DeploymentTarget,
    name: str,
    archive: Path,
    digest: str,
    make_champion: Callable[[], None],
    progress: Progress,
    status_command: str = "",
) -> None:
    """Serve the archive under `name`, and call `make_champion` after its golden requests are verified.

    The caller holds `target.rollout_lock(name)`. `status_command` shows a person how to serve the champion.

    Raises RolloutReverted if the version is refused or answers incorrectly, and the error of `make_champion`
    if that fails. In both cases the previous version was verified to be complete and to answer again.
    Raises UnsettledError, or TransientError for a temporary cause, if the revert or its verification fails.
    Raises UnsettledError if the version is the champion and its trial cannot be ended.
    """
    previous = target.served_digest(name)
    golden_before = _golden_requests(target, name) if previous else None
    progress(f"switching {name} from {short(previous)} to {short(digest)}, on trial")
    try:
        target.begin_trial(name, archive, digest)
    except PipelineError as error:
        # The class of a full disk is preserved: it is not retried.
        kind = type(error) if isinstance(error, TransientError) else RolloutReverted
        message = f"{name} {short(digest)} was refused: {error}"
        if isinstance(error, UnsettledError):
            # The target could not restore the previous version, and keeps what the next rollout needs for it.
            raise UnsettledError(f"{message}; {_NEXT_ROLLOUT}") from error
        raise _failure(kind, message, target, name, previous, golden_before) from error
    except BaseException:
        # After an interruption the traffic may have moved already.
        if previous != digest:
            target.revert(name, digest)
        raise
    try:
        golden = read_golden_set(archive)
        verify(golden, lambda request: target.predict(name, request, digest), RolloutReverted)
        progress("golden requests: all responses through the endpoint are correct")
        make_champion()
    except PipelineError as error:
        message = f"{name} {short(digest)} was reverted: {error}"
        revert = None if previous == digest else digest
        raise _failure(type(error), message, target, name, previous, golden_before, revert) from error
    except BaseException:
        if previous != digest:
            target.revert(name, digest)
        raise
    _confirm(target, name, archive, digest, progress, status_command)


def _confirm(
    target: DeploymentTarget, name: str, archive: Path, digest: str, progress: Progress, status_command: str
) -> None:
    """End the trial of the champion. If that fails, for example after it expired, serve the version again."""
    try:
        target.confirm(name, digest)
        return
    except PipelineError as error:
        progress(f"the trial of {name} {short(digest)} did not end ({error}): serving the version again")
    try:
        target.begin_trial(name, archive, digest)
        golden = read_golden_set(archive)
        verify(golden, lambda request: target.predict(name, request, digest), RolloutReverted)
        target.confirm(name, digest)
    except PipelineError as error:
        remedy = f". To see the command that serves it at once:\n{status_command}" if status_command else ""
        raise UnsettledError(
            f"the registry's champion of {name} is {short(digest)} now, but its trial at the endpoint could "
            f"not be ended: {error}. The end of this run, or the next run, serves the champion{remedy}"
        ) from error


def _failure(
    kind: type[PipelineError],
    message: str,
    target: DeploymentTarget,
    name: str,
    previous: str | None,
    golden: GoldenSet | None,
    revert: str | None = None,
) -> PipelineError:
    """Return the error of a failed rollout, with the verified state of the endpoint.

    Reverts the version `revert` first, if given. The error is of type `kind` if the state was verified.
    Otherwise it is a TransientError if the verification may succeed later, else an UnsettledError.
    """
    try:
        if revert is not None:
            target.revert(name, revert)
        return kind(extend_message(message, describe_restored(target, name, previous, golden)))
    except PipelineError as error:
        addition = f"the previous version {short(previous)} was not verified to answer again: {error}"
        cause = extend_message(message, addition)
        if isinstance(error, TransientError):
            return TransientError(cause)
        return UnsettledError(f"{cause}; {_NEXT_ROLLOUT}")


def _golden_requests(target: DeploymentTarget, name: str) -> GoldenSet | None:
    """Return the golden requests of the served version, which verify it after a revert.

    They are read before the trial begins, because the store may be unavailable later. Returns None if they
    cannot be read for a cause that is not temporary: a missing archive must not prevent its replacement.
    """
    try:
        return target.served_golden_requests(name)
    except TransientError:
        raise
    except PipelineError:
        return None
