"""Start the image of a package once: as `docker run` alone does, or as KServe does."""

from __future__ import annotations

import json
import time

from continuous_training.adapters.docker_cli import container_log, docker_output, run_docker
from continuous_training.core.errors import UserError

TIMEOUT = 120.0
"""Seconds in which the model must be loaded."""

RESTRICTIONS = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108
    *("--security-opt", "no-new-privileges"),
)

_MODEL_CHECK = '[ -d /models ] && [ "$(ls -A /models)" ]'
"""The check of KServe's init container. KServe starts `sh` without replacing the entry point."""


def verify_model_image(image: str) -> None:
    """Start the image like KServe's init container. Raises UserError if it has no shell or no model."""
    run_docker(
        ["run", "--rm", *RESTRICTIONS, image, "sh", "-c", _MODEL_CHECK],
        "KServe cannot use the image; see the output of Docker above. The base image must contain the "
        "programs sh, ls, ln, mkdir and sleep, and no entry point: pass --base-image, such as busybox",
    )


def verify_image(image: str, timeout: float = TIMEOUT) -> None:
    """Start the image without network and privileges, and wait until its health check succeeds.

    The server compares the responses with those in the archive while it loads the model. Raises UserError
    with the last line of the server's log if the server ends, and with the last result of the health check
    if the server is not ready in time.
    """
    container = docker_output("run", "--detach", "--health-interval", "1s", *RESTRICTIONS, image)
    if not container:
        raise UserError(f"the package does not start; see why with: docker run --rm {image}")
    try:
        deadline = time.monotonic() + timeout
        while (state := _state(container)) != "running healthy":
            if not state.startswith("running"):
                raise UserError(f"the server of the package does not become ready: {_last_line(container)}")
            if time.monotonic() > deadline:
                raise UserError(
                    f"the server of the package does not become ready within {timeout:g} s; "
                    f"the health check reports: {_health_check(container)}"
                )
            time.sleep(0.2)
    finally:
        docker_output("rm", "--force", container)


def _state(container: str) -> str:
    return docker_output("inspect", "--format", "{{.State.Status}} {{.State.Health.Status}}", container)


def _health_check(container: str) -> str:
    """Return the output of the last health check."""
    log = json.loads(docker_output("inspect", "--format", "{{json .State.Health.Log}}", container) or "[]")
    return log[-1]["Output"] if log else "nothing yet"


def _last_line(container: str) -> str:
    lines = container_log(container).splitlines()
    return lines[-1] if lines else "its log is empty"
