"""A transfer in a separate process that kills itself with SIGKILL just before one of its writes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import workloads
from components.evaluate import step as evaluate
from pipelines.transfer.__main__ import main
from tests.components.killed_run import CONTEXT, PROCESS_TIMEOUT, KillAtWrite, RunEnvironment


def transfer_in_process(
    target: RunEnvironment, arguments: Sequence[str], workload_folders: Sequence[str], kill_at: int
) -> bool:
    """Run the command in a process. Return whether it was killed before write `kill_at` to the target."""
    exit_code = CONTEXT.Value("i", -1)
    inputs = (target, tuple(arguments), tuple(workload_folders), kill_at, exit_code)
    process = CONTEXT.Process(target=_run, args=inputs)
    process.start()
    process.join(PROCESS_TIMEOUT)
    assert process.exitcode in (0, -signal.SIGKILL)
    if process.exitcode == 0:
        assert exit_code.value == 0
    return process.exitcode != 0


def _run(
    target: RunEnvironment,
    arguments: tuple[str, ...],
    workload_folders: tuple[str, ...],
    kill_at: int,
    exit_code: Any,
) -> None:
    workloads.__path__ = list(workload_folders)
    os.environ["CT_STATE"] = str(target.state)
    # Rendering the report takes a second and writes nothing.
    evaluate.render_report = lambda _: "<html>"  # type: ignore[attr-defined]
    sys.addaudithook(KillAtWrite(target, kill_at))
    exit_code.value = main(list(arguments))
