"""The dataset artifact: a Parquet file per split, and `dataset.json` that describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from continuous_training.core.errors import UserError
from workloads.contract import StoredRows, Workload

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Dataset:
    """A dataset artifact on disk."""

    folder: Path
    description: dict[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Dataset:
        """Return the artifact in `folder`; UserError when there is none."""
        path = folder / DESCRIPTION
        if not path.is_file():
            raise UserError(
                f"{folder} holds no dataset ({DESCRIPTION} is missing); make one with "
                "python -m components.prep_data --workload NAME --output FOLDER"
            )
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}); prepare the data again") from None
        return cls(folder, description)

    @property
    def workload(self) -> str:
        """The workload that the rows are for."""
        return str(self.description["workload"])

    @property
    def sample(self) -> bool:
        """Whether the rows are the small sample that comes with the code."""
        return bool(self.description.get("sample"))

    def rows(self, split: str) -> StoredRows:
        """Return the rows of `train` or `holdout` where they lie."""
        return StoredRows(self.folder / f"{split}.parquet")

    def read(self, split: str) -> pa.Table:
        """Return the rows of `train` or `holdout`, all at once."""
        return self.rows(split).table()

    def parameters_of(self, workload: Workload, given: dict[str, Any]) -> dict[str, Any]:
        """Return the run parameters that the rows were prepared with, and those of training as `given`.

        UserError when `given` contradicts one that shapes the data, or judges it.
        """
        prepared = {
            p.name: self.description["parameters"].get(p.name, p.default) for p in workload.parameters()
        }
        values = workload.parse(prepared | given)
        shaping = {parameter.name for parameter in workload.parameters() if parameter.shapes_data}
        for name, value in values.items():
            if name in shaping and value != prepared[name]:
                raise UserError(
                    f"the data in {self.folder} was prepared with {name}={prepared[name]}, not {value}; "
                    f"prepare it again: python -m components.prep_data --workload {workload.name} "
                    f"--output {self.folder} --set {name}={value}"
                )
        return values
