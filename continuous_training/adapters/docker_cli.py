"""Calls of the `docker` command."""

from __future__ import annotations

import json
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


def docker_result(arguments: Sequence[str], failure: str) -> str:
    """Return the output of a command. Raises UserError with the message `failure` if it fails."""
    try:
        process = subprocess.run(["docker", *arguments], check=False, stdout=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise UserError(_MISSING) from None
    if process.returncode:
        raise UserError(failure)
    return process.stdout.strip()


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


def pull_missing_image(name: str, failure: str) -> None:
    """Pull an image that this machine does not have. Raises UserError with the message `failure`."""
    if not inspect_image(name, "{{.Id}}"):
        run_docker(["pull", name], failure)


def push_image(name: str) -> None:
    """Push an image. Raises UserError if its registry rejects it."""
    host = name.partition("/")[0]
    run_docker(
        ["push", name],
        f"the push of {name} failed; see the output of Docker above. If it is a login error: "
        f"docker login {host}",
    )


def pushed_digest(name: str) -> str | None:
    """Return the digest of the image in its registry, or None if it was not pushed from this machine."""
    repository = name.rpartition(":")[0]
    digests = json.loads(inspect_image(name, "{{json .RepoDigests}}") or "null") or []
    matching = (item.partition("@")[2] for item in digests if item.startswith(f"{repository}@"))
    return next(matching, None)


def container_log(container: str) -> str:
    """Return the standard output and the standard error of a container."""
    command = ["docker", "logs", container]
    process = subprocess.run(
        command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return process.stdout.strip()
