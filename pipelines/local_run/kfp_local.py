"""Runs a compiled pipeline on this machine: the very file that a cluster would get, by KFP's local runner."""

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
    """Run the pipeline of the IR YAML `text` in subprocesses; returns what it said.

    Everything it writes is in `folder`: the file as it was run, `log.txt` and the artifacts. A failed
    step is in the transcript's `failure`; nothing is raised for it.
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

            # KFP warns of every image whose name does not say python, and of each setting that is the
            # cluster's alone; docs/pipeline.md says so once.
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
    """Put values where the local runner knows no placeholder, or one of its own.

    A step that fails is not tried again: here somebody waits, and may run it again when the cause is mended.
    """
    text = re.sub(r"maxRetryCount: \d+", "maxRetryCount: 0", text)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace("{{$.pipeline_job_uuid}}", run_id).replace(
        "{{$.pipeline_job_schedule_time_utc}}", now
    )


@contextlib.contextmanager
def _interpreter() -> Iterator[None]:
    """Have the steps' `python3` be this interpreter, wherever it stands.

    KFP puts the interpreter's path unquoted in the place of each `python3` in a step's command, parameters
    included, which breaks on a space in the path. Here it replaces the name by itself, and the PATH decides.
    """
    # Not in the run's folder: a colon in its path would cut the PATH in two.
    with tempfile.TemporaryDirectory(prefix="python-") as folder:
        script = Path(folder, "python3")
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        before, sys.executable = sys.executable, "python3"
        try:
            with _environment({"PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])}):
                yield
        finally:
            sys.executable = before


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the steps' processes, and put the old ones back."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
