"""What an archive may hold: names that are safe on every file system, within limits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_BYTES = 2 * 1024**3
"""The most bytes that an archive's members may hold together, once unpacked."""

MAX_MEMBERS = 10_000
"""The most members that an archive may have."""

MAX_RATIO = 200
"""The most times a member may grow when it is unpacked (beyond its first megabyte)."""

MAX_MANIFEST = 64 * 1024**2
"""The most bytes that `archive.json` may hold."""

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def name_fault(name: str) -> str | None:
    """Say in words why a member's name is not a plain relative path, or None when it is one."""
    if not name or _CONTROL.search(name):
        return "its name is empty or holds control characters"
    if "\\" in name:
        return "its name holds a backslash"
    if name.startswith("/") or _DRIVE.match(name):
        return "its name is an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "its name climbs out of the archive with '..'"
    if "" in parts or "." in parts:
        return "it is a folder, or its name has empty parts"
    return None


def clash(names: Iterable[str]) -> str | None:
    """Find a name that some file system would take for another one, or for another one's folder."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in seen:
            return name
        seen.add(folded)
        parts = folded.split("/")
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    return next(iter(sorted(seen & folders)), None)
