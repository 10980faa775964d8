"""The queue of requested runs in the object store, which all replicas of the service share.

A run is a folder `trigger/WORKLOAD/NUMBER/` of objects that are created once and never changed: `request`,
`claim-N`, `start`, `cancel` and `end`. The next run of a workload gets the next number, so two requests at
the same time cannot both take it: one of them reads the queue again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.artifacts.errors import ArtifactError
from continuous_training.artifacts.run_trigger import RunTrigger
from continuous_training.core.json_object import Json, JsonObject
from continuous_training.core.run_parameters import Value
from continuous_training.trigger.errors import KeyReusedError, QueueFullError
from continuous_training.trigger.queued_run import QueuedRun, RunStatus, StartedRun

PREFIX = "trigger"
RETENTION = timedelta(days=30)
"""How long a run stays in the queue after it was requested, if it has ended."""

CAPACITY = 2
"""The number of runs of a workload that have not ended: an active run and a waiting run."""

_HINT = "delete this object from the object store to remove the run from the queue"


@dataclass(frozen=True)
class Submission:
    """The run of a request. `is_new` is False if an earlier request had started it."""

    run: QueuedRun
    is_new: bool


Entries = dict[int, set[str]]
"""The names of the objects of each run of a workload, by its number."""


class RunQueue:
    """The requested runs of all workloads.

    For `window` seconds, a request with the same key returns the existing run. A run that a replica claimed
    and did not start within `claim_seconds` can be claimed again.
    """

    def __init__(self, store: ObjectStore, window: float, claim_seconds: float = 60) -> None:
        self.store = store
        self.window = timedelta(seconds=window)
        self.claim_time = timedelta(seconds=claim_seconds)
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, int], QueuedRun] = {}

    def submit(
        self,
        workload: str,
        trigger: RunTrigger,
        parameters: Mapping[str, Value],
        key: str = "",
        version: str = "",
    ) -> Submission:
        """Add a run to the queue, or return the run that already does what the request asks for.

        Raises KeyReusedError if the key belongs to another request, and QueueFullError if another run waits.
        """
        # A store may ignore the condition of a write, so requests of one process are not simultaneous.
        with self._lock:
            while True:
                entries = self.entries(workload)
                existing = self._existing(workload, entries, parameters, key, version)
                if existing is not None:
                    return Submission(existing, is_new=False)
                number, now = max(entries, default=0) + 1, datetime.now(UTC)
                run = QueuedRun(
                    id=f"{workload}-{now:%Y%m%dT%H%M%S}-{number:04d}",
                    workload=workload,
                    number=number,
                    requested=now.isoformat(timespec="milliseconds"),
                    trigger=trigger,
                    parameters=dict(parameters),
                    key=key,
                    version=version,
                )
                if self._create(run, "request", run.to_json()):
                    return Submission(run, is_new=True)

    def find(self, run_id: str) -> QueuedRun | None:
        """Return the run with this id, or None."""
        workload, _, rest = run_id.partition("-")
        number = rest.rpartition("-")[2]
        if not (workload.isalnum() and workload.isascii() and number.isdecimal() and len(number) < 12):
            return None
        run = self._read(workload, int(number))
        return run if run is not None and run.id == run_id else None

    def unfinished(self) -> dict[str, list[QueuedRun]]:
        """Return the runs of each workload that have not ended, in the order of the queue."""
        open_numbers = {workload: _open_numbers(entries) for workload, entries in self._all_entries().items()}
        return {
            workload: [run for number in numbers if (run := self._read(workload, number)) is not None]
            for workload, numbers in open_numbers.items()
            if numbers
        }

    def remove_old(self) -> None:
        """Remove the runs that ended long ago. The latest run of a workload stays: it has the number."""
        for workload, entries in self._all_entries().items():
            for number in sorted(entries)[:-1]:
                run = self._read(workload, number) if "end" in entries[number] else None
                if run is None or _age(run.requested) < max(RETENTION, self.window):
                    break
                # Without its request, a run is not active, so a removal that is interrupted does no harm.
                for name in sorted(entries[number], key=lambda name: (name == "end", name != "request")):
                    self.store.delete(self._key(workload, number, name))
                self._runs.pop((workload, number), None)

    def claim(self, run: QueuedRun) -> int:
        """Claim a run that was not started. Return the number of the claim, or 0 if another has it."""
        count = sum(name.startswith("claim-") for name in self.entries(run.workload)[run.number])
        if count and self._claim_age(run, count) < self.claim_time:
            return 0
        return count + 1 if self._create(run, f"claim-{count + 1}", {}) else 0

    def is_claimed(self, run: QueuedRun) -> bool:
        """Return whether a replica has claimed the run to start it."""
        return self.store.size(self._key(run.workload, run.number, "claim-1")) is not None

    def record_start(self, run: QueuedRun, started: StartedRun) -> None:
        """Record that a run was started."""
        self._create(run, "start", started.to_json())

    def started(self, run: QueuedRun) -> StartedRun | None:
        """Return the start of a run, or None if it was not started."""
        document = self._document(run.workload, run.number, "start")
        return StartedRun.from_json(document) if document else None

    def record_cancellation(self, run: QueuedRun, trigger: RunTrigger) -> None:
        """Record the caller who cancels a run. The first caller is kept."""
        self._create(run, "cancel", trigger.to_json())

    def cancellation(self, run: QueuedRun) -> RunTrigger | None:
        """Return the caller who cancelled the run, or None."""
        document = self._document(run.workload, run.number, "cancel")
        return RunTrigger.from_json(document) if document else None

    def record_end(self, run: QueuedRun, status: RunStatus) -> None:
        """Record how a run ended: the next run of the workload can start."""
        self._create(run, "end", status.to_json())

    def end(self, run: QueuedRun) -> RunStatus | None:
        """Return how the run ended, or None."""
        document = self._document(run.workload, run.number, "end")
        return RunStatus.from_json(document) if document else None

    def entries(self, workload: str) -> Entries:
        """Return the objects of each run of a workload."""
        entries: Entries = {}
        for key in self.store.keys(f"{PREFIX}/{workload}"):
            _, _, number, name = key.split("/")
            entries.setdefault(int(number), set()).add(name.removesuffix(".json"))
        return entries

    def _all_entries(self) -> dict[str, Entries]:
        workloads: dict[str, Entries] = {}
        for key in self.store.keys(PREFIX):
            _, workload, number, name = key.split("/")
            names = workloads.setdefault(workload, {}).setdefault(int(number), set())
            names.add(name.removesuffix(".json"))
        return workloads

    def _existing(
        self, workload: str, entries: Entries, parameters: Mapping[str, Value], key: str, version: str
    ) -> QueuedRun | None:
        """Return the run with the same key within the window, or an equivalent run that waits."""
        alias = f"key-{hashlib.sha256(key.encode()).hexdigest()}"
        for number in sorted(entries, reverse=True) if key else ():
            run = self._read(workload, number)
            if run is None or _age(run.requested) > self.window:
                break
            if key == run.key or alias in entries[number]:
                if run.is_equivalent(parameters, version):
                    return run
                raise KeyReusedError(
                    f"the key {key!r} belongs to run {run.id} with other parameters; use a new key"
                )
        open_numbers = _open_numbers(entries)
        if len(open_numbers) < CAPACITY:
            return None
        waiting = self._read(workload, open_numbers[-1])
        if waiting is None or not waiting.is_equivalent(parameters, version):
            run_id = waiting.id if waiting else workload
            raise QueueFullError(
                f"run {run_id} already waits with other parameters; cancel it, or try again when it starts"
            )
        if key:
            self._create(waiting, alias, {})
        return waiting

    def _read(self, workload: str, number: int) -> QueuedRun | None:
        if (workload, number) not in self._runs:
            document = self._document(workload, number, "request")
            if document is None:
                return None
            if len(self._runs) > 10_000:
                self._runs.clear()
            self._runs[workload, number] = QueuedRun.from_json(document)
        return self._runs[workload, number]

    def _claim_age(self, run: QueuedRun, number: int) -> timedelta:
        document = self._document(run.workload, run.number, f"claim-{number}")
        return _age(document.text("time")) if document else timedelta(0)

    def _document(self, workload: str, number: int, name: str) -> JsonObject | None:
        key = self._key(workload, number, name)
        data = self.store.read(key)
        return None if data is None else JsonObject.parse(data, key, ArtifactError, _HINT)

    def _create(self, run: QueuedRun, name: str, content: Json) -> bool:
        # The time makes the bytes of two replicas differ: see S3Store.create.
        text = json.dumps({**content, "time": _now()}, ensure_ascii=False, indent=2)
        return self.store.create(self._key(run.workload, run.number, name), text.encode())

    @staticmethod
    def _key(workload: str, number: int, name: str) -> str:
        return f"{PREFIX}/{workload}/{number:08d}/{name}.json"


def _open_numbers(entries: Entries) -> list[int]:
    return [number for number, names in sorted(entries.items()) if "request" in names and "end" not in names]


def _age(time: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(time)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
