"""Ids of runs."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime


def new_run_id(prefix: str) -> str:
    """Return an id for a run: the prefix, the time in UTC, and four random digits."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    return f"{prefix}-{now}-{secrets.token_hex(2)}"
