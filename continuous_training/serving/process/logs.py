"""Logs as JSON lines: one JSON object per line."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

_STANDARD_ATTRIBUTES = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

MAX_LOG = 10 * 1024**2
"""The size in bytes at which the log of a server is rotated. One older log is kept."""


class JsonLines(logging.Formatter):
    """Format a record as a JSON object: time (UTC), level, logger, message, `extra` and the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": time,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({key: value for key, value in vars(record).items() if key not in _STANDARD_ATTRIBUTES})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def to_stderr(level: int | str = logging.INFO) -> None:
    """Write all records from `level` upwards to standard error, as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)


def rotate(path: Path, limit: int = MAX_LOG) -> bool:
    """Empty a log of more than `limit` bytes after copying it to `NAME.1`. Return True if it was rotated.

    The file itself is kept, because it is the standard error of this process, opened in append mode. So the
    output of all libraries is also in the log after a rotation.
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
