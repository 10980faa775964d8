"""Temporary files and folders: removed at the end, and after a kill by the next command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from continuous_training.core.files import new_folder, write_text
from continuous_training.core.temporary_files import (
    TemporaryFolder,
    find_leftovers,
    remove_leftovers,
    system_folder,
    temporary_file,
    temporary_files_in,
)

CREATE_AND_WAIT = """
import sys
from pathlib import Path
from continuous_training.core.temporary_files import TemporaryFolder, temporary_file
folder = TemporaryFolder(Path(sys.argv[1]), "model")
(folder.path / "weights").write_bytes(bytes(1000))
with temporary_file(Path(sys.argv[1]) / "model.mar") as path:
    path.write_bytes(bytes(10))
    print("ready", flush=True)
    sys.stdin.read()
"""


def start_user(root: Path) -> subprocess.Popen[bytes]:
    """Start a process that uses a temporary folder and a temporary file in `root`."""
    process = subprocess.Popen(
        [sys.executable, "-c", CREATE_AND_WAIT, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes], number: int) -> None:
    process.send_signal(number)
    process.communicate(timeout=20)


def names(root: Path) -> list[str]:
    return sorted(path.name.rpartition("-")[0] for path in root.iterdir())


def test_leftovers_of_a_killed_process_are_removed_and_used_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "result.json").touch()
    killed, active = start_user(tmp_path / "deep"), start_user(tmp_path)
    try:
        assert find_leftovers(tmp_path) == []
        end(killed, signal.SIGKILL)
        leftovers = find_leftovers(tmp_path)
        assert sorted(leftover.size for leftover in leftovers) == [10, 1000]
        assert {leftover.path.parent for leftover in leftovers} == {tmp_path / "deep"}
        assert find_leftovers(tmp_path, recursive=False) == []
        remove_leftovers(tmp_path)
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["result.json"]
        assert len(names(tmp_path)) == 3
    finally:
        end(active, signal.SIGKILL)
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_nothing_remains_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full"), temporary_file(tmp_path / "a"):
        raise OSError("full")
    with pytest.raises(OSError, match="full"), TemporaryFolder(tmp_path, "b"):
        raise OSError("full")
    with pytest.raises(OSError, match="full"), new_folder(tmp_path / "c", "mark"):
        raise OSError("full")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "record.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_a_renamed_file_and_a_renamed_folder_remain(tmp_path: Path) -> None:
    with temporary_file(tmp_path / "a") as path:
        path.write_text("content")
        path.replace(tmp_path / "a")
    with TemporaryFolder(tmp_path, "b") as folder:
        folder.rename(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_file_is_never_removed_between_its_creation_and_its_lock(tmp_path: Path) -> None:
    stop = threading.Event()

    def reclaim() -> None:
        while not stop.is_set():
            remove_leftovers(tmp_path)

    thread = threading.Thread(target=reclaim)
    thread.start()
    try:
        for number in range(60):
            write_text(tmp_path / f"{number % 7}.json", str(number))
            with TemporaryFolder(tmp_path, "folder") as folder:
                (folder / "file").touch()
    finally:
        stop.set()
        thread.join()
    assert [int((tmp_path / f"{i}.json").read_text()) % 7 for i in range(7)] == list(range(7))


def test_files_of_earlier_versions_are_leftovers_after_an_hour(tmp_path: Path) -> None:
    old, recent, other = tmp_path / ".digits-0a1b.mar-4711", tmp_path / ".result-12", tmp_path / ".gitignore"
    for path in (old, recent, other):
        path.write_bytes(b"123")
    for path in (old, other):
        os.utime(path, (time.time() - 4000,) * 2)
    assert [leftover.path for leftover in find_leftovers(tmp_path)] == [old]


def test_tempfile_uses_the_state_directory_within_the_block(tmp_path: Path) -> None:
    former = tempfile.gettempdir()
    with temporary_files_in(tmp_path, "command"):
        with tempfile.TemporaryDirectory(prefix="rollback-") as folder:
            assert Path(folder).is_relative_to(tmp_path)
        assert find_leftovers(tmp_path) == []
    assert tempfile.gettempdir() == former
    assert list(tmp_path.iterdir()) == []


def test_overlapping_blocks_share_the_folder_until_the_last_one_ends(tmp_path: Path) -> None:
    """Two runs in one process at the same time: the first one ends first."""
    former = tempfile.gettempdir()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir(), second.mkdir()
    with ExitStack() as stack:
        with temporary_files_in(first, "run"):
            stack.enter_context(temporary_files_in(second, "run"))
            shared = tempfile.gettempdir()
        assert tempfile.gettempdir() == shared
        assert Path(shared).parent == first
        tempfile.TemporaryFile().close()
    assert tempfile.gettempdir() == former
    assert [*first.iterdir(), *second.iterdir()] == []


def test_without_a_state_directory_nothing_is_created(tmp_path: Path) -> None:
    former = tempfile.gettempdir()
    with temporary_files_in(tmp_path / "missing", "command"):
        assert tempfile.gettempdir() == former
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_systems_folder_replaces_the_leftovers_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end(start_user(tmp_path), signal.SIGKILL)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with system_folder("serving"):
        assert names(tmp_path) == [".serving"]


def test_a_forked_process_does_not_remove_the_folder_of_its_parent(tmp_path: Path) -> None:
    with TemporaryFolder(tmp_path, "parent") as folder:
        code = (
            "import os, sys; from pathlib import Path\n"
            "from continuous_training.core.temporary_files import TemporaryFolder\n"
            "folder = TemporaryFolder(Path(sys.argv[1]), 'forked')\n"
            "if os.fork() == 0: sys.exit()\n"
            "os.wait(); print(folder.path.is_dir())\n"
        )
        run = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, timeout=30)
        assert run.stdout == b"True\n"
        assert list(folder.iterdir()) == []
