"""The callable to which long operations report their progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]
"""Reports one short line of progress to the user."""
