"""No pickles in an archive: loading one runs whatever is written in it."""

from __future__ import annotations

from pathlib import Path

from continuous_training.serving.errors import ArchiveError

_SUFFIXES = {".pkl", ".pickle", ".joblib", ".dill", ".cloudpickle"}
_PROTOCOLS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a pickle of each protocol since 2 begins: https://docs.python.org/3/library/pickletools.html"""


def refuse_pickles(folder: Path, name: str) -> None:
    """Return when no file below `folder` is a pickle; ArchiveError that names the first one otherwise."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as opened:
            begins = opened.read(2)
        if path.suffix in _SUFFIXES or begins in _PROTOCOLS:
            raise ArchiveError(
                f"{name} wrote {path.relative_to(folder)}, which is a pickle: loading one runs whatever is "
                "written in it, so none is archived or served. Write the model as ONNX, numpy arrays or JSON"
            )
