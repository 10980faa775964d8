"""The rollout: a version proves itself by its answers, or the former one comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from continuous_training.artifacts import archive as archives
from continuous_training.core.errors import PipelineError, RolloutReverted, TransientError
from continuous_training.core.progress import Progress
from continuous_training.rollout.target import DeploymentTarget


def roll_out(
    target: DeploymentTarget,
    name: str,
    archive: Path,
    digest: str,
    make_champion: Callable[[], None],
    progress: Progress,
) -> None:
    """Serve the archive under `name` and call `make_champion` once its golden requests are answered right.

    The endpoint asks the new version its golden requests before the switch, and this function asks them
    through the endpoint after it. Whatever fails, the registry's alias included, puts the former version
    back: then RolloutReverted is raised when that one is seen to answer, with the reason; its own golden
    requests decide.
    """
    former = target.served_digest(name)
    progress(f"switching {name} from {_short(former)} to {_short(digest)}, on trial")
    try:
        target.begin_trial(name, archive, digest)
    except PipelineError as error:
        kind = TransientError if isinstance(error, TransientError) else RolloutReverted
        raise _told(kind, f"{name} {_short(digest)} was refused: {error}", target, name, former) from error
    except BaseException:
        # Interrupted: it may have switched already.
        if former != digest:
            target.revert(name, digest)
        raise
    try:
        wrong = archives.read_manifest(archive).golden.check(
            lambda request: target.predict(name, request, digest)
        )
        if wrong:
            raise RolloutReverted("its golden requests are answered wrongly: " + "; ".join(wrong[:3]))
        progress("golden requests are answered right through the endpoint")
        make_champion()
    except PipelineError as error:
        words = f"{name} {_short(digest)} was withdrawn: {error}"
        raise _told(type(error), words, target, name, former, None if former == digest else digest) from error
    except BaseException:
        if former != digest:
            target.revert(name, digest)
        raise
    target.confirm(name, digest)


def _told(
    kind: type[PipelineError],
    words: str,
    target: DeploymentTarget,
    name: str,
    former: str | None,
    withdrawn: str | None = None,
) -> PipelineError:
    """Return the error of a rollout that failed, with what the endpoint was seen to answer afterwards.

    `withdrawn` is withdrawn first. When that or the looking fails, the error is of that failure's kind:
    then nobody has seen the former version answer.
    """
    try:
        if withdrawn is not None:
            target.revert(name, withdrawn)
        return kind(f"{words}; {_seen(target, name, former)}")
    except PipelineError as trouble:
        unseen = TransientError if isinstance(trouble, TransientError) else PipelineError
        return unseen(f"{words}; the former version {_short(former)} was not seen to answer: {trouble}")


def _seen(target: DeploymentTarget, name: str, former: str | None) -> str:
    """Look whether the former version answers, and say what was seen."""
    now = target.served_digest(name)
    if now != former:
        return f"the endpoint now serves {_short(now)}, not {_short(former)}"
    if former is None:
        return "nothing was served before, and nothing is now"
    wrong = target.served_golden_requests(name).check(lambda request: target.predict(name, request, former))
    if wrong:
        return f"the former version {_short(former)} is back but answers wrongly: {'; '.join(wrong[:3])}"
    return f"the former version {_short(former)} answers again, as it did before"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "nothing"
