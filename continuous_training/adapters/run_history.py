"""The record of runs: what each run came to, and which recipes were judged before.

Kept beside the archives in the object store as small JSON objects, so that a run on a quiet day can
see that nothing changed without waking the registry. The registry stays the truth about versions
and aliases; when a record is lost, the next run merely does its work again.
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

    def judged(self, recipe: str) -> Record | None:
        """Return how the run that carried this recipe through ended, or None when none did."""
        return self._read(f"recipes/{recipe}")

    def settle(self, recipe: str, record: Record) -> None:
        """Remember that this recipe was carried through, so that it is not again."""
        self._write(f"recipes/{recipe}", record)

    def run(self, run_id: str) -> Record | None:
        """Return what the run came to, or None when it has not come to anything yet."""
        return self._read(f"runs/{run_id}")

    def runs(self) -> list[Record]:
        """Return what every run came to, the oldest first."""
        names = (key.removeprefix(f"{self.prefix}/") for key in self.store.keys(f"{self.prefix}/runs"))
        found = [self._read(name.removesuffix(".json")) for name in names if name.endswith(".json")]
        return sorted((record for record in found if record), key=lambda r: (r["ended"], r["run"]))

    def write_run(self, run_id: str, record: Record) -> None:
        """Remember what the run came to; a later word on the same run replaces an earlier one."""
        self._write(f"runs/{run_id}", {"run": run_id, "ended": _now(), **record})

    def data(self) -> Record | None:
        """Return what the newest run that read its data said of it, or None before the first one."""
        return self._read("data")

    def write_data(self, run_id: str, record: Record) -> None:
        """Remember what the data of the newest run looks like, in place of the run before."""
        self._write("data", {"run": run_id, "when": _now(), **record})

    def _read(self, name: str) -> Record | None:
        data = self.store.read(f"{self.prefix}/{name}.json")
        return None if data is None else json.loads(data)

    def _write(self, name: str, record: Record) -> None:
        text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False)
        self.store.write(f"{self.prefix}/{name}.json", text.encode())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
