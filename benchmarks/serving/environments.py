"""An environment of its own for each server: their dependencies contradict each other."""

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
    """A server's packages cannot be installed here; the message says why."""


def python_of(cache: Path, name: str, requirements: Sequence[str]) -> Path:
    """Return the Python of an environment with these packages, made once; NotInstalledError if it cannot be.

    No requirements, or modules that are installed already (`module:NAME`): this very Python.
    """
    here = [
        requirement.removeprefix("module:")
        for requirement in requirements
        if requirement.startswith("module:")
    ]
    packages = [requirement for requirement in requirements if not requirement.startswith("module:")]
    if not packages or (here and all(importlib.util.find_spec(module) for module in here)):
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
    done = subprocess.run(
        [*pip, "-q", *packages],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NotInstalledError(f"{', '.join(packages)}: {lines[-1]}")
    (folder / "complete").touch()
    return python
