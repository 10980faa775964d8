"""The dataset artifact: a Parquet file per split, and `dataset.json` that describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from adapters.errors import UserError
from workloads.contract import Workload

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

    def read(self, split: str) -> pa.Table:
        """Return the rows of `train` or `holdout`."""
        path = self.folder / f"{split}.parquet"
        try:
            return pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path} is damaged or missing ({error}); prepare the data again") from None

    def parameters_of(self, workload: Workload, given: dict[str, Any]) -> dict[str, Any]:
        """Return the run parameters that the rows were prepared with; UserError when `given` contradicts one.

        The recipe covers all of them, so a model made with others would be judged under a wrong name.
        """
        prepared = {
            p.name: self.description["parameters"].get(p.name, p.default) for p in workload.parameters()
        }
        values = workload.parse(prepared | given)
        for name, value in values.items():
            if value != prepared[name]:
                raise UserError(
                    f"the data in {self.folder} was prepared with {name}={prepared[name]}, not {value}; "
                    f"prepare it again: python -m components.prep_data --workload {workload.name} "
                    f"--output {self.folder} --set {name}={value}"
                )
        return values
