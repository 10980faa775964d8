"""Read and unpack model archives. An archive may come from anywhere, so every part of it is verified."""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from continuous_training.artifacts.archive_manifest import MANIFEST, ArchiveManifest, MemberEntry
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.digest import digest_stream
from continuous_training.core.json_object import JsonObject
from continuous_training.core.temporary_files import TemporaryFolder

MAX_BYTES = 2 * 1024**3
"""The maximum total size of the unpacked members, in bytes."""

MAX_MEMBERS = 10_000
"""The maximum number of members."""

MAX_RATIO = 200
"""The maximum factor by which a member may grow when it is unpacked, beyond its first megabyte."""

MAX_MANIFEST = 64 * 1024**2
"""The maximum size of `archive.json`, in bytes."""

_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, UnicodeError)
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_manifest(path: Path) -> ArchiveManifest:
    """Read an archive's `archive.json`. Raises ArchiveError when the file is not one of our archives."""
    with _open_zip(path, None) as archive:
        return _read_manifest(archive, path)


def unpack(path: Path, into: Path, digest: str | None = None) -> ArchiveManifest:
    """Extract an archive into the new folder `into` and return its manifest. A failure leaves no folder.

    Raises ArchiveError, naming the archive and the member, when the file's sha256 is not `digest`, or when
    anything in the archive is damaged, unsafe, unlisted, missing, altered or over the limits of this module.
    """
    if into.exists():
        raise ArchiveError(f"{into} exists already; unpack into a new folder")
    into.parent.mkdir(parents=True, exist_ok=True)
    with _open_zip(path, digest) as archive:
        manifest = _read_manifest(archive, path)
        members = _verified_members(archive, manifest.files, path)
        with TemporaryFolder(into.parent, into.name) as temporary:
            for member in members:
                _extract(archive, member, manifest.files.get(member.filename), temporary, path)
            temporary.rename(into)
    return manifest


def name_problem(name: str) -> str | None:
    """Return why a member's name is not a plain relative path, or None when it is one."""
    if not name or _CONTROL.search(name):
        return "the name is empty or contains control characters"
    if "\\" in name:
        return "the name contains a backslash"
    if name.startswith("/") or _DRIVE.match(name):
        return "the name is an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "the name leaves the archive with '..'"
    if "" in parts or "." in parts:
        return "it is a folder, or the name has empty parts"
    return None


def find_name_clash(names: Iterable[str]) -> str | None:
    """Return a name that equals another name, or the folder of another name, on some file system."""
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded in files:
            return name
        files.add(folded)
        parts = folded.split("/")
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    return next(iter(sorted(files & folders)), None)


@contextmanager
def _open_zip(path: Path, digest: str | None) -> Iterator[zipfile.ZipFile]:
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ArchiveError(f"there is no archive at {path}") from error
    with stream:
        # The open file is hashed and then read, so replacing the file at the path has no effect.
        if digest is not None and (actual := digest_stream(stream)) != digest:
            raise ArchiveError(f"{path}: the sha256 is {actual}, expected {digest}; write the archive again")
        stream.seek(0)
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive
        except _DAMAGE as error:
            raise ArchiveError(f"{path} is damaged or is no zip file: {error}; write it again") from error


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> ArchiveManifest:
    try:
        info = archive.getinfo(MANIFEST)
    except KeyError as error:
        raise ArchiveError(f"{path} contains no {MANIFEST}: it was not written by this project") from error
    _verify_storage(info, path)
    with archive.open(info) as stream:
        text = stream.read(MAX_MANIFEST + 1)
    if len(text) > MAX_MANIFEST:
        raise ArchiveError(f"{path}: {MANIFEST} is over the limit of {MAX_MANIFEST} bytes")
    return ArchiveManifest.from_json(
        JsonObject.parse(text, f"{path}: {MANIFEST}", ArchiveError, "write the archive again")
    )


def _verified_members(
    archive: zipfile.ZipFile, files: Mapping[str, MemberEntry], path: Path
) -> list[zipfile.ZipInfo]:
    """Return the members after verifying the zip's directory, before anything is written."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"{path}: {len(members)} members are over the limit of {MAX_MEMBERS}")
    for member in members:
        # zipfile truncates a name at NUL and replaces separators, so the name as stored is verified.
        if problem := name_problem(member.orig_filename):
            raise ArchiveError(f"{path}: {member.orig_filename!r} is refused: {problem}")
        _verify_storage(member, path)
    names = [member.filename for member in members]
    if duplicate := find_name_clash(names):
        raise ArchiveError(f"{path}: {duplicate!r} occurs twice, or differs from another name only in case")
    expected = {*files, MANIFEST}
    for name in sorted(expected ^ set(names)):
        problem = (
            "is listed in the manifest and missing" if name in expected else "is not listed in the manifest"
        )
        raise ArchiveError(f"{path}: {name!r} {problem}; write the archive again")
    if (total := sum(member.file_size for member in members)) > MAX_BYTES:
        raise ArchiveError(f"{path}: {total} bytes unpacked are over the limit of {MAX_BYTES}")
    return members


def _verify_storage(member: zipfile.ZipInfo, path: Path) -> None:
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
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, entry: MemberEntry | None, into: Path, path: Path
) -> None:
    """Write one member. Reads at most one byte more than the manifest states."""
    target = into.joinpath(*member.filename.split("/"))
    target.parent.mkdir(parents=True, exist_ok=True)
    limit = MAX_MANIFEST if entry is None else entry.size
    with archive.open(member) as source, target.open("xb") as output:
        sha256, size = _copy(source, output, limit)
    if entry is not None and (size != entry.size or sha256 != entry.sha256):
        raise ArchiveError(
            f"{path}: {member.filename!r} is not the file that the manifest lists (its size or sha256 "
            f"differs); write the archive again"
        )


def _copy(source: IO[bytes], output: IO[bytes], limit: int) -> tuple[str, int]:
    sha256, size = hashlib.sha256(), 0
    while size <= limit and (chunk := source.read(min(_CHUNK, limit + 1 - size))):
        sha256.update(chunk)
        size += len(chunk)
        output.write(chunk)
    return sha256.hexdigest(), size
