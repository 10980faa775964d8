"""Run a workload's pipeline with KFP's local runner, in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from continuous_training.core.progress import StepListener
from continuous_training.core.run_parameters import Values
from pipelines.local_run.progress_events import Transcript


def run_pipeline(
    workload: str,
    parameters: Values,
    run_id: str,
    folder: Path,
    environment: Mapping[str, str],
    listener: StepListener,
) -> Transcript:
    """Compile the workload's pipeline, run that file, and return the transcript of the output.

    `folder` then contains the file, `log.txt` and the artifacts. `environment` are additional environment
    variables of the steps. A failed step is the transcript's `failure`, and not an exception.
    """
    module = "pipelines.local_run.kfp_process"
    command = [sys.executable, "-m", module, workload, json.dumps(parameters), run_id, str(folder)]
    with (
        (folder / "log.txt").open("a", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            # The process ends when this pipe is closed: after an exception, or if this process is killed.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, **environment},
        ) as process,
    ):
        transcript = Transcript(log, listener)
        for line in process.stdout or ():
            transcript.add(line)
        code = process.wait()
    if code and transcript.failure is None:
        message = f"KFP ended with exit code {code}; the log contains its output"
        transcript.failure = ("pipeline", 1, message)
    return transcript
