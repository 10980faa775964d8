"""Train on several nodes with a TrainJob. The dataset and the bundle are exchanged through the object store.

The step's own pod does not train. It starts the TrainJob, reports the log of its first node, and always
deletes it at the end. The name of the TrainJob depends only on the run and the data, so that a retry of a
killed step finds the TrainJob of the first attempt.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
from continuous_training.core.messages import ERROR, report
from continuous_training.core.progress import Progress
from continuous_training.core.termination import exit_on_sigterm
from workloads.contract import Resumable, Workload

from .heartbeat import Heartbeat

COMMAND = ("python", "-m", "torch.distributed.run", "-m", "components.train.nodes")
MARGIN = 120
"""Seconds of the step's timeout that are reserved for fetching the bundle and for deleting the TrainJob."""


@dataclass(frozen=True)
class Step:
    """The run and the pod of the step: the run id, the pod's name and UID, and the start of its first try.

    `started` is a value of `time.monotonic`.
    """

    run: str = ""
    pod: str = ""
    uid: str = ""
    started: float = field(default_factory=time.monotonic)


def run_on_nodes(
    workload: Workload,
    parameters: Mapping[str, object],
    data: Path,
    output: Path,
    spec: Object,
    cluster: Cluster,
    store: ObjectStore,
    step: Step,
    progress: Progress = report,
) -> BundleMetadata:
    """Train with a TrainJob of this `spec` and write the bundle to `output`. Return its metadata.

    The spec contains the settings of the step, such as nodes and resources. The name, the owner and the
    arguments are added here. Each node is started once: a lost node is a TransientError, and another call
    resumes the training. Raises UserError without an S3 store, and PipelineError, with the reason, if the
    TrainJob fails.
    """
    started = time.monotonic()
    dataset, _ = open_dataset(workload, parameters, data)
    if not isinstance(store, S3Store):
        raise UserError(
            "training on several nodes needs an object store that all of them reach: set CT_STORE to "
            "s3://BUCKET/PREFIX?endpoint=HOST:PORT, or train on one node"
        )
    input_digest = dataset.manifest.input_digest
    name = name_of(workload, input_digest, step)
    exchange = Exchange(store, f"trainjobs/{name}")
    with exit_on_sigterm(), _deleted_at_end(cluster, name, exchange, progress):
        if not exchange.has_bundle():
            progress(
                f"uploading {dataset.rows('train').num_rows:,} rows for {spec['trainer']['numNodes']} nodes"
            )
            exchange.put_data(data)
            heartbeat = Heartbeat(store, exchange.key)
            heartbeat.beat()
            trainjob_client.start(cluster, manifest_of(workload, name, exchange.key, spec, step), progress)
            timeout = spec["activeDeadlineSeconds"] - MARGIN - (time.monotonic() - step.started)
            trainjob_client.wait(cluster, name, max(timeout, 0), progress, _handle_log_line, heartbeat.beat)
        with new_folder(output, METADATA) as folder:
            exchange.fetch_bundle(folder)
            metadata = BundleMetadata.read(folder)
            digest = metadata.require_training(folder).input_digest
            if digest != input_digest:
                raise PipelineError(
                    f"the model from the nodes has the input digest {digest}, not {input_digest}"
                )
        progress(
            f"trained the model on {spec['trainer']['numNodes']} nodes in {time.monotonic() - started:.1f} s"
        )
    if isinstance(workload, Resumable):
        StoredCheckpoints(store, workload.name, input_digest, progress).clear()
    return metadata


def name_of(workload: Workload, input_digest: str, step: Step) -> str:
    """Return the name of the TrainJob. Retries of the step in one run get the same name."""
    return f"train-{workload.name[:30]}-{digest_of([step.run or step.uid, input_digest])[:12]}"


def manifest_of(workload: Workload, name: str, key: str, spec: Object, step: Step) -> Object:
    """Return the manifest of the TrainJob. The step's pod owns it, so Kubernetes deletes it with the pod."""
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


def restore_integers(value: Any) -> Any:
    """Convert the whole numbers of a KFP parameter to int. KFP passes all numbers as floats."""
    if isinstance(value, dict):
        return {key: restore_integers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [restore_integers(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _handle_log_line(line: str) -> PipelineError | None:
    """Report a log line of the first node. Return the error in it if a retry cannot succeed, else None."""
    report(line)
    if not line.startswith(ERROR):
        return None
    failure = json.loads(line.removeprefix(ERROR))
    return UserError(failure["error"]) if failure["exit_code"] == UserError.exit_code else None


@contextlib.contextmanager
def _deleted_at_end(cluster: Cluster, name: str, exchange: Exchange, progress: Progress) -> Iterator[None]:
    """Delete the TrainJob and the exchanged objects at the end of the block, also after an error."""
    try:
        yield
    finally:
        removals: list[Callable[[], None]] = [lambda: trainjob_client.remove(cluster, name), exchange.remove]
        for remove in removals:
            try:
                remove()
            except PipelineError as error:
                # Raising this error would hide the first one, which is more important.
                progress(f"left behind: {error}")
