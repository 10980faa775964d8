"""The verbs. Ctrl-C while one is still being imported, which takes a second, ends it in a line."""

import sys
from types import TracebackType


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: nothing had begun", file=sys.stderr)  # noqa: T201
    else:
        _before(kind, error, trace)


# The verbs catch what comes later; Python itself ends with the code 130.
_before, sys.excepthook = sys.excepthook, _tell
