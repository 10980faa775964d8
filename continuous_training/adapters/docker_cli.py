"""Calls of the `docker` command."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from continuous_training.core.errors import UserError

STDERR = 2
"""The file descriptor for the output of Docker, because it is progress and not a result."""

_MISSING = "the docker command was not found: install Docker, or use a machine that has it"


def run_docker(arguments: Sequence[str], failure: str, folder: Path | None = None) -> None:
    """Run a command in `folder`. Raises UserError with the message `failure` if it fails."""
    try:
        process = subprocess.run(["docker", *arguments], cwd=folder, check=False, stdout=STDERR)
    except FileNotFoundError:
        raise UserError(_MISSING) from None
    if process.returncode:
        raise UserError(failure)


def docker_output(*arguments: str) -> str:
    """Return the output of a command, or an empty string if it fails. Raises UserError without Docker."""
    try:
        process = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(_MISSING) from None
    return process.stdout.strip() if process.returncode == 0 else ""


def inspect_image(name: str, template: str) -> str:
    """Return a property of an image, or an empty string if the image does not exist."""
    return docker_output("image", "inspect", "--format", template, name)


def container_log(container: str) -> str:
    """Return the standard output and the standard error of a container."""
    command = ["docker", "logs", container]
    process = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return process.stdout.strip()
