"""Commands on a small disk: a tmpfs in a user namespace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_MOUNT = """
mount -t tmpfs -o size="$1k" tmpfs "$2" && shift 2 && exec "$@"
"""


def run_on_disk(disk: Path, kilobytes: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command while `disk`, which is created, is a disk of this size. Its processes end with it.

    Skips the test on a system without such namespaces.
    """
    disk.mkdir()
    unshare = ("unshare", "-rmp", "--fork", "--kill-child", "bash", "-c", _MOUNT, "bash")
    try:
        probe = subprocess.run([*unshare, "48", str(disk), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if probe.returncode:
        pytest.skip("this system does not permit a mount in a user namespace")
    return subprocess.run(
        [*unshare, str(kilobytes), str(disk), *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
