"""Run a compiled pipeline with KFP's local runner: the same file that a cluster would run."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from continuous_training.core.progress import StepListener
from pipelines.local_run.progress_events import Transcript


def run_compiled(
    text: str,
    parameters: Mapping[str, Any],
    run_id: str,
    folder: Path,
    environment: Mapping[str, str],
    listener: StepListener,
) -> Transcript:
    """Run the pipeline of the IR YAML `text` in subprocesses, and return the transcript of its output.

    `folder` then contains the file that was run, `log.txt` and the artifacts. A failed step is the
    transcript's `failure`, and not an exception.
    """
    path = folder / "pipeline.yaml"
    path.write_text(resolve(text, run_id), encoding="utf-8")
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        transcript = Transcript(log, listener)
        with (
            _environment(environment),
            _interpreter(),
            contextlib.redirect_stdout(transcript),
        ):
            from kfp import components, local

            # KFP warns about every image without "python" in its name, and about each setting that applies
            # to clusters only. docs/pipeline.md describes this.
            warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp.local")
            warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
            local.init(
                local.SubprocessRunner(use_venv=False),
                pipeline_root=str(folder / "artifacts"),
                raise_on_error=True,
                enable_caching=False,
            )
            pipeline = components.load_component_from_file(str(path))
            try:
                pipeline(**parameters)
            except RuntimeError as error:
                if transcript.failure is None:
                    transcript.failure = ("pipeline", 1, str(error))
    return transcript


def resolve(text: str, run_id: str) -> str:
    """Replace the placeholders that the local runner does not replace, or replaces differently.

    Failed steps are not retried: a person waits for a local run, and can correct the cause and run it again.
    """
    text = re.sub(r"maxRetryCount: \d+", "maxRetryCount: 0", text)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace("{{$.pipeline_job_uuid}}", run_id).replace(
        "{{$.pipeline_job_schedule_time_utc}}", now
    )


@contextlib.contextmanager
def _interpreter() -> Iterator[None]:
    """Use this interpreter as `python3` in the steps, also if its path contains a space.

    KFP replaces each `python3` in a step's command, parameters included, by the unquoted path of the
    interpreter. Here, it replaces the name by itself, and PATH contains a script of this name.
    """
    # The script is not in the run's folder, because a colon in that path would separate two entries of PATH.
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        script = Path(folder, "python3")
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        previous, sys.executable = sys.executable, "python3"
        try:
            with _environment({"PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])}):
                yield
        finally:
            sys.executable = previous


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes of the steps, and restore the previous ones afterwards."""
    previous = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(previous)
