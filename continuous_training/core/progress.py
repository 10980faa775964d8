"""The callables to which long operations report their progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Progress = Callable[[str], None]
"""Reports one short line of progress to the user."""

StepEvent = Literal["starts", "says", "done", "failed"]

StepListener = Callable[[str, StepEvent, str], None]
"""Called with the name of a step, what happened to it, and its message if it has one."""
