"""The rows of the database of a local registry, for the comparison of two databases."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path


def content(folder: Path) -> list[str]:
    """Return a statement for each row, with numbers instead of random ids and without times, sorted."""
    ids: dict[str, str] = {}
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        text = "\n".join(line for line in connection.iterdump() if line.startswith("INSERT"))
    text = re.sub(r"\b[0-9a-f]{32}\b", lambda match: ids.setdefault(match[0], f"id {len(ids)}"), text)
    text = re.sub(r"\b1[0-9]{12}\b|\b20[0-9-]{8}T[0-9:.]{15}Z", "time", text)
    return sorted(text.splitlines())
