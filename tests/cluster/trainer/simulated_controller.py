"""A simulation of the controllers of Kubeflow Trainer and JobSet, which create the Job of a TrainJob.

The Job is equal to the Job of trainer 2.3.0 and jobset 0.12.0: same name and labels, indexed with one pod per
node, the runtime's container `node` with the patches of the TrainJob. The runtime states how often a node is
started; without a statement, JobSet and Kubernetes start it up to seven times. The end of the Job becomes the
condition of the TrainJob. The test provides the command and the image, which does not contain torch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import JOB
from continuous_training.adapters.kubernetes.trainjob_client import TRAIN_JOB, condition
from continuous_training.adapters.kubernetes.transport import Request
from continuous_training.core.errors import PipelineError

POLL_SECONDS = 0.3
SHIPPED_RUNTIME = Path(__file__).parents[3] / "manifests/components/trainer/training-runtime.yaml"


@dataclass
class SimulatedController:
    """A controller whose pods run `script`.

    With `reports_complete_early` a TrainJob is Complete immediately, independently of its Job. With `absent`
    the controller does nothing.
    """

    cluster: Cluster
    image: str
    script: str = ""
    reports_complete_early: bool = False
    absent: bool = False
    before_complete: Callable[[], None] = lambda: None
    created_jobs: list[Object] = field(default_factory=list)

    def reconcile(self) -> None:
        """Reconcile every TrainJob once."""
        for train_job in [] if self.absent else self.cluster.find(TRAIN_JOB):
            if train_job["metadata"].get("deletionTimestamp"):
                continue
            name = train_job["metadata"]["name"]
            job = self.cluster.get(JOB, f"{name}-node-0")
            if job is None:
                self.created_jobs.append(self.cluster.create(JOB, self._job(train_job)))
            elif condition(job, "Failed"):
                self._set_condition(
                    name, "Failed", "FailedJobs", f"jobset failed due to one or more job failures ({name})"
                )
            elif condition(job, "Complete") and not condition(train_job, "Complete"):
                self.before_complete()
                self._set_condition(name, "Complete", "AllJobsCompleted", "jobset completed successfully")
            if self.reports_complete_early:
                self._set_condition(name, "Complete", "AllJobsCompleted", "jobset completed successfully")

    def _set_condition(self, name: str, kind: str, reason: str, message: str) -> None:
        train_job = self.cluster.get(TRAIN_JOB, name)
        if train_job is None or condition(train_job, kind):
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        new_condition = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        path = self.cluster.path(TRAIN_JOB, name, "status")
        body = {"status": {"conditions": [new_condition]}}
        content_type = "application/merge-patch+json"
        action = f"write the status of {name}"
        self.cluster.transport.send(Request("PATCH", path, action, {}, body, content_type))

    def _job(self, train_job: Object) -> Object:
        job_of_runtime = runtime_job(train_job["spec"]["runtimeRef"])
        metadata, spec = train_job["metadata"], train_job["spec"]
        (patch,) = spec["runtimePatches"]
        (replicated_job,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        pod = replicated_job["template"]["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        trainer = spec["trainer"]
        labels = {
            "jobset.sigs.k8s.io/jobset-name": metadata["name"],
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "jobset.sigs.k8s.io/job-index": "0",
        }
        node_container = {
            **container,
            "image": self.image,
            "command": ["sh", "-c", self.script],
            "env": trainer["env"],
            "resources": trainer["resourcesPerNode"],
        }
        owner = {
            "apiVersion": TRAIN_JOB.api_version,
            "kind": TRAIN_JOB.kind,
            "name": metadata["name"],
            "uid": metadata["uid"],
            "controller": True,
        }
        return {
            "metadata": {"name": f"{metadata['name']}-node-0", "labels": labels, "ownerReferences": [owner]},
            "spec": {
                "completions": trainer["numNodes"],
                "parallelism": trainer["numNodes"],
                "completionMode": "Indexed",
                "backoffLimit": job_of_runtime.get("backoffLimit", 6),
                "template": {
                    "metadata": {**pod["metadata"], "labels": {**labels, **pod["metadata"]["labels"]}},
                    "spec": {
                        **pod["spec"],
                        "containers": [node_container],
                        "restartPolicy": job_of_runtime["template"]["spec"].get("restartPolicy", "OnFailure"),
                    },
                },
            },
        }


def runtime_job(reference: Object) -> Object:
    """Return the spec of the Job `node` in a runtime: the shipped one, or the Trainer's torch-distributed."""
    if reference["kind"] == "ClusterTrainingRuntime":
        return {"template": {"spec": {}}}
    runtime = yaml.safe_load(SHIPPED_RUNTIME.read_text())
    assert (reference["kind"], reference["name"]) == (runtime["kind"], runtime["metadata"]["name"])
    (replicated_job,) = runtime["spec"]["template"]["spec"]["replicatedJobs"]
    return dict(replicated_job["template"]["spec"])


@contextmanager
def run_in_background(controller: SimulatedController) -> Iterator[SimulatedController]:
    """Run the controller in a thread during the block."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(POLL_SECONDS):
            # Another process may delete the object at the same time.
            with contextlib.suppress(PipelineError):
                controller.reconcile()

    thread = threading.Thread(target=run, name="controller", daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        stop.set()
        thread.join()
