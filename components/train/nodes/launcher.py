"""train on several nodes: the dataset to the object store, a TrainJob that learns from it, the bundle back.

The step's own pod does none of the work. It starts the TrainJob, tells what its first node says, and removes
it whatever happens; so a step that is tried again, or was killed, leaves nothing behind that another one
does not find: the TrainJob's name follows from the run and the data.
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.step_cli import ERROR
from components.train.checkpoints import StoredCheckpoints
from components.train.nodes.object_store_exchange import Exchange
from components.train.step import open_dataset
from continuous_training.adapters.kubernetes import trainjob_client
from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.object_store import ObjectStore, S3Store
from continuous_training.artifacts.bundle import METADATA, BundleMetadata
from continuous_training.core.digest import digest_of
from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.files import new_folder
from continuous_training.core.messages import report
from continuous_training.core.progress import Progress
from workloads.contract import Resumable, Workload

from .heartbeat import Heartbeat

COMMAND = ("python", "-m", "torch.distributed.run", "-m", "components.train.nodes")
MARGIN = 120
"""Seconds of the step's timeout that are left for bringing the bundle home and for cleaning up."""

TERMINATED = 143
"""The exit code of a process that a SIGTERM has ended."""


@dataclass(frozen=True)
class Step:
    """The pod that the step runs in, and its run: from the environment that the pipeline gives it."""

    run: str = ""
    pod: str = ""
    uid: str = ""


def run_on_nodes(
    workload: Workload,
    given: dict[str, Any],
    data: Path,
    output: Path,
    spec: Object,
    cluster: Cluster,
    store: ObjectStore,
    step: Step,
    progress: Progress = report,
) -> BundleMetadata:
    """Learn by a TrainJob of this `spec` and write the bundle to `output`; returns its metadata.

    The spec has whatever follows from the settings of steps; the name, the owner and the arguments are added
    here. PipelineError says how the TrainJob ended when it did not succeed.
    """
    began = time.monotonic()
    dataset, _ = open_dataset(workload, given, data)
    if not isinstance(store, S3Store):
        raise UserError(
            "training on several nodes needs an object store that all of them reach: set CT_STORE to "
            "s3://BUCKET/PREFIX?endpoint=HOST:PORT, or train on one node"
        )
    input_digest = dataset.manifest.input_digest
    name = name_of(workload, input_digest, step)
    exchange = Exchange(store, f"trainjobs/{name}")
    with _terminable(), _removed(cluster, name, exchange, progress):
        if not exchange.has_bundle():
            progress(
                f"handing {dataset.rows('train').num_rows:,} rows to {spec['trainer']['numNodes']} nodes"
            )
            exchange.put_data(data)
            heartbeat = Heartbeat(store, exchange.key)
            heartbeat.beat()
            trainjob_client.start(cluster, manifest_of(workload, name, exchange.key, spec, step), progress)
            left = spec["activeDeadlineSeconds"] - MARGIN - (time.monotonic() - began)
            trainjob_client.wait(cluster, name, left, progress, _hear, heartbeat.beat)
        with new_folder(output, METADATA) as folder:
            exchange.fetch_bundle(folder)
            metadata = BundleMetadata.read(folder)
            digest = metadata.require_training(folder).input_digest
            if digest != input_digest:
                raise PipelineError(f"the nodes' model has the input digest {digest}, not {input_digest}")
        progress(f"a model from {spec['trainer']['numNodes']} nodes in {time.monotonic() - began:.1f} s")
    if isinstance(workload, Resumable):
        StoredCheckpoints(store, workload.name, input_digest, progress).clear()
    return metadata


def name_of(workload: Workload, input_digest: str, step: Step) -> str:
    """Return the TrainJob's name: the same for each try of one run's step, another for any other run."""
    return f"train-{workload.name[:30]}-{digest_of([step.run or step.uid, input_digest])[:12]}"


def manifest_of(workload: Workload, name: str, key: str, spec: Object, step: Step) -> Object:
    """Return the TrainJob; it goes with the step's pod, should nothing else remove it."""
    trainer = {
        **spec["trainer"],
        "command": list(COMMAND),
        "args": ["--workload", workload.name, "--key", key],
    }
    owner = {"apiVersion": "v1", "kind": "Pod", "name": step.pod, "uid": step.uid}
    labels = {
        "app.kubernetes.io/managed-by": "continuous-training",
        "continuous-training/model": workload.name,
    }
    return {
        "metadata": {"name": name, "labels": labels, "ownerReferences": [owner] if step.uid else []},
        "spec": {**spec, "trainer": trainer},
    }


def whole_numbers(value: Any) -> Any:
    """Return a KFP parameter with whole numbers as such: it comes with floats in the place of all numbers."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hear(line: str) -> PipelineError | None:
    """Pass a line of the first node on; returns the error that it tells, where trying again is of no use."""
    report(line)
    if not line.startswith(ERROR):
        return None
    told = json.loads(line.removeprefix(ERROR))
    return UserError(told["error"]) if told["exit_code"] == UserError.exit_code else None


@contextlib.contextmanager
def _removed(cluster: Cluster, name: str, exchange: Exchange, progress: Progress) -> Iterator[None]:
    """Remove the TrainJob and what was exchanged at the end, whatever that is."""
    try:
        yield
    finally:
        for remove in (lambda: trainjob_client.remove(cluster, name), exchange.remove):
            try:
                remove()
            except PipelineError as error:
                # The error that led here tells more than this one.
                progress(f"left behind: {error}")


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Have a SIGTERM, which is how a cluster ends a pod, unwind what is open as an exception does."""

    def end(*_: object) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
