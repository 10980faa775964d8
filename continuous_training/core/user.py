"""The user of a command."""

from __future__ import annotations

import getpass


def user_name() -> str:
    """Return the name of the user of this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # The numeric user of a container has no name.
        return "unknown"
