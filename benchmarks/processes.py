"""Runs a Python module in a process of its own, and says what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Taken:
    """What a whole process took, in seconds, CPU seconds and MB at its peak, and the JSON that it printed."""

    seconds: float
    cpu: float
    megabytes: float
    told: dict[str, Any]


def measured(*arguments: str) -> Taken:
    """Run `python -m arguments` to its end; SystemExit when it fails. Its last line may be JSON."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    lines = process.stdout.read().decode().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {process.returncode}")
    # Linux counts in kilobytes.
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told)
