"""Local copies of remote files: fetched once, taken up where they were cut, and whole or not there.

A file's copy has a folder of its own, named after a digest of its address: the copy under the file's own
name, `copy.json` beside it (version and digest), and while it comes `.part` and `.part.json`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from continuous_training.adapters.remote_files import Interrupted, Remote, Stream
from continuous_training.core.errors import TransientError, UserError

ATTEMPTS = 5
"""Failures in a row, without a byte gained, that end a fetch."""
FIRST_WAIT = 0.5
"""Seconds before the second attempt; they double with each failure."""
TOLD_EVERY = 2.0
"""Seconds between two lines of progress."""

Tell = Callable[[str], None]


def cached(remote: Remote, folder: Path, name: str, sha256: str, tell: Tell) -> Path:
    """Return the path of a whole copy of `remote` in `folder`, under `name`.

    With `sha256` (hex) a copy that has it is used without asking, and a file that has another is refused
    and removed. Without, the server is asked each time whether its file has changed. Several processes
    may ask at once: one fetches, the others wait for it. Raises Absent, UserError or TransientError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder, lambda: tell(f"another process is fetching {name}; waiting for it")):
            return _Copy(remote, folder, name, sha256.lower(), tell).fetch()
    except OSError as error:
        # TransientError is an OSError too, and has said what there is to say.
        if isinstance(error, TransientError):
            raise
        raise UserError(
            f"{remote.place} cannot be kept in {folder}: {error.strerror or error}; free some space, or name "
            "another folder in CT_CACHE"
        ) from None


class _Copy:
    def __init__(self, remote: Remote, folder: Path, name: str, sha256: str, tell: Tell) -> None:
        self.remote, self.name, self.sha256, self.tell = remote, name, sha256, tell
        self.target, self.about = folder / name, folder / "copy.json"
        self.part, self.about_part = folder / ".part", folder / ".part.json"

    def fetch(self) -> Path:
        """Try until the copy is there, or until nothing is gained any more."""
        if self.sha256 and self.target.is_file() and _digest(self.target) == self.sha256:
            self.tell(f"{self.name} is in the cache")
            return self.target
        failures, furthest = 0, self._had()
        while True:
            try:
                return self._attempt()
            except TransientError as error:
                failures = 1 if self._had() > furthest else failures + 1
                furthest = max(furthest, self._had())
                if failures == ATTEMPTS:
                    kept = (
                        f"; the {_size(self._had())} that came are kept for the next try"
                        if self._had()
                        else ""
                    )
                    raise TransientError(f"{error}; tried {ATTEMPTS} times{kept}") from None
                wait = max(getattr(error, "wait", 0.0), FIRST_WAIT * 2 ** (failures - 1))
                self.tell(f"{error}; once more in {wait:g} s")
                time.sleep(wait)

    def _attempt(self) -> Path:
        tag = _read(self.about_part).get("tag", "")
        # A weak tag (RFC 9110, 8.8.1) does not promise the same bytes; then only a digest can tell.
        sure = tag and not tag.startswith("W/")
        begin = self._had() if sure or self.sha256 else 0
        stream = self.remote.open(begin, tag if sure else "", "" if begin else self._known())
        if stream is None:
            self.tell(f"{self.name} has not changed since it was fetched")
            return self.target
        with closing(stream):
            if stream.begin != begin:
                begin = 0
            self._receive(stream, begin)
        return self._accept(stream, begin > 0)

    def _receive(self, stream: Stream, begin: int) -> None:
        """Append the stream to the first `begin` bytes of the part."""
        whole = "" if stream.size is None else f" of {_size(stream.size)}"
        self.tell(f"fetching {self.remote.place}, {_size(begin)}{whole} here")
        self.about_part.write_text(json.dumps({"tag": stream.tag}), encoding="utf-8")
        told = time.monotonic()
        with self.part.open("ab") as out:
            out.truncate(begin)
            for chunk in stream.chunks:
                out.write(chunk)
                if time.monotonic() - told >= TOLD_EVERY:
                    told = time.monotonic()
                    self.tell(f"fetching {self.name}: {_size(out.tell())}{whole}")
        if stream.size is not None and self._had() != stream.size:
            raise Interrupted(f"{self.remote.place}: cut after {_size(self._had())}{whole}")

    def _accept(self, stream: Stream, resumed: bool) -> Path:
        """Give the part its name; UserError when it is not the file that was asked for."""
        digest = _digest(self.part)
        if self.sha256 and digest != self.sha256:
            size = self._had()
            self.part.unlink()
            if resumed:
                raise Interrupted(f"{self.remote.place}: its parts do not fit together")
            raise UserError(
                f"{self.remote.place} is not the file that was expected: {size:,} bytes with sha256 "
                f"{digest}, not {self.sha256}. The copy is removed; look at the address, or at what stands "
                "there now"
            )
        self.part.replace(self.target)
        self.about.write_text(json.dumps({"tag": stream.tag, "sha256": digest}), encoding="utf-8")
        self.about_part.unlink(missing_ok=True)
        self.tell(f"{self.name} is here: {_size(self.target.stat().st_size)}")
        return self.target

    def _known(self) -> str:
        """Return the version of the copy, empty when there is none that is whole."""
        about = _read(self.about)
        whole = self.target.is_file() and about.get("sha256") == _digest(self.target)
        return str(about.get("tag", "")) if whole and not self.sha256 else ""

    def _had(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


@contextmanager
def _alone(folder: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the folder's lock for the block; `busy` is called when another has it."""
    with (folder / ".lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        found = hashlib.sha256()
        while chunk := file.read(1 << 20):
            found.update(chunk)
        return found.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count:,} bytes"
