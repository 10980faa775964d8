"""Write the model archive: one `.mar` file that our own server, TorchServe and KServe can serve.

The file is a zip in the layout of torch-model-archiver. Its `archive.json` lists every other member with size
and sha256, the model's signature, the golden requests, and where the model comes from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata as distributions
from pathlib import Path
from typing import Any

from continuous_training.artifacts.archive_manifest import MANIFEST, ArchiveManifest, MemberEntry
from continuous_training.artifacts.archive_reader import (
    MAX_BYTES,
    MAX_MEMBERS,
    find_name_clash,
    name_problem,
    read_manifest,
    unpack,
)
from continuous_training.artifacts.bundle import BundleMetadata, reject_pickles
from continuous_training.artifacts.errors import ArchiveError
from continuous_training.artifacts.golden_requests import GoldenSet
from continuous_training.core.digest import CHECKSUMS, digest_file
from continuous_training.core.json_object import Json
from continuous_training.core.temporary_files import temporary_file

__all__ = ["MANIFEST", "Archive", "read_manifest", "unpack", "write"]

TORCHSERVE_MANIFEST = "MAR-INF/MANIFEST.json"
TORCHSERVE_HANDLER = "torchserve_handler.py"

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LIBRARIES = {"numpy": "numpy", "onnxruntime": "onnxruntime", "faiss": "faiss-cpu", "pillow": "pillow"}


@dataclass(frozen=True)
class Archive:
    """A written archive: its file, the name of its model, and the sha256 of its bytes."""

    path: Path
    name: str
    digest: str

    @property
    def version(self) -> str:
        """The first twelve digits of the digest, which are displayed as the version."""
        return self.digest[:12]


def write(bundle: Path, output: Path, *, golden: GoldenSet, provenance: Json) -> Archive:
    """Write the bundle as `output/NAME-VERSION.mar`. The same input gives the same bytes.

    Every server of the archive must repeat the responses of `golden`. `provenance` is any JSON object. Raises
    ArchiveError when the bundle, a golden request or the provenance cannot be archived.
    """
    signature = BundleMetadata.read(bundle).signature
    reject_pickles(bundle, signature.name)
    bundle_files = _bundle_files(bundle)
    handler = (Path(__file__).parent / TORCHSERVE_HANDLER).read_bytes()
    added = {TORCHSERVE_HANDLER: handler}
    entries = {name: _entry_of_file(path) for name, path in bundle_files.items()}
    entries[TORCHSERVE_HANDLER] = _entry(handler)
    added[TORCHSERVE_MANIFEST] = _torchserve_manifest(signature.name, entries)
    entries[TORCHSERVE_MANIFEST] = _entry(added[TORCHSERVE_MANIFEST])
    if len(entries) >= MAX_MEMBERS or sum(entry.size for entry in entries.values()) > MAX_BYTES:
        raise ArchiveError(f"{bundle} is over the limit of {MAX_MEMBERS} files or {MAX_BYTES} bytes")
    if not golden:
        raise ArchiveError(f"{bundle}: an archive needs at least one golden request; pass one")
    manifest = ArchiveManifest(signature, golden, provenance, _library_versions(), entries)
    added[MANIFEST] = _encode(
        manifest.to_json(), f"the golden requests or the provenance of {signature.name}"
    )
    return _write_zip(signature.name, output, bundle_files, added)


def _bundle_files(bundle: Path) -> dict[str, Path]:
    """Return the bundle's files by member name, without bytecode and `SHA256SUMS`."""
    files = {
        path.relative_to(bundle).as_posix(): path
        for path in sorted(bundle.rglob("*"))
        if path.is_file()
        and "__pycache__" not in path.relative_to(bundle).parts
        and path != bundle / CHECKSUMS
    }
    reserved = {MANIFEST, TORCHSERVE_HANDLER, TORCHSERVE_MANIFEST}
    for name in files:
        problem = (
            "the name is reserved for the archive's own file" if name in reserved else name_problem(name)
        )
        if problem:
            raise ArchiveError(f"{bundle}: {name!r} cannot be archived: {problem}. Rename or remove the file")
    if duplicate := find_name_clash([*files, *reserved]):
        raise ArchiveError(f"{bundle}: {duplicate!r} clashes with another file's name; rename one of them")
    return files


def _torchserve_manifest(name: str, entries: Mapping[str, MemberEntry]) -> bytes:
    """Return the manifest that TorchServe reads. Its version is derived from the content."""
    listing = _encode({member: entry.to_json() for member, entry in entries.items()}, "the archive's files")
    version = hashlib.sha256(listing).hexdigest()[:12]
    return _encode(
        {
            "createdOn": "01/01/1980 00:00:00",
            "runtime": "python",
            "model": {"modelName": name, "handler": TORCHSERVE_HANDLER, "modelVersion": version},
            "archiverVersion": "0.12.0",
        },
        TORCHSERVE_MANIFEST,
    )


def _library_versions() -> dict[str, str]:
    versions = {}
    for name, distribution in _LIBRARIES.items():
        try:
            versions[name] = distributions.version(distribution)
        except distributions.PackageNotFoundError:
            continue
    return versions


def _encode(value: Any, description: str) -> bytes:
    try:
        text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArchiveError(f"{description} cannot be written as JSON: {error}") from error
    return text.encode() + b"\n"


def _entry(content: bytes) -> MemberEntry:
    return MemberEntry(hashlib.sha256(content).hexdigest(), len(content))


def _entry_of_file(path: Path) -> MemberEntry:
    return MemberEntry(digest_file(path), path.stat().st_size)


def _write_zip(name: str, output: Path, files: dict[str, Path], added: dict[str, bytes]) -> Archive:
    output.mkdir(parents=True, exist_ok=True)
    with temporary_file(output / f"{name}.mar") as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for member in sorted([*files, *added]):
                if member in added:
                    archive.writestr(_member(member), added[member])
                else:
                    _add_file(archive, _member(member), files[member])
        temporary.chmod(0o644)
        digest = digest_file(temporary)
        path = output / f"{name}-{digest[:12]}.mar"
        temporary.replace(path)
    return Archive(path, name, digest)


def _add_file(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Copy a file in chunks, because a model may be larger than the memory."""
    member.file_size = path.stat().st_size
    with path.open("rb") as source, archive.open(member, "w") as target:
        shutil.copyfileobj(source, target)


def _member(name: str) -> zipfile.ZipInfo:
    # Stored, not deflated: zlib's output differs between its versions, and the bytes are the identity.
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_STORED
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    return info
