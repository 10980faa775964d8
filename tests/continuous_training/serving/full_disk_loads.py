"""Load an archive into a server whose disk has little space: `python full_disk_loads.py DISK NAME ARCHIVE`.

Prints the status and the error of each load as JSON, first with a full disk, and at last with an empty one.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import requests

from continuous_training.serving.process import daemon
from continuous_training.serving.process.state_files import RunningServer

FREE_BYTES = (0, 4096, 8192, 16384, 32768)
"""The space that is free during each load. Some of them suffice for a part of the files."""


def load(running: RunningServer, name: str, archive: Path) -> dict[str, Any]:
    """Load and unload the archive."""
    url = f"{running.management_url}/v2/repository/models/{name}"
    headers = {"authorization": f"Bearer {running.token}"}
    parameters = {"archive": str(archive), "digest": hashlib.sha256(archive.read_bytes()).hexdigest()}
    response = requests.post(f"{url}/load", json={"parameters": parameters}, headers=headers, timeout=60)
    if response.ok:
        requests.post(f"{url}/unload", headers=headers, timeout=60)
    return {"status": response.status_code, "error": response.json().get("error")}


def fill(path: Path, free: int) -> None:
    """Write a file until the disk is full, then shorten it by `free` bytes."""
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)) == 4096:
                pass
        except OSError:
            pass
        file.truncate(file.tell() - free)


def main(disk: Path, name: str, archive: Path) -> None:
    """Start a server, and load the archive with each amount of free space."""
    running = daemon.start(disk / "state", 0)
    loads = []
    for free in FREE_BYTES:
        fill(disk / "filler", free)
        loads.append(load(running, name, archive))
        (disk / "filler").unlink()
    loads.append(load(running, name, archive))
    daemon.stop(disk / "state")
    print(json.dumps(loads))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
