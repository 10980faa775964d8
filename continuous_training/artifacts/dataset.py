"""The dataset: a folder with one Parquet file per split, and `dataset.json`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from continuous_training.artifacts.bad_rows import BadRow, read_bad_rows
from continuous_training.artifacts.checksums import verify_checksums
from continuous_training.artifacts.dataset_manifest import MANIFEST, DatasetManifest
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.parquet_rows import StoredRows
from continuous_training.core.errors import UserError
from continuous_training.core.json_object import JsonObject
from continuous_training.core.run_parameters import Parameter, Values


@dataclass(frozen=True)
class Dataset:
    """A dataset on disk."""

    folder: Path
    manifest: DatasetManifest

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Return the dataset in `folder`. Raises ArtifactError when it is missing or damaged."""
        path = folder / MANIFEST
        if not path.is_file():
            raise ArtifactError(
                f"{folder} contains no dataset ({MANIFEST} is missing); create it with "
                "python -m components.prep_data --workload NAME --output FOLDER"
            )
        verify_checksums(folder, "prep-data")
        document = JsonObject.read(path, ArtifactError, "prepare the data again")
        return cls(folder, DatasetManifest.from_json(document))

    @property
    def workload(self) -> str:
        """The name of the workload that the rows belong to."""
        return self.manifest.workload

    @property
    def sample(self) -> bool:
        """Whether the rows are the workload's sample data."""
        return self.manifest.sample

    def rows(self, split: str) -> StoredRows:
        """Return the rows of `train` or `holdout` without reading them."""
        return StoredRows(self.folder / f"{split}.parquet", self.manifest.splits[split].sha256)

    def read(self, split: str) -> pa.Table:
        """Read all rows of `train` or `holdout`."""
        return self.rows(split).table()

    def bad_rows(self) -> Iterator[BadRow]:
        """Yield the rows that were set aside."""
        if self.manifest.bad_rows:
            yield from read_bad_rows(self.folder, self.manifest.bad_rows)

    def parameters_of(
        self,
        parameters: Iterable[Parameter],
        parse: Callable[[Mapping[str, object]], Values],
        overrides: Mapping[str, object],
    ) -> Values:
        """Return the run parameters: those that the data was prepared with, and `overrides` for training.

        `parameters` are the workload's parameters and `parse` validates their values. Raises UserError when
        an override differs from a parameter that shapes the data.
        """
        declared = list(parameters)
        previous = {p.name: self.manifest.parameters.get(p.name, p.default) for p in declared}
        values = parse({**previous, **overrides})
        for parameter in declared:
            name, value = parameter.name, values[parameter.name]
            if parameter.shapes_data and value != previous[name]:
                options = [
                    "--workload",
                    self.workload,
                    "--output",
                    str(self.folder),
                    "--set",
                    f"{name}={value}",
                ]
                raise UserError(
                    f"the data in {self.folder} was prepared with {name}={previous[name]}, not {value}; "
                    f"prepare it again: {shlex.join(['python', '-m', 'components.prep_data', *options])}"
                )
        return values
