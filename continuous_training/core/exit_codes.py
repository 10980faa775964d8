"""The exit codes of all commands and steps."""

DONE = 0
"""The command succeeded: a model was promoted, or nothing had changed."""

DEFECT = 1
"""An unexpected error. The traceback is printed."""

USER_ERROR = 2
"""An argument, a setting or the data is wrong. The message states what to do."""

REJECTED = 3
"""The challenger was evaluated and not promoted. The champion is kept."""

REVERTED = 4
"""The new version failed its rollout, and the previous version was verified to answer again."""

WAITING = 5
"""The challenger passed the gate and waits for the approval of a person. The champion is kept."""

UNSETTLED = 6
"""Endpoint and registry disagree, or a rollout was neither finished nor reverted."""

TRANSIENT = 75
"""An external dependency was temporarily unavailable. The same command may succeed later."""

INTERRUPTED = 130
"""Ctrl-C or SIGTERM, or a run on a cluster that a person terminated.

The next run continues from the last completed write.
"""


def exit_code_of(verdict: str) -> int:
    """Return the exit code of a command or step that completed with a verdict.

    A command that fails or is interrupted has the exit code of its error.
    """
    return {"rejected": REJECTED, "waiting": WAITING}.get(verdict, DONE)
