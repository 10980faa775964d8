"""A separate virtual environment for each server, because their dependencies conflict."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path


class NotInstalledError(Exception):
    """The packages of a server cannot be installed. The message contains the installer's error."""


def environment_python(cache: Path, name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these packages, and create the environment if necessary.

    Without requirements, or if all required modules (`module:NAME`) are installed, return the current Python.
    Raises NotInstalledError if the packages cannot be installed.
    """
    modules = [
        requirement.removeprefix("module:")
        for requirement in requirements
        if requirement.startswith("module:")
    ]
    packages = [requirement for requirement in requirements if not requirement.startswith("module:")]
    if not packages or (modules and all(importlib.util.find_spec(module) for module in modules)):
        return Path(sys.executable)
    digest = hashlib.sha256("\n".join([sys.version, *packages]).encode()).hexdigest()[:8]
    folder = cache / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {', '.join(packages)} into {folder}", flush=True)
    uv = shutil.which("uv")
    venv.create(folder, with_pip=uv is None)
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    completed = subprocess.run(
        [*pip, "-q", *packages],
        capture_output=True,
        text=True,
    )
    if completed.returncode:
        lines = completed.stderr.strip().splitlines() or [f"exit code {completed.returncode}"]
        raise NotInstalledError(f"{', '.join(packages)}: {lines[-1]}")
    (folder / "complete").touch()
    return python
