"""Logs as JSON lines: one object a line, for machines first and for people with `jq`."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

_KNOWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

MAX_LOG = 10 * 1024**2
"""The bytes at which a server's log begins anew; the former one is kept beside it, once."""


class JsonLines(logging.Formatter):
    """Writes time (UTC), level, logger, message, whatever `extra` holds, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _KNOWN})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def to_stderr(level: int | str = logging.INFO) -> None:
    """Log everything from `level` on to standard error, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def rotate(path: Path, limit: int = MAX_LOG) -> bool:
    """Begin a log anew that is over `limit` bytes, keeping what it held as `NAME.1`; says whether it did.

    The file stays the same one, since it is this process's standard error, opened to append: whatever is
    written to that, by whichever library, is in the log.
    """
    try:
        if path.stat().st_size <= limit:
            return False
    except FileNotFoundError:
        return False
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    with path.open("r+b") as log:
        log.truncate(0)
    return True
