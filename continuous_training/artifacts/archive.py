"""The archive: one `.mar` that our own server, TorchServe and KServe all serve.

A plain zip in torch-model-archiver's layout, and beside that `archive.json`, which names every other
member with its size and sha256, the signature, the golden requests and where the model came from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_reader import FORMAT, MANIFEST, read_manifest, unpack
from continuous_training.artifacts.members import MAX_BYTES, MAX_MEMBERS, clash, name_fault
from continuous_training.artifacts.pickles import refuse_pickles
from continuous_training.core.digest import digest_file
from continuous_training.serving.errors import ArchiveError
from continuous_training.serving.models.model import read_metadata

__all__ = ["FORMAT", "MANIFEST", "Archive", "read_manifest", "unpack", "write"]

TORCHSERVE_MANIFEST = "MAR-INF/MANIFEST.json"
TORCHSERVE_HANDLER = "torchserve_handler.py"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LIBRARIES = {"numpy": "numpy", "onnxruntime": "onnxruntime", "faiss": "faiss-cpu", "pillow": "pillow"}


@dataclass(frozen=True)
class Archive:
    """A written archive: where it is, whose it is, and the sha256 of its bytes."""

    path: Path
    name: str
    digest: str

    @property
    def version(self) -> str:
        """The first twelve digits of the digest: what people see as the version."""
        return self.digest[:12]


def write(bundle: Path, output: Path, *, golden: list[dict[str, Any]], provenance: dict[str, Any]) -> Archive:
    """Write the bundle as `output/NAME-VERSION.mar`; the same input gives the same bytes.

    `golden` is a list of `{"request": ..., "answer": ...}` that any server of this archive must be
    able to repeat; `provenance` is any JSON object. ArchiveError when the bundle, a golden request or
    the provenance cannot be archived.
    """
    metadata = read_metadata(bundle)
    refuse_pickles(bundle, metadata["name"])
    contents = _bundle_files(bundle)
    template = (Path(__file__).parent / TORCHSERVE_HANDLER).read_bytes()
    extra = {TORCHSERVE_HANDLER: template}
    files = {
        **{name: _entry_of(path) for name, path in contents.items()},
        TORCHSERVE_HANDLER: _entry(template),
    }
    extra[TORCHSERVE_MANIFEST] = _torchserve_manifest(metadata["name"], files)
    files[TORCHSERVE_MANIFEST] = _entry(extra[TORCHSERVE_MANIFEST])
    if len(files) >= MAX_MEMBERS or sum(entry["bytes"] for entry in files.values()) > MAX_BYTES:
        raise ArchiveError(f"{bundle} is over the limit of {MAX_MEMBERS} files or {MAX_BYTES} bytes")
    extra[MANIFEST] = _json(
        {
            "format": FORMAT,
            **{key: metadata[key] for key in ("name", "handler", "inputs", "outputs")},
            "golden": _checked_golden(golden),
            "provenance": provenance,
            "libraries": _library_versions(),
            "files": files,
        },
        f"the golden requests or the provenance of {metadata['name']}",
    )
    return _write_zip(metadata["name"], output, contents, extra)


def _bundle_files(bundle: Path) -> dict[str, Path]:
    """Find the bundle's files by member name; bytecode is no part of it."""
    found = {
        path.relative_to(bundle).as_posix(): path
        for path in sorted(bundle.rglob("*"))
        if path.is_file() and "__pycache__" not in path.relative_to(bundle).parts
    }
    reserved = {MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST}
    for name in found:
        fault = "the archive itself writes that name" if name in reserved else name_fault(name)
        if fault:
            raise ArchiveError(f"{bundle}: {name!r} cannot be archived: {fault}. Rename or remove it")
    if double := clash([*found, *reserved]):
        raise ArchiveError(f"{bundle}: {double!r} clashes with another file's name; rename one of them")
    return found


def _torchserve_manifest(name: str, files: dict[str, dict[str, Any]]) -> bytes:
    """Write what TorchServe reads, with a version that follows from the content."""
    content = hashlib.sha256(_json(files, "the archive's files")).hexdigest()
    return _json(
        {
            "createdOn": "01/01/1980 00:00:00",
            "runtime": "python",
            "model": {"modelName": name, "handler": TORCHSERVE_HANDLER, "modelVersion": content[:12]},
            "archiverVersion": "0.12.0",
        },
        TORCHSERVE_MANIFEST,
    )


def _checked_golden(golden: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not golden or any(set(row) != {"request", "answer"} for row in golden):
        raise ArchiveError(
            "an archive proves itself with golden requests: give at least one, each as "
            '{"request": ..., "answer": ...}'
        )
    return golden


def _library_versions() -> dict[str, str]:
    versions = {}
    for name, distribution in _LIBRARIES.items():
        try:
            versions[name] = distributions.version(distribution)
        except distributions.PackageNotFoundError:
            continue
    return versions


def _json(value: Any, what: str) -> bytes:
    try:
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArchiveError(f"{what} cannot be written as JSON: {error}") from error
    return text.encode() + b"\n"


def _entry(content: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _entry_of(path: Path) -> dict[str, Any]:
    return {"sha256": digest_file(path), "bytes": path.stat().st_size}


def _write_zip(name: str, output: Path, contents: dict[str, Path], extra: dict[str, bytes]) -> Archive:
    output.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{name}-", suffix=".mar", dir=output)
    try:
        with os.fdopen(handle, "wb") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for member in sorted([*contents, *extra]):
                if member in extra:
                    archive.writestr(_member(member), extra[member])
                else:
                    _add_file(archive, _member(member), contents[member])
        Path(beside).chmod(0o644)
        digest = digest_file(Path(beside))
        path = output / f"{name}-{digest[:12]}.mar"
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return Archive(path, name, digest)


def _add_file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Copy a file piece by piece: a model may be larger than the memory."""
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as out:
        shutil.copyfileobj(source, out)


def _member(name: str) -> zipfile.ZipInfo:
    # Stored, not deflated: zlib's output differs between its versions, and the bytes are the identity.
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    return info
