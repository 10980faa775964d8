"""Reading an archive that somebody else wrote, and trusting nothing in it."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from continuous_training.artifacts.members import (
    MAX_BYTES,
    MAX_MANIFEST,
    MAX_MEMBERS,
    MAX_RATIO,
    clash,
    name_fault,
)
from continuous_training.core.digest import digest_stream
from continuous_training.serving.errors import ArchiveError
from continuous_training.serving.models.model import check_identity

MANIFEST = "archive.json"
FORMAT = 1

_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, UnicodeError)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read an archive's `archive.json`; ArchiveError when the file is not one of our archives."""
    with _opened(path, None) as archive:
        return _manifest(archive, path)


def unpack(path: Path, into: Path, digest: str | None = None) -> dict[str, Any]:
    """Extract an archive into the new folder `into`, whole or not at all, and return its manifest.

    ArchiveError, naming the archive and the member, when the file's sha256 is not `digest`, or when
    anything in it is damaged, unsafe, unlisted, missing, altered or over the limits of `members`.
    """
    if into.exists():
        raise ArchiveError(f"{into} is there already; unpack into a new folder")
    into.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path, digest) as archive:
        manifest = _manifest(archive, path)
        members = _checked_members(archive, manifest["files"], path)
        beside = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
        try:
            for member in members:
                _extract(archive, member, manifest["files"].get(member.filename), beside, path)
            beside.rename(into)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return manifest


@contextmanager
def _opened(path: Path, digest: str | None) -> Iterator[zipfile.ZipFile]:
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ArchiveError(f"there is no archive at {path}") from error
    with stream:
        # The very file that was hashed is the one that is read, whatever happens to the path.
        if digest is not None and (found := digest_stream(stream)) != digest:
            raise ArchiveError(f"{path}: its sha256 is {found}, and {digest} was asked for; write it again")
        stream.seek(0)
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except _DAMAGE as error:
            raise ArchiveError(f"{path} is damaged or is no zip file: {error}; write it again") from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    try:
        info = archive.getinfo(MANIFEST)
    except KeyError as error:
        raise ArchiveError(f"{path} holds no {MANIFEST}: it was not written by this project") from error
    _check_storage(info, path)
    with archive.open(info) as stream:
        text = stream.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise ArchiveError(f"{path}: {MANIFEST} is over the limit of {MAX_MANIFEST} bytes")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArchiveError(f"{path}: {MANIFEST} is not valid JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArchiveError(f"{path}: {MANIFEST} is not of format {FORMAT}; write the archive again")
    check_identity(manifest, f"{path}: {MANIFEST}")
    _check_lists(manifest, path)
    return manifest


def _check_lists(manifest: dict[str, Any], path: Path) -> None:
    files, golden = manifest.get("files"), manifest.get("golden")
    if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
        raise ArchiveError(f"{path}: {MANIFEST} lists no files with their sha256 and bytes")
    if not isinstance(golden, list) or not all(
        isinstance(row, dict) and {"request", "answer"} <= set(row) for row in golden
    ):
        raise ArchiveError(f"{path}: {MANIFEST} has no list of golden requests and answers")


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict) and isinstance(entry.get("sha256"), str) and type(entry.get("bytes")) is int
    )


def _checked_members(archive: zipfile.ZipFile, files: dict[str, Any], path: Path) -> list[zipfile.ZipInfo]:
    """Refuse what the zip's directory alone gives away, before a byte is written."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"{path}: {len(members)} members are over the limit of {MAX_MEMBERS}")
    for member in members:
        # zipfile cuts a name at NUL and mends separators; the name as it was written is what counts.
        if fault := name_fault(member.orig_filename):
            raise ArchiveError(f"{path}: {member.orig_filename!r} is refused: {fault}")
        _check_storage(member, path)
    names = [member.filename for member in members]
    if double := clash(names):
        raise ArchiveError(f"{path}: {double!r} is there twice, or differs from another name only in case")
    listed = {*files, MANIFEST}
    for name in sorted(listed ^ set(names)):
        what = "is listed in the manifest and missing" if name in listed else "is not listed in the manifest"
        raise ArchiveError(f"{path}: {name!r} {what}; write the archive again")
    if (total := sum(member.file_size for member in members)) > MAX_BYTES:
        raise ArchiveError(f"{path}: {total} bytes unpacked are over the limit of {MAX_BYTES}")
    return members


def _check_storage(member: zipfile.ZipInfo, path: Path) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.is_dir():
        raise ArchiveError(f"{path}: {member.filename!r} is refused: it is a link or no regular file")
    if member.flag_bits & 0x1:
        raise ArchiveError(f"{path}: {member.filename!r} is refused: it is encrypted")
    if member.compress_type not in _METHODS:
        raise ArchiveError(f"{path}: {member.filename!r} is refused: neither stored nor deflated")
    if member.file_size > _CHUNK + MAX_RATIO * member.compress_size:
        raise ArchiveError(
            f"{path}: {member.filename!r} is refused: it unpacks to over {MAX_RATIO} times its size"
        )


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, entry: dict[str, Any] | None, into: Path, path: Path
) -> None:
    """Write one member, reading no more of it than the manifest says that there is."""
    target = into.joinpath(*member.filename.split("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    limit = MAX_MANIFEST if entry is None else entry["bytes"]
    with archive.open(member) as source, target.open("xb") as out:
        sha256, size = _copy(source, out, limit)
    if entry is not None and (size != entry["bytes"] or sha256 != entry["sha256"]):
        raise ArchiveError(
            f"{path}: {member.filename!r} is not the file that the manifest lists (its size or sha256 "
            f"differs); write the archive again"
        )


def _copy(source: IO[bytes], out: IO[bytes], limit: int) -> tuple[str, int]:
    total, size = hashlib.sha256(), 0
    while size <= limit and (chunk := source.read(min(_CHUNK, limit + 1 - size))):
        total.update(chunk)
        size += len(chunk)
        out.write(chunk)
    return total.hexdigest(), size
