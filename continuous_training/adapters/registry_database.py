"""The champion in the database of a local registry, read without a start of MLflow's server.

The server takes seconds to start, and a run on unchanged data needs no other content of the registry. The
names of the tables are from MLflow 3.17.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_QUERY = """
SELECT tag.value
FROM registered_model_aliases AS alias
JOIN model_versions AS version ON version.name = alias.name AND version.version = alias.version
JOIN model_version_tags AS tag ON tag.name = alias.name AND tag.version = alias.version
WHERE alias.name = ? AND alias.alias = 'champion' AND tag.key = 'archive_digest'
AND version.current_stage != 'Deleted_Internal'
"""


def read_champion_digest(database: Path, name: str) -> str | None:
    """Return the digest of a model's champion, or an empty text if it has none.

    Returns None if the database cannot be read: ask the server instead.
    """
    if not database.is_file():
        return ""
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(database.resolve()))}?mode=ro", uri=True)
        ) as connection:
            row = connection.execute(_QUERY, (name,)).fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else ""
