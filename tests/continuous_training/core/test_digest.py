"""Digests of streams, of files and of folders."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from continuous_training.core.digest import code_digest, digest_file, digest_of_folder, digest_stream

CONTENT = b"0123456789abcdef" * 200_000
"""Longer than three chunks, and not a multiple of a chunk."""


def test_a_stream_is_read_to_its_end_from_its_position(tmp_path: Path) -> None:
    stream = io.BytesIO(b"header" + CONTENT)
    stream.seek(6)
    assert digest_stream(stream) == hashlib.sha256(CONTENT).hexdigest()
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert digest_file(path) == hashlib.sha256(CONTENT).hexdigest()


def test_the_digest_of_a_folder_covers_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    path = tmp_path / "a.py"
    path.write_text("x = 1\n")
    first, code = digest_of_folder(tmp_path), code_digest(tmp_path)
    (tmp_path / "__pycache__/a.py").write_text("generated")
    assert digest_of_folder(tmp_path) == first
    (tmp_path / "data.txt").write_text("text")
    assert digest_of_folder(tmp_path) != first
    assert code_digest(tmp_path) == code
    path.rename(tmp_path / "b.py")
    assert code_digest(tmp_path) != code
