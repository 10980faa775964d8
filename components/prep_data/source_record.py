"""Record which files and rows of the source are not read, and which files may be incomplete."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from continuous_training.artifacts.source_files import OmissionReason, OmittedFile, SourceFiles
from continuous_training.core.file_selection import is_hidden, is_marker
from continuous_training.core.progress import Progress

_EXAMPLES = 5
"""The number of omitted files that the manifest names."""


class SourceRecord:
    """Counts the omitted files and the duplicate rows of a source, and the files of unknown completeness."""

    def __init__(self) -> None:
        self.duplicates = 0
        self._omitted: dict[str, OmittedFile] = {}
        self._incomplete: dict[str, None] = {}
        self._read: dict[Path, set[str]] = {}

    def omit(self, file: OmittedFile) -> None:
        """Record a file that is not read. A file that is recorded twice counts once."""
        self._omitted[file.name] = file

    def drop_duplicates(self, rows: int) -> None:
        """Record rows that are not read because an earlier row is equal."""
        self.duplicates += rows

    def add_incomplete(self, address: str) -> None:
        """Record a file whose completeness is not known."""
        self._incomplete[address] = None

    def add_read(self, file: Path) -> None:
        """Record a file that is read by its name. The other files of its folder are omitted."""
        self._read.setdefault(file.parent, set()).add(file.name)

    def result(self, progress: Progress) -> SourceFiles:
        """Return and report the recorded files."""
        for folder, names in self._read.items():
            for path in sorted(folder.iterdir()):
                if path.name not in names:
                    self.omit(OmittedFile(path.name, _reason(path.name)))
        omitted = sorted(self._omitted.values(), key=lambda file: (file.reason, file.name))
        counts = Counter(str(file.reason) for file in omitted)
        # A hidden file is expected; another file may be one that its owner wants to be read.
        examples = sorted(omitted, key=lambda file: file.reason != OmissionReason.OTHER)[:_EXAMPLES]
        files = SourceFiles(dict(counts), tuple(file.name for file in examples), tuple(self._incomplete))
        if files.omitted:
            progress(f"files of the source that are not read: {files.omitted_text}")
        for address in files.incomplete:
            progress(
                f"warning: the server sent {address} without a length, so a file that was cut off cannot be "
                "detected; set the run parameter sha256 or expected_rows"
            )
        return files


def _reason(name: str) -> OmissionReason:
    if is_hidden(name):
        return OmissionReason.HIDDEN
    return OmissionReason.MARKER if is_marker(name, ()) else OmissionReason.OTHER
