"""The functions that the step prep-data provides to a workload's `load`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from continuous_training.artifacts.bad_rows import BadRow, raise_bad_row
from continuous_training.core.address_policy import OUTSIDE_CLUSTER, AddressPolicy
from continuous_training.core.progress import Progress

from .data_files import Files, Omit, ignore_omitted, local_files

SetAside = Callable[[BadRow], None]
"""The type of `LoadContext.set_aside`."""

Advance = Callable[[float], None]
"""The type of `LoadContext.advance`."""


def ignore_share(share: float) -> None:
    """Ignore the share of the source that has been read."""


DropDuplicates = Callable[[int], None]
"""The type of `LoadContext.drop_duplicates`."""


def ignore_duplicates(rows: int) -> None:
    """Do nothing. The default where duplicates are not counted."""


class Fetch(Protocol):
    """The type of `LoadContext.fetch`."""

    def __call__(self, source: str, names: Sequence[str], sha256: Mapping[str, str] | None = None) -> Path:
        """Return a local path to the first of `names` that exists at `source`, a folder, file or address.

        `sha256` maps a name to the hex digest that a remote file of that name must have. Raises UserError (no
        such file, access refused, wrong content) or TransientError (the same command may succeed later).
        """


@dataclass(frozen=True)
class LoadContext:
    """The functions of the step.

    `fetch` downloads data files to a cache. `progress` reports one message about the progress. `set_aside`
    records a row that cannot be read; the workload continues with the next row. It raises UserError if no row
    may be set aside. `omit` records a file of the source that is not read. `advance` gets the share of the
    source that has been read, from 0 to 1, for the remaining time in the progress. `files` returns the data
    files of a source. `drop_duplicates` records a number of rows that are not read because an earlier row is
    equal. `addresses` decides where the address of a database may lead.
    """

    fetch: Fetch
    progress: Progress
    set_aside: SetAside = raise_bad_row
    omit: Omit = ignore_omitted
    advance: Advance = ignore_share
    files: Files = local_files
    drop_duplicates: DropDuplicates = ignore_duplicates
    addresses: AddressPolicy = OUTSIDE_CLUSTER
