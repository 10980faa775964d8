"""Run a workload's pipeline with KFP's local runner: `kfp_process WORKLOAD PARAMETERS RUN_ID FOLDER`.

This is a separate process because KFP has global settings, replaces `print` and the handlers of the root
logger, and runs the steps with the interpreter and the environment variables of its own process.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import threading
import warnings
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from components.step_cli import reported
from continuous_training.core.exit_codes import INTERRUPTED
from continuous_training.core.run_parameters import Values

if TYPE_CHECKING:
    from kfp.dsl.base_component import BaseComponent


def resolve(text: str, run_id: str) -> str:
    """Replace the placeholders that the local runner does not replace, or replaces differently.

    Failed steps are not retried: a person waits for a local run, and can correct the cause and run it again.
    """
    text = re.sub(r"maxRetryCount: \d+", "maxRetryCount: 0", text)
    text = re.sub(r"(name: CT_RETRIES\s+value: )'\d+'", r"\1'0'", text)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return text.replace("{{$.pipeline_job_uuid}}", run_id).replace(
        "{{$.pipeline_job_schedule_time_utc}}", now
    )


def _run(workload: str, parameters: Values, run_id: str, folder: Path) -> None:
    """Compile the pipeline to `folder/pipeline.yaml`, and run this file. Exits with 1 if a step fails."""
    _import_kfp_without_client()
    # Import here, after KFP without its client.
    from kfp import components, local

    from pipelines.compile import compile_workload
    from pipelines.images import Images

    # KFP warns about every image without "python" in its name, and about each setting that applies to
    # clusters only. docs/pipeline.md describes this.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="kfp.local")
    warnings.filterwarnings("ignore", message=".*have no effect in the current local runner")
    path = folder / "pipeline.yaml"
    path.write_text(resolve(compile_workload(workload, Images()).text, run_id), encoding="utf-8")
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder / "artifacts"),
        raise_on_error=True,
        enable_caching=False,
    )
    pipeline = components.load_component_from_file(str(path))
    _use_this_interpreter(pipeline)
    try:
        pipeline(**parameters)
    except RuntimeError as error:
        # The failed step has reported its error.
        sys.exit(str(error))


def _import_kfp_without_client() -> None:
    """Import kfp without the clients of its server, of Kubernetes and of Docker: each takes up to a second.

    KFP sets this variable in steps. It uses the client of Kubernetes only for node affinities that are given
    as JSON, which the default settings do not have, and that of Docker only in its runner of containers.
    """
    os.environ["_KFP_RUNTIME"] = "true"
    import kfp

    del os.environ["_KFP_RUNTIME"]
    absent = {name: ModuleType(name) for name in ("kubernetes", "kubernetes.client", "docker")}
    absent["kubernetes"].__dict__["client"] = absent["kubernetes.client"]
    absent["docker"].__dict__["DockerClient"] = object
    sys.modules.update(absent)
    import kfp.kubernetes
    import kfp.local  # noqa: F401

    for name in absent:
        del sys.modules[name]


def _use_this_interpreter(pipeline: BaseComponent) -> None:
    """Run the steps with this interpreter, also if its path contains a space.

    KFP replaces each `python3` in a step's command, parameters included, by the unquoted path of the
    interpreter. Here, the command contains the quoted path, and KFP replaces `python3` by itself.
    """
    python, sys.executable = shlex.quote(sys.executable), "python3"
    specification = pipeline.component_spec.implementation.graph
    for executor in specification.deployment_spec["executors"].values():
        command = executor["container"]["command"]
        for i, part in enumerate(command):
            command[i] = part.replace("python3 -m kfp.", f"{python} -m kfp.")


def _end_with_parent() -> None:
    """End this process when standard input, a pipe from the parent process, is closed."""
    # `sys.stdin` would be locked when this process ends.
    os.read(0, 1)
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    # A pipe is neither line-buffered nor encoded in UTF-8 by default.
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with reported():
        _run(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
