"""The file `SHA256SUMS` of an artifact: the sha256 of its files, in the format of the command `sha256sum`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from continuous_training.artifacts.errors import ArtifactError
from continuous_training.core.digest import CHECKSUMS, digest_file

__all__ = ["CHECKSUMS", "verify_checksums", "write_checksums"]


def write_checksums(folder: Path, names: Collection[str] = ()) -> None:
    """Write `SHA256SUMS` for the files `names` in `folder`, or for all of its files.

    Raises FileExistsError if the folder contains a file of that name.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    lines = [f"{digest_file(files[name])}  {name}\n" for name in sorted(names or files)]
    with (folder / CHECKSUMS).open("x", encoding="utf-8") as stream:
        stream.writelines(lines)


def verify_checksums(folder: Path, step: str) -> None:
    """Verify the files that `SHA256SUMS` in `folder` lists. The artifacts of earlier versions have none.

    Raises ArtifactError for a missing or damaged file. `step` is the step that wrote the folder.
    """
    path = folder / CHECKSUMS
    if not path.is_file():
        return
    digests = _parse(path.read_bytes().decode("utf-8", "replace"))
    if not digests:
        raise ArtifactError(f"{path} is damaged; run the {step} step again")
    for name, digest in digests.items():
        file = folder / name
        if "\0" in name or not file.is_file():
            raise ArtifactError(f"{file} is missing, or {path} is damaged; run the {step} step again")
        if digest_file(file) != digest:
            raise ArtifactError(
                f"{file} is damaged: its sha256 differs from {CHECKSUMS}; run the {step} step again"
            )


def _parse(text: str) -> dict[str, str]:
    """Return the digests by file name; empty for a damaged text."""
    # Not splitlines, which also splits at control characters that a flipped bit may create.
    lines = text.removesuffix("\n").split("\n")
    digests = {line[66:]: line[:64] for line in lines if line[64:66] == "  "}
    return digests if text.endswith("\n") and len(digests) == len(lines) else {}
