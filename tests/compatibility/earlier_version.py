"""Read and copy the fixtures of the earlier version, and run commands on the copies."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parent / "fixtures"
ORIGINAL_STATE = "/tmp/ct/state"  # noqa: S108
"""The path of the state directory in the fixtures."""

WINE = {"wines": [[13.2, 1.78, 2.14, 11.2, 100.0, 2.65, 2.76, 0.26, 1.28, 4.38, 1.05, 3.4, 1050.0]]}

DIGIT = {"image": [[0] * 8] * 8}


def unpack(name: str, folder: Path) -> Path:
    """Extract the fixture NAME.tar.xz into the folder, and return the folder."""
    with lzma.open(FIXTURES / f"{name}.tar.xz") as stream, tarfile.open(fileobj=stream) as tar:
        # Debian 12 has Python 3.11.2, without filters. Later versions warn if none is set.
        if hasattr(tarfile, "data_filter"):
            tar.extraction_filter = tarfile.data_filter
        tar.extractall(folder)  # noqa: S202 - our own fixtures
    return folder


def read_document(name: str) -> Any:
    """Read a stored JSON document."""
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def copy_state(source: Path, target: Path) -> Path:
    """Copy a state directory, and replace its path in the only file that contains it."""
    shutil.copytree(source, target)
    models = target / "serving" / "models.json"
    models.write_text(models.read_text().replace(ORIGINAL_STATE, str(target)))
    return target


def clean_environment(**changes: str) -> dict[str, str]:
    """Return the environment of this process with the changes and without other settings of the product."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("CT_", "MLFLOW_"))}
    return {**inherited, **changes}


def run_module(
    *arguments: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    codes: tuple[int, ...] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with the arguments, and assert that `codes` contains the exit code."""
    process = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=clean_environment() if env is None else dict(env),
    )
    assert process.returncode in codes, process.stdout[-1000:] + process.stderr[-3000:]
    return process


def run_json(*arguments: str | Path, **options: Any) -> Any:
    """Run `python -m` with the arguments and --json, and return the object that it prints."""
    return json.loads(run_module(*arguments, "--json", **options).stdout)


def predict(url: str, name: str, request: Any = WINE) -> requests.Response:
    """Send a request to the endpoint of a model, and return the response."""
    return requests.post(f"{url}/predict/{name}", json=request, timeout=10)
