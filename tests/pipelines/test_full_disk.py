"""A run on a full disk ends with exit code 75, and its message names the folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.full_disk import run_on_disk


@pytest.mark.parametrize("kilobytes", [48, 150, 200, 300, 1200])
def test_a_full_disk_is_reported_with_its_folder(tmp_path: Path, kilobytes: int) -> None:
    disk = tmp_path / "disk"
    run = ("-m", "pipelines.run", "--workload", "iris", "--state", str(disk / "state"), "--json")
    done = run_on_disk(disk, kilobytes, sys.executable, *run)
    assert done.returncode == 75, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr[done.stderr.rindex("error: ") :]
    assert f"{disk}/state/" in error
    assert ": no space left on the device; free some space, then run it again" in error
