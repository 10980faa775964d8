"""The run history: the result of each run, and the input digests that were processed.

The records are JSON objects in the object store, so that a run on unchanged data does not need the registry.
The registry is the source of truth for versions and aliases. If a record is lost, the next run does its work
again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_record import DataRecord, ProcessedInputs, RunRecord
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.digest import digest_of
from continuous_training.core.json_checksum import verify_checksum, with_checksum
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.record_order import in_order

_POSITION = "position"
"""The stored number of runs that ended before a run. Records of earlier versions do not have it."""

_DELETE = "delete this object from the object store to continue without the record"


class RunHistory:
    """The records of one workload. Reading raises ArtifactError for a damaged record."""

    def __init__(self, store: ObjectStore, workload: str) -> None:
        self.store, self.workload = store, workload
        self.prefix = f"records/{workload}"

    def find_processed(self, input_digest: str) -> ProcessedInputs | None:
        """Return the record of the run that last processed these inputs, or None."""
        document = self._read(f"recipes/{input_digest}")
        return ProcessedInputs.from_json(document) if document else None

    def record_processed(self, input_digest: str, processed: ProcessedInputs) -> None:
        """Record that these inputs were processed, so that no run processes them again."""
        self._write(f"recipes/{input_digest}", processed.to_json())

    def run(self, run_id: str) -> RunRecord | None:
        """Return the record of a run, or None if it has not ended."""
        document = self._read(f"runs/{run_id}")
        return RunRecord.from_json(document) if document else None

    def runs(self) -> list[RunRecord]:
        """Return the records of all runs, the oldest first."""
        documents = [self._read(f"runs/{run}") for run in self._run_ids()]
        records = [
            (document.integer(_POSITION) if _POSITION in document else None, RunRecord.from_json(document))
            for document in documents
            if document
        ]
        ordered = in_order(records, lambda entry: entry[0], lambda entry: f"{entry[1].ended} {entry[1].run}")
        return [record for _, record in ordered]

    def write_run(self, record: RunRecord) -> None:
        """Write the record of a run that ends now. A later record of the same run replaces an earlier one."""
        content = replace(record, ended=_now()).to_json()
        self._write(f"runs/{record.run}", {**content, _POSITION: len(self._run_ids())})

    def failure(self, run_id: str) -> StepFailure | None:
        """Return the last failure that a step of the run recorded, or None."""
        document = self._read(f"failures/{run_id}")
        return StepFailure.from_json(document) if document else None

    def write_failure(self, failure: StepFailure) -> None:
        """Write the failure of a step. It replaces an earlier failure of the same run."""
        self._write(f"failures/{failure.run}", failure.to_json())

    def announced(self, record: RunRecord) -> frozenset[str]:
        """Return the channels on which this result of the run was announced."""
        document = self._read(f"announced/{record.run}")
        if document is None or document.text("result") != _result_digest(record):
            return frozenset()
        return frozenset(document.text_list("channels"))

    def write_announced(self, record: RunRecord, channels: frozenset[str]) -> None:
        """Record the channels on which this result of the run was announced."""
        content = {"result": _result_digest(record), "channels": sorted(channels)}
        self._write(f"announced/{record.run}", content)

    def data(self) -> DataRecord | None:
        """Return the record of the latest run's data, or None before the first run."""
        document = self._read("data")
        return DataRecord.from_json(document) if document else None

    def write_data(self, record: DataRecord) -> None:
        """Write the record of the latest run's data. It replaces the record of the run before."""
        self._write("data", replace(record, when=_now()).to_json())

    def _run_ids(self) -> list[str]:
        keys = self.store.keys(f"{self.prefix}/runs")
        return [key.rpartition("/")[2].removesuffix(".json") for key in keys if key.endswith(".json")]

    def _read(self, name: str) -> JsonObject | None:
        key = f"{self.prefix}/{name}.json"
        data = self.store.read(key)
        if data is None:
            return None
        document = JsonObject.parse(data, key, ArtifactError, _DELETE)
        verify_checksum(document, _DELETE)
        return document

    def _write(self, name: str, content: Json) -> None:
        text = json.dumps(with_checksum(content), indent=2, sort_keys=True, ensure_ascii=False)
        self.store.write(f"{self.prefix}/{name}.json", text.encode())


def _result_digest(record: RunRecord) -> str:
    # A repeated step writes the same result at another time.
    return digest_of(replace(record, ended="").to_json())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
