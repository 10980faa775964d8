"""The errors that a person can act on, and the exit codes they end a command with.

| code | name | meaning |
|---|---|---|
| 0 | done | what was asked for is done (promoted, or nothing had changed) |
| 1 | unexpected | a defect: the traceback is printed |
| 2 | user error | an argument, a setting or the data is wrong; the message says what to do |
| 3 | rejected | the challenger was judged and not promoted; the champion stays |
| 4 | rolled back | the new version did not prove itself; the former one answers again |
| 75 | transient | something outside was not there for the moment; the same command may succeed later |
| 130 | interrupted | Ctrl-C; the next run takes it from there |
"""

import errno

REJECTED = 3
INTERRUPTED = 130


class PipelineError(Exception):
    """A failure that is understood: its message says what was wrong, where, and what to do."""

    exit_code = 1


class UserError(PipelineError, ValueError):
    """The input or the set-up is wrong, and trying again without a change will not help."""

    exit_code = 2


class RolledBack(PipelineError):
    """A new version was withdrawn, and the former one was seen to answer again."""

    exit_code = 4


class TransientError(PipelineError, ConnectionError):
    """Something outside failed in a way that may be gone on the next try."""

    exit_code = 75


def understand(error: PipelineError | OSError) -> PipelineError:
    """Return what the file system refused as an error that says which file and why; any other as it is.

    An OSError that is no matter of files is a defect, and is raised again.
    """
    if isinstance(error, PipelineError):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError(f"{error.filename or error}: no space is left: make room and run it again")
    if error.filename is None or error.strerror is None:
        raise error
    return UserError(f"{error.filename}: {error.strerror}")
