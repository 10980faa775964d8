"""Damaged and unsafe archives are rejected, and no file of them is left on disk."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from continuous_training.artifacts import archive_reader
from continuous_training.artifacts.archive_reader import read_manifest, unpack
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.core.errors import UserError
from tests.continuous_training.serving.toy_models import make_archive

Members = list[tuple[zipfile.ZipInfo, bytes]]


def read(path: Path) -> Members:
    with zipfile.ZipFile(path) as mar:
        return [(info, mar.read(info)) for info in mar.infolist()]


def write(path: Path, members: Members) -> None:
    with zipfile.ZipFile(path, "w") as mar, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about duplicate names
        for info, content in members:
            mar.writestr(info, content)


def entry(content: bytes) -> dict[str, object]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def add(
    name: str, content: bytes = b"x", mode: int = 0, method: int = 0, listed: bool = True
) -> Callable[[Path], None]:
    """Return a function that adds a member to an archive and, if `listed`, to its manifest."""

    def damage(path: Path) -> None:
        members = read(path)
        if listed:
            change_manifest(members, lambda manifest: manifest["files"].update({name: entry(content)}))
        info = zipfile.ZipInfo(name)
        info.filename = name  # ZipInfo normalizes some names
        info.external_attr = mode << 16
        info.compress_type = method
        write(path, [*members, (info, content)])

    return damage


def change_manifest(members: Members, change: Callable[[dict], object]) -> None:
    for index, (info, content) in enumerate(members):
        if info.filename == "archive.json":
            manifest = json.loads(content)
            change(manifest)
            members[index] = (info, json.dumps(manifest).encode())


def manifest_change(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        members = read(path)
        change_manifest(members, change)
        write(path, members)

    return damage


def replace(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        write(path, [(info, content if info.filename == name else old) for info, old in read(path)])

    return damage


def drop(name: str) -> Callable[[Path], None]:
    return lambda path: write(path, [member for member in read(path) if member[0].filename != name])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip_a_byte(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"scale": 2', b'"scale": 9', 1))


def encrypted(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")  # the last entry of the central directory
    struct.pack_into("<H", content, at + 8, 1)
    path.write_bytes(bytes(content))


def wrong_size(path: Path) -> None:
    """Increase the size of a member in the zip's directory."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    struct.pack_into("<I", content, at + 24, 0x7FFFFFFF)
    path.write_bytes(bytes(content))


BOMB = add("bomb", b"\0" * 30_000_000, method=zipfile.ZIP_DEFLATED)

INVALID: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "no zip"),
    "no zip": (lambda path: path.write_bytes(b"hello" * 100), "no zip"),
    "truncated": (truncate, "damaged|no zip"),
    "flipped byte": (flip_a_byte, "damaged"),
    "tampered member": (replace("settings.json", b'{"scale": 9}'), "'settings.json' is not the file"),
    "longer member": (replace("settings.json", b" " * 10_000), "'settings.json' is not the file"),
    "tampered manifest": (
        manifest_change(lambda m: m["files"]["model.json"].update(sha256="0" * 64)),
        "model.json",
    ),
    "wrong size": (manifest_change(lambda m: m["files"]["model.json"].update(bytes=3)), "model.json"),
    "negative size": (manifest_change(lambda m: m["files"]["model.json"].update(bytes=-3)), "model.json"),
    "unlisted": (add("extra.txt", listed=False), "'extra.txt' is not listed"),
    "missing": (drop("toy/base.py"), "'toy/base.py' is listed in the manifest and missing"),
    "foreign": (drop("archive.json"), "not written by this project"),
    "unknown format": (manifest_change(lambda m: m.update(format=2)), "format is 2"),
    "no files": (manifest_change(lambda m: m.pop("files")), "files is missing"),
    "no golden": (manifest_change(lambda m: m.pop("golden")), "golden is missing"),
    "bad name": (manifest_change(lambda m: m.update(name="a/b")), "name is 'a/b'"),
    "manifest no JSON": (replace("archive.json", b"{"), "not valid JSON"),
    "manifest too deep": (replace("archive.json", b"[" * 200_000), "not valid JSON"),
    "manifest a list": (replace("archive.json", b"[]"), "not a JSON object"),
    "traversal": (add("../evil.txt"), "leaves the archive"),
    "inner traversal": (add("a/../../evil.txt"), "leaves the archive"),
    "absolute": (add("/tmp/evil.txt"), "absolute"),  # noqa: S108
    "drive": (add("C:/evil.txt"), "absolute"),
    "backslash": (add("..\\evil.txt"), "backslash"),
    "control": (add("evil\n.txt"), "control characters"),
    "dot": (add("./evil.txt"), "empty parts"),
    "folder": (add("folder/", b""), "it is a folder"),
    "symlink": (add("evil", b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "a link or no regular file"),
    "device": (add("evil", b"", mode=stat.S_IFCHR | 0o666), "a link or no regular file"),
    "duplicate": (add("model.json", listed=False), "'model.json' occurs twice"),
    "duplicate in case": (add("MODEL.json"), "differs from another name only in case"),
    "file for folder": (add("toy"), "'toy' occurs twice"),
    "encrypted": (encrypted, "encrypted"),
    "unsupported compression": (add("evil", method=zipfile.ZIP_BZIP2), "neither stored nor deflated"),
    "bomb": (BOMB, "over 200 times its size"),
    "wrong size in the directory": (wrong_size, "refused|damaged|over the limit"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_archive_is_rejected_and_leaves_nothing(tmp_path: Path, case: str) -> None:
    damage, message = INVALID[case]
    path = tmp_path / "damaged.mar"
    shutil.copy(make_archive(tmp_path).path, path)
    damage(path)
    folder = tmp_path / "work"
    with pytest.raises(ArchiveError, match=message) as rejection:
        unpack(path, folder / "out")
    assert isinstance(rejection.value, UserError)
    assert "damaged.mar" in str(rejection.value)
    assert not list(folder.iterdir())
    assert not list(tmp_path.rglob("evil*"))


def with_another_end(digest: str) -> str:
    """Return a digest that differs in its last digit only."""
    return digest[:-1] + ("1" if digest[-1] == "0" else "0")


def test_a_different_digest_is_rejected_before_anything_is_read(tmp_path: Path) -> None:
    written = make_archive(tmp_path)
    with pytest.raises(ArchiveError, match=f"the sha256 is {written.digest}, expected {'0' * 64}"):
        unpack(written.path, tmp_path / "out", "0" * 64)
    with pytest.raises(ArchiveError, match="the sha256 is"):
        unpack(written.path, tmp_path / "out", with_another_end(written.digest))


def test_the_limits_apply_to_bytes_and_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = make_archive(tmp_path)
    monkeypatch.setattr(archive_reader, "MAX_BYTES", 100)
    with pytest.raises(ArchiveError, match="over the limit of 100"):
        unpack(written.path, tmp_path / "out")
    monkeypatch.setattr(archive_reader, "MAX_MEMBERS", 3)
    with pytest.raises(ArchiveError, match="over the limit of 3"):
        unpack(written.path, tmp_path / "out")


def test_a_missing_archive_and_an_existing_folder_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="there is no archive at"):
        read_manifest(tmp_path / "none.mar")
    with pytest.raises(ArchiveError, match="exists already"):
        unpack(make_archive(tmp_path).path, tmp_path)


def test_a_deflated_copy_is_accepted(tmp_path: Path) -> None:
    path = make_archive(tmp_path).path
    members = read(path)
    for info, _ in members:
        info.compress_type = zipfile.ZIP_DEFLATED
    write(path, members)
    assert unpack(path, tmp_path / "out").name == "toy"
