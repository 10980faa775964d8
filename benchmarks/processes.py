"""Runs a Python module in a process of its own, and says what it took.

    python -m benchmarks.processes MODULE [ARGUMENT ...]

prints what the module prints and then, in a line of JSON, what it took.
"""

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
    """What a whole process took, in seconds, CPU seconds and MB at its peak, and the JSON that it printed.

    CPU seconds are with those of the processes that it waited for, and the peak is the largest one's.
    """

    seconds: float
    cpu: float
    megabytes: float
    told: dict[str, Any]


def measured(*arguments: str, codes: tuple[int, ...] = (0,)) -> Taken:
    """Run `python -m arguments` to its end; its last line may be JSON.

    SystemExit when it ends with none of the exit codes `codes`.
    """
    # Linux counts the memory of whoever starts a process as the process's own, so a small one starts it.
    small = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    output, _ = small.communicate()
    *lines, last = [line for line in output.splitlines() if line] or [""]
    took = json.loads(last) if small.returncode == 0 else {"code": small.returncode}
    if took["code"] not in codes:
        sys.exit(f"{' '.join(arguments)} ended with {took['code']}")
    told = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Taken(took["seconds"], took["cpu"], took["megabytes"], told)


def main() -> None:
    """Run the module and print what it took."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]])
    _, status, usage = os.wait4(process.pid, 0)
    taken = {
        "seconds": time.perf_counter() - began,
        "cpu": usage.ru_utime + usage.ru_stime,
        # Linux counts in kilobytes.
        "megabytes": usage.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status),
    }
    print(f"\n{json.dumps(taken)}")


if __name__ == "__main__":
    main()
