"""Start the image of a package once, as `docker run` alone does."""

from __future__ import annotations

import json
import time

from continuous_training.adapters.docker_cli import container_log, docker_output
from continuous_training.core.errors import UserError

TIMEOUT = 120.0
"""Seconds in which the model must be loaded."""

_RESTRICTIONS = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108
    *("--security-opt", "no-new-privileges"),
)


def verify_image(image: str, timeout: float = TIMEOUT) -> None:
    """Start the image without network and privileges, and wait until its health check succeeds.

    The server compares the responses with those in the archive while it loads the model. Raises UserError
    with the last line of the server's log if the server ends, and with the last result of the health check
    if the server is not ready in time.
    """
    container = docker_output("run", "--detach", "--health-interval", "1s", *_RESTRICTIONS, image)
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
