"""The run history: the result of each run, and the input digests that were processed.

The records are JSON objects in the object store, so that a run on unchanged data does not need the registry.
The registry is the source of truth for versions and aliases. If a record is lost, the next run does its work
again.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from continuous_training.adapters.object_store import ObjectStore

Record = dict[str, Any]


class RunHistory:
    """The records of one workload."""

    def __init__(self, store: ObjectStore, workload: str) -> None:
        self.store = store
        self.prefix = f"records/{workload}"

    def find_processed(self, input_digest: str) -> Record | None:
        """Return the record of the run that last processed these inputs, or None."""
        return self._read(f"recipes/{input_digest}")

    def record_processed(self, input_digest: str, record: Record) -> None:
        """Record that these inputs were processed, so that no run processes them again."""
        self._write(f"recipes/{input_digest}", record)

    def run(self, run_id: str) -> Record | None:
        """Return the record of a run, or None if it has not ended."""
        return self._read(f"runs/{run_id}")

    def runs(self) -> list[Record]:
        """Return the records of all runs, the oldest first."""
        names = (key.removeprefix(f"{self.prefix}/") for key in self.store.keys(f"{self.prefix}/runs"))
        records = [self._read(name.removesuffix(".json")) for name in names if name.endswith(".json")]
        return sorted((record for record in records if record), key=lambda r: (r["ended"], r["run"]))

    def write_run(self, run_id: str, record: Record) -> None:
        """Write the record of a run. A later record of the same run replaces an earlier one."""
        self._write(f"runs/{run_id}", {"run": run_id, "ended": _now(), **record})

    def data(self) -> Record | None:
        """Return the record of the latest run's data, or None before the first run."""
        return self._read("data")

    def write_data(self, run_id: str, record: Record) -> None:
        """Write the record of the latest run's data. It replaces the record of the run before."""
        self._write("data", {"run": run_id, "when": _now(), **record})

    def _read(self, name: str) -> Record | None:
        data = self.store.read(f"{self.prefix}/{name}.json")
        return None if data is None else json.loads(data)

    def _write(self, name: str, record: Record) -> None:
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        self.store.write(f"{self.prefix}/{name}.json", text.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
