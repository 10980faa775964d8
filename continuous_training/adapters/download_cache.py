"""Download remote files into a cache, with resumption. A copy is either complete or does not exist.

Each file has a folder, named after the digest of its address. It contains the copy under the file's own name,
`copy.json` (version, digest, and `complete: false` if a cut could not be detected) and, during a download,
`.part` and `.part.json`.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from continuous_training.adapters.content_checksums import mismatch
from continuous_training.adapters.remote_files import Interrupted, Remote, Stream
from continuous_training.core.digest import digest_file
from continuous_training.core.disk_space import is_disk_full
from continuous_training.core.errors import DiskFullError, TransientError, UserError
from continuous_training.core.json_object import Json
from continuous_training.core.progress import Progress

ATTEMPTS = 5
"""The number of consecutive attempts without progress after which a download fails."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt. They double with each failure."""
PROGRESS_INTERVAL = 2.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class CachedFile:
    """A copy of a remote file. `is_complete` is false if a file that was cut off cannot be detected."""

    path: Path
    is_complete: bool = True


def cached(remote: Remote, folder: Path, name: str, sha256: str, progress: Progress) -> CachedFile:
    """Return a copy of `remote` in `folder`, named `name`.

    With `sha256` (hex), a copy with this digest is used without a request, and a file with another digest is
    rejected and removed. Without it, each call checks whether the remote file has changed. Of several
    processes, one downloads and the others wait. Raises FileUnavailable, UserError or TransientError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder, lambda: progress(f"another process is fetching {name}; waiting for it")):
            return _Copy(remote, folder, name, sha256.lower(), progress).fetch()
    except OSError as error:
        # TransientError is an OSError too, and its message is complete.
        if isinstance(error, TransientError):
            raise
        kind = DiskFullError if is_disk_full(error) else UserError
        raise kind(
            f"{remote.label} cannot be stored in {folder}: {error.strerror or error}; free some space, "
            "or set CT_CACHE to another folder"
        ) from None


class _Copy:
    def __init__(self, remote: Remote, folder: Path, name: str, sha256: str, progress: Progress) -> None:
        self.remote, self.name, self.sha256, self.progress = remote, name, sha256, progress
        self.target, self.metadata = folder / name, folder / "copy.json"
        self.part, self.metadata_part = folder / ".part", folder / ".part.json"

    def fetch(self) -> CachedFile:
        """Download with retries, until the copy is complete or several attempts made no progress."""
        if self.sha256 and self.target.is_file() and digest_file(self.target) == self.sha256:
            self.progress(f"{self.name} is in the cache")
            return CachedFile(self.target)
        failures, furthest = 0, self._part_size()
        while True:
            try:
                return self._attempt()
            except TransientError as error:
                failures = 1 if self._part_size() > furthest else failures + 1
                furthest = max(furthest, self._part_size())
                if failures == ATTEMPTS:
                    remainder = (
                        f"; the {_size(self._part_size())} already here are kept for the next attempt"
                        if self._part_size()
                        else ""
                    )
                    raise TransientError(f"{error}; tried {ATTEMPTS} times{remainder}") from None
                wait = max(getattr(error, "wait", 0.0), FIRST_WAIT * 2 ** (failures - 1))
                self.progress(f"{error}; next attempt in {wait:g} s")
                time.sleep(wait)

    def _attempt(self) -> CachedFile:
        tag = _read(self.metadata_part).get("tag", "")
        # A weak tag (RFC 9110, 8.8.1) does not guarantee the same bytes; then only a digest does.
        is_strong = tag and not tag.startswith("W/")
        begin = self._part_size() if is_strong or self.sha256 else 0
        stream = self.remote.open(begin, tag if is_strong else "", "" if begin else self._current_tag())
        if stream is None:
            self.progress(f"{self.name} has not changed since it was downloaded")
            # Earlier versions did not record it.
            return CachedFile(self.target, bool(_read(self.metadata).get("complete", True)))
        with closing(stream):
            if stream.begin != begin:
                begin = 0
            self._receive(stream, begin)
        return self._accept(stream, begin > 0)

    def _receive(self, stream: Stream, begin: int) -> None:
        """Append the stream to the first `begin` bytes of the part."""
        total = "" if stream.size is None else f" of {_size(stream.size)}"
        self.progress(f"fetching {self.remote.label}, {_size(begin)}{total} here")
        self.metadata_part.write_text(json.dumps({"tag": stream.tag}), encoding="utf-8")
        reported = time.monotonic()
        with self.part.open("ab") as out:
            out.truncate(begin)
            for chunk in stream.chunks:
                out.write(chunk)
                if time.monotonic() - reported >= PROGRESS_INTERVAL:
                    reported = time.monotonic()
                    self.progress(f"fetching {self.name}: {_size(out.tell())}{total}")
        if stream.size is not None and self._part_size() != stream.size:
            raise Interrupted(f"{self.remote.label}: interrupted after {_size(self._part_size())}{total}")

    def _accept(self, stream: Stream, resumed: bool) -> CachedFile:
        """Rename the complete part to the copy. Raises UserError if its digest is not the expected one."""
        digest = digest_file(self.part)
        if self.sha256 and digest != self.sha256:
            size = self._part_size()
            self.part.unlink()
            if resumed:
                raise Interrupted(f"{self.remote.label}: its parts have different versions")
            raise UserError(
                f"{self.remote.label} is not the expected file: {size:,} bytes with sha256 "
                f"{digest}, not {self.sha256}. The copy was removed; check the address and the file "
                "there"
            )
        if kind := mismatch(self.part, stream.checksums):
            self.part.unlink()
            raise Interrupted(f"{self.remote.label}: the content does not have the store's checksum ({kind})")
        is_complete = stream.marked_end or bool(self.sha256) or _is_gzip(self.part)
        self.part.replace(self.target)
        metadata = {"tag": stream.tag, "sha256": digest, **({} if is_complete else {"complete": False})}
        self.metadata.write_text(json.dumps(metadata), encoding="utf-8")
        self.metadata_part.unlink(missing_ok=True)
        self.progress(f"{self.name} is downloaded: {_size(self.target.stat().st_size)}")
        return CachedFile(self.target, is_complete)

    def _current_tag(self) -> str:
        """Return the version of the complete copy, or an empty text."""
        metadata = _read(self.metadata)
        is_complete = self.target.is_file() and metadata.get("sha256") == digest_file(self.target)
        return str(metadata.get("tag", "")) if is_complete and not self.sha256 else ""

    def _part_size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


@contextmanager
def _locked(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the folder's lock for the block. `on_wait` is called if another process holds it."""
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> Json:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_gzip(path: Path) -> bool:
    """Return whether the file is compressed with gzip, whose last bytes contain its length."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count:,} bytes"
