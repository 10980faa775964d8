"""Run a Python module in a separate process and measure its time and memory.

    python -m benchmarks.processes MODULE [ARGUMENT ...]

prints the output of the module and then one line of JSON with the measurements.
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
class ProcessResult:
    """Wall-clock seconds, CPU seconds and peak memory in MB of a process, and the JSON that it printed.

    CPU seconds include the child processes that it waited for. The peak is the maximum over these processes.
    `lines` is the number of lines of its output and its messages.
    """

    seconds: float
    cpu: float
    megabytes: float
    output: dict[str, Any]
    lines: int = 0


def run_measured(*arguments: str, codes: tuple[int, ...] = (0,)) -> ProcessResult:
    """Run `python -m arguments` and return its measurements, and its last line if it is JSON.

    Raises SystemExit if the exit code is not in `codes`.
    """
    # Linux includes the memory of the parent in the peak of a new process, so a small process starts it.
    launcher = subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    text, _ = launcher.communicate()
    *lines, last = [line for line in text.splitlines() if line] or [""]
    usage = json.loads(last) if launcher.returncode == 0 else {"code": launcher.returncode}
    if usage["code"] not in codes:
        sys.exit(f"{' '.join(arguments)} ended with {usage['code']}")
    output = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    count = len(lines) + usage["messages"]
    return ProcessResult(usage["seconds"], usage["cpu"], usage["megabytes"], output, count)


def main() -> None:
    """Run the module and print its measurements."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *sys.argv[1:]], stderr=subprocess.PIPE)
    messages = 0
    for line in process.stderr or ():
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
        messages += 1
    _, status, usage = os.wait4(process.pid, 0)
    measurements = {
        "seconds": time.perf_counter() - started,
        "cpu": usage.ru_utime + usage.ru_stime,
        # The unit of ru_maxrss on Linux is the kilobyte.
        "megabytes": usage.ru_maxrss / 1024,
        "messages": messages,
        "code": os.waitstatus_to_exitcode(status),
    }
    print(f"\n{json.dumps(measurements)}")


if __name__ == "__main__":
    main()
