"""`python -m serving serve` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from continuous_training.artifacts.archive_writer import Archive

ROOT = Path(__file__).parents[3]


@dataclass
class Server:
    """A server that is ready: its address, process and output."""

    url: str
    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextmanager
def serving(*archives: Archive, options: tuple[str, ...] = (), log: Path | None = None) -> Iterator[Server]:
    """Serve the archives on a free port during the block. `log` receives the standard error of the server."""
    archive_options = [argument for archive in archives for argument in ("--archive", str(archive.path))]
    command = [sys.executable, "-m", "serving", "serve", "--port", "0", *archive_options, *options]
    with (log or Path(os.devnull)).open("w") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(2 * len(archives))]
            assert all(lines), f"the server did not start: {lines}"
            yield Server(lines[0].split(" at ")[1].partition("/predict")[0], process, lines)
        finally:
            process.terminate()
            process.wait(20)
            process.stdout.close()
