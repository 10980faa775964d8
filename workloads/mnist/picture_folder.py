"""Read a folder of pictures with one subfolder per label, such as `3/scan-17.png`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from continuous_training.artifacts.source_files import OmissionReason, OmittedFile
from continuous_training.core.errors import UserError

from ..contract import BadRow, BadRowType, LoadContext
from .pictures import read_picture

_SUFFIXES = (".png", ".jpg", ".jpeg")

Picture = tuple[str, np.ndarray]
"""The key of a picture, and its ink: uint8 [28, 28]."""


def is_picture_folder(source: str, labels: Sequence[int]) -> bool:
    """Return whether the source is a local folder with a subfolder that is named as one of the labels."""
    folder = Path(source).expanduser()
    return folder.is_dir() and any((folder / str(label)).is_dir() for label in labels)


def read_picture_folder(
    source: str, labels: Sequence[int], context: LoadContext
) -> Iterator[tuple[int, list[Picture]]]:
    """Yield each label with its pictures. The key of a picture is the digest of its ink.

    A picture that cannot be read is a bad row, and an equal picture with the same label is a duplicate.
    Raises UserError for a subfolder that is no label, a picture outside them, and one with two labels.
    """
    folder = Path(source).expanduser()
    known: dict[str, str] = {}
    for label, files in _files_by_label(folder, labels, context).items():
        pictures: list[Picture] = []
        for number, file in enumerate(files, 1):
            name = f"{label}/{file.name}"
            try:
                ink = np.rint(read_picture(file.read_bytes())).astype(np.uint8)
            except ValueError as error:
                context.set_aside(BadRow(name, number, BadRowType.NOT_ALLOWED, str(error), "image"))
                continue
            key = hashlib.sha256(ink.tobytes()).hexdigest()[:32]
            earlier = known.setdefault(key, name)
            if earlier == name:
                pictures.append((key, ink))
            elif earlier.startswith(f"{label}/"):
                context.drop_duplicates(1)
            else:
                raise UserError(
                    f"source {source}: {earlier} and {name} are the same picture with two labels; remove one"
                )
        yield label, pictures


def _files_by_label(folder: Path, labels: Sequence[int], context: LoadContext) -> dict[int, list[Path]]:
    names = {str(label): label for label in labels}
    files: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")) or not path.is_dir():
            context.omit(_omitted(path.name, path.name.lower().endswith(_SUFFIXES), folder))
        elif path.name not in names:
            raise UserError(
                f"source {folder}: the subfolder {path.name} is no label; the labels are {', '.join(names)}"
            )
        else:
            files[names[path.name]] = _pictures_of(path, folder, context)
    return files


def _pictures_of(label_folder: Path, folder: Path, context: LoadContext) -> list[Path]:
    pictures = []
    for path in sorted(label_folder.iterdir()):
        name = f"{label_folder.name}/{path.name}"
        if path.is_file() and path.name.lower().endswith(_SUFFIXES) and not path.name.startswith("."):
            pictures.append(path)
        elif path.is_dir() and not path.name.startswith("."):
            raise UserError(
                f"source {folder}: {name} is a folder; each label has one folder of {', '.join(_SUFFIXES)} "
                "files"
            )
        else:
            context.omit(_omitted(name, False, folder))
    return pictures


def _omitted(name: str, is_picture: bool, folder: Path) -> OmittedFile:
    """Return the record of a file that is not read. Raises UserError for a picture without a label."""
    base = name.rpartition("/")[2]
    if base.startswith("."):
        return OmittedFile(name, OmissionReason.HIDDEN)
    if is_picture:
        raise UserError(f"source {folder}: {name} is in no subfolder of a label; move it into one")
    return OmittedFile(name, OmissionReason.MARKER if base.startswith("_") else OmissionReason.OTHER)
