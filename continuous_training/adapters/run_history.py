"""The run history: the result of each run, and the input digests that were processed.

The records are JSON objects in the object store, so that a run on unchanged data does not need the registry.
The registry is the source of truth for versions and aliases. If a record is lost, the next run does its work
again. A damaged record is reported and read as if it were lost: it stops neither a run nor a rollback.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.processed_inputs_restore import restore_processed
from continuous_training.artifacts.run_record import DataRecord, ProcessedInputs, RunRecord
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.artifacts.step_failure import StepFailure
from continuous_training.core.digest import digest_of
from continuous_training.core.json_checksum import verify_checksum, with_checksum
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from continuous_training.core.record_order import in_order

_POSITION = "position"
"""The stored number of runs that ended before a run. Records of earlier versions do not have it."""

_Record = TypeVar("_Record")


@dataclass(frozen=True)
class _Announcement:
    """The digest of an announced result, and the channels that received it."""

    result: str
    channels: frozenset[str]

    @classmethod
    def from_json(cls, document: JsonObject) -> _Announcement:
        return cls(document.text("result"), frozenset(document.text_list("channels")))


class RunHistory:
    """The records of one workload. A damaged record is reported once to `progress`, and read as None."""

    def __init__(self, store: ObjectStore, workload: str, progress: Progress = report) -> None:
        self.store, self.workload = store, workload
        self.prefix = f"records/{workload}"
        self.progress = progress
        self._damaged: set[str] = set()

    def find_processed(self, input_digest: str) -> ProcessedInputs | None:
        """Return the record of the run that last processed these inputs, or None.

        A damaged record is written again from the records of the runs, if they contain the inputs.
        """
        name = f"recipes/{input_digest}"
        record = self._read(name, ProcessedInputs.from_json)
        if record is None and self._key(name) in self._damaged:
            record = restore_processed(input_digest, self.runs())
            if record:
                self.record_processed(input_digest, record)
                self.progress(f"{self._key(name)} was restored from the record of run {record.record.run}")
        return record

    def record_processed(self, input_digest: str, processed: ProcessedInputs) -> None:
        """Record that these inputs were processed, so that no run processes them again."""
        self._write(f"recipes/{input_digest}", processed.to_json())

    def run(self, run_id: str) -> RunRecord | None:
        """Return the record of a run, or None if it has not ended."""
        return self._read(f"runs/{run_id}", RunRecord.from_json)

    def runs(self) -> list[RunRecord]:
        """Return the records of all runs, the oldest first."""
        entries = [self._read(f"runs/{run}", _with_position) for run in self._run_ids()]
        records = [entry for entry in entries if entry]
        ordered = in_order(records, lambda entry: entry[0], lambda entry: f"{entry[1].ended} {entry[1].run}")
        return [record for _, record in ordered]

    def write_run(self, record: RunRecord) -> None:
        """Write the record of a run that ends now. A later record of the same run replaces an earlier one.

        The record of a run that the trigger service started contains its caller.
        """
        trigger = record.trigger or self.trigger(record.run)
        content = replace(record, ended=_now(), trigger=trigger).to_json()
        self._write(f"runs/{record.run}", {**content, _POSITION: len(self._run_ids())})

    def trigger(self, run_id: str) -> RunTrigger | None:
        """Return who started the run with the trigger service, or None for other runs."""
        return self._read(f"triggers/{run_id}", RunTrigger.from_json)

    def write_trigger(self, run_id: str, trigger: RunTrigger) -> None:
        """Write who started the run. The steps read it, so it is written before or right after the start."""
        self._write(f"triggers/{run_id}", trigger.to_json())

    def starter(self, run_id: str) -> str:
        """Return the person who started the run from a machine, empty if that is not recorded."""
        return self._read(f"starters/{run_id}", lambda document: document.text("user")) or ""

    def write_starter(self, run_id: str, user: str) -> None:
        """Write the person who started the run, which deploy-serving reads."""
        self._write(f"starters/{run_id}", {"user": user})

    def failure(self, run_id: str) -> StepFailure | None:
        """Return the last failure that a step of the run recorded, or None."""
        return self._read(f"failures/{run_id}", StepFailure.from_json)

    def write_failure(self, failure: StepFailure) -> None:
        """Write the failure of a step. It replaces an earlier failure of the same run."""
        self._write(f"failures/{failure.run}", failure.to_json())

    def announced(self, record: RunRecord) -> frozenset[str]:
        """Return the channels on which this result of the run was announced."""
        announcement = self._read(f"announced/{record.run}", _Announcement.from_json)
        if announcement is None or announcement.result != _result_digest(record):
            return frozenset()
        return announcement.channels

    def write_announced(self, record: RunRecord, channels: frozenset[str]) -> None:
        """Record the channels on which this result of the run was announced."""
        content = {"result": _result_digest(record), "channels": sorted(channels)}
        self._write(f"announced/{record.run}", content)

    def data(self) -> DataRecord | None:
        """Return the record of the latest run's data, or None before the first run."""
        return self._read("data", DataRecord.from_json)

    def write_data(self, record: DataRecord) -> None:
        """Write the record of the latest run's data. It replaces the record of the run before."""
        self._write("data", replace(record, when=_now()).to_json())

    def _run_ids(self) -> list[str]:
        keys = self.store.keys(f"{self.prefix}/runs")
        return [key.rpartition("/")[2].removesuffix(".json") for key in keys if key.endswith(".json")]

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}.json"

    def _read(self, name: str, from_json: Callable[[JsonObject], _Record]) -> _Record | None:
        key = self._key(name)
        data = self.store.read(key)
        if data is None:
            return None
        try:
            document = JsonObject.parse(data, key, ArtifactError)
            verify_checksum(document, "the record is ignored")
            return from_json(document)
        except ArtifactError as error:
            if key not in self._damaged:
                self._damaged.add(key)
                self.progress(f"warning: a record in the object store is damaged and is ignored: {error}")
            return None

    def _write(self, name: str, content: Json) -> None:
        text = json.dumps(with_checksum(content), indent=2, sort_keys=True, ensure_ascii=False)
        self.store.write(self._key(name), text.encode())
        self._damaged.discard(self._key(name))


def _with_position(document: JsonObject) -> tuple[int | None, RunRecord]:
    return document.integer(_POSITION) if _POSITION in document else None, RunRecord.from_json(document)


def _result_digest(record: RunRecord) -> str:
    # A repeated step writes the same result at another time.
    return digest_of(replace(record, ended="").to_json())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
