"""A load on a full disk gets status 507 with the folder, and succeeds when there is space again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import full_disk_loads
from toy_models import make_archive

from tests.full_disk import run_on_disk


def test_a_load_on_a_full_disk_gets_status_507(tmp_path: Path) -> None:
    disk, archive = tmp_path / "disk", make_archive(tmp_path)
    script = str(Path(full_disk_loads.__file__))
    arguments = (str(disk), "toy", str(archive.path))
    done = run_on_disk(disk, 2048, sys.executable, script, *arguments)
    assert done.returncode == 0, done.stderr
    *full, last = json.loads(done.stdout)
    assert last == {"status": 200, "error": None}
    failed = [load for load in full if load["status"] != 200]
    assert full[0] in failed
    for load in failed:
        assert load["status"] == 507
        assert load["error"].startswith(f"{disk}/state/serving")
        assert load["error"].endswith(": no space left on the device; free some space, then run it again")
