"""Files of the former version, copies of them, and the commands that are run on the copies."""

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
MADE_IN = "/tmp/ct/state"  # noqa: S108
"""The state directory's path when the fixtures were made."""

WINE = {"wines": [[13.2, 1.78, 2.14, 11.2, 100.0, 2.65, 2.76, 0.26, 1.28, 4.38, 1.05, 3.4, 1050.0]]}

DIGIT = {"image": [[0] * 8] * 8}


def unpack(name: str, folder: Path) -> Path:
    """Extract the fixture NAME.tar.xz into the folder, and return the folder."""
    with lzma.open(FIXTURES / f"{name}.tar.xz") as stream, tarfile.open(fileobj=stream) as tar:
        tar.extractall(folder, filter="data")
    return folder


def document(name: str) -> Any:
    """Read a stored JSON document."""
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


def copy(source: Path, target: Path) -> Path:
    """Copy a state directory. The one file that holds its absolute path gets the new path."""
    shutil.copytree(source, target)
    models = target / "serving" / "models.json"
    models.write_text(models.read_text().replace(MADE_IN, str(target)))
    return target


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without settings of the product, and with the changes."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CT_", "MLFLOW_"))}
    return {**kept, **changes}


def python(
    *arguments: str | Path,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    codes: tuple[int, ...] = (0,),
) -> subprocess.CompletedProcess[str]:
    """Run `python -m` with the arguments; the exit code must be one of `codes`."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env=environment() if env is None else dict(env),
    )
    assert done.returncode in codes, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def json_of(*arguments: str | Path, **options: Any) -> Any:
    """Run `python -m` with the arguments and --json, and return the object that it prints."""
    return json.loads(python(*arguments, "--json", **options).stdout)


def ask(url: str, name: str, request: Any = WINE) -> requests.Response:
    """Send a request to the endpoint of a model."""
    return requests.post(f"{url}/predict/{name}", json=request, timeout=10)
