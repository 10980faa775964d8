"""A run on a full disk ends with exit code 75, and its message names the folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .champions import ROOT

FULL_DISK = """
mount -t tmpfs -o size="$1k" tmpfs "$2" && shift 2 && exec "$@"
"""


@pytest.mark.parametrize("kilobytes", [48, 150, 200, 300, 1200])
def test_a_full_disk_is_reported_with_its_folder(tmp_path: Path, kilobytes: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    # The run and its servers end with the process that has mounted the disk.
    unshare = ("unshare", "-rmp", "--fork", "--kill-child", "bash", "-c", FULL_DISK, "bash")
    try:
        probe = subprocess.run([*unshare, "48", str(disk), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("this system has no unshare")
    if probe.returncode:
        pytest.skip("this system does not permit a mount in a user namespace")
    run = (
        sys.executable,
        "-m",
        "pipelines.run",
        "--workload",
        "iris",
        "--state",
        str(disk / "state"),
        "--json",
    )
    done = subprocess.run(
        [*unshare, str(kilobytes), str(disk), *run],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        check=False,
    )
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.rindex("error: ") :]
    assert f"{disk}/state/" in error
    assert ": no space left on the device; free some space, then run it again" in error
