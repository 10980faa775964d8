"""Pass the files of a source to the `load` of a workload; record and verify the files that it reads."""

from __future__ import annotations

from dataclasses import replace

from continuous_training.adapters.downloader import Downloader
from continuous_training.artifacts.source_files import SourceFiles
from continuous_training.core.errors import UserError
from continuous_training.core.expected_digests import ExpectedDigests
from workloads.contract import LoadContext, Values
from workloads.data_files import DataFile, matching_files, name_in_source, record_omitted
from workloads.load_context import Advance, SetAside

from .source_record import SourceRecord


class SourceReader:
    """The source of a run. `is_sample` is true for the workload's sample, whose folder has other files."""

    def __init__(self, source: str, values: Values, downloader: Downloader, is_sample: bool) -> None:
        self.source, self.progress = source, downloader.progress
        self.expected_rows = int(values["expected_rows"])
        self.digests = ExpectedDigests.parse(str(values["sha256"]))
        self.record = SourceRecord()
        self.downloader = replace(
            downloader,
            on_read=None if is_sample else self.record.add_read,
            on_incomplete=self.record.add_incomplete,
            digests=self.digests,
        )

    def context(self, set_aside: SetAside, advance: Advance) -> LoadContext:
        """Return the argument `context` of `Workload.load`."""
        return LoadContext(
            self.downloader.fetch,
            self.progress,
            set_aside,
            self.record.omit,
            advance,
            self._files,
            self.record.drop_duplicates,
            self.downloader.addresses,
        )

    def _files(self, source: str, suffixes: tuple[str, ...]) -> list[DataFile]:
        if "://" in source:
            # The downloader verifies the digests.
            remote = self.downloader.fetch_all(
                source, suffixes, lambda selection: record_omitted(selection, self.record.omit)
            )
            return [DataFile(path, name) for name, path in remote]
        files = [
            DataFile(path, name_in_source(path, source))
            for path in matching_files(source, suffixes, self.record.omit)
        ]
        for file in files:
            self.digests.verify(file.path, file.name)
        return files

    def check(self, rows: int) -> SourceFiles:
        """Return and report which files were not read. `rows` is the number of valid and bad rows.

        Raises UserError if the source has another number of rows than expected, or if a file that has an
        expected digest was not read.
        """
        self.digests.require_verified(self.source)
        total = rows + self.record.duplicates
        if self.expected_rows and total != self.expected_rows:
            raise UserError(
                f"source {self.source}: has {total:,} rows, but expected_rows is {self.expected_rows:,}. "
                "Check whether the source is complete, or correct the run parameter"
            )
        if self.record.duplicates:
            self.progress(
                f"{self.record.duplicates:,} rows are equal to earlier ones and were not read again"
            )
        return self.record.result(self.progress)
