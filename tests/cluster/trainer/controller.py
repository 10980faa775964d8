"""Plays Kubeflow Trainer's controller and JobSet's: a Job with the pods of a TrainJob, and its conditions.

What it makes is what those two make (trainer 2.3.0, jobset 0.11.1): the Job's name and labels, an indexed Job
with one pod a node, the runtime's container `node` under the patches of the TrainJob, the Job's end as the
TrainJob's condition. Only the command is the test's own, and the image one that has no torch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.resources import JOB
from continuous_training.adapters.kubernetes.trainjob import TRAIN_JOB, condition
from continuous_training.adapters.kubernetes.transport import Request
from continuous_training.core.errors import PipelineError


@dataclass
class Controller:
    """What the pods run, and how far the controller does its work.

    `lies` has it say Complete at once, whatever the Job does; `absent`, do nothing at all.
    """

    cluster: Cluster
    image: str
    script: str = ""
    lies: bool = False
    absent: bool = False
    backoff: int = 0
    before_complete: Callable[[], None] = lambda: None
    made: list[Object] = field(default_factory=list)

    def step(self) -> None:
        """Look at every TrainJob once."""
        for train_job in [] if self.absent else self.cluster.find(TRAIN_JOB):
            if train_job["metadata"].get("deletionTimestamp"):
                continue
            name = train_job["metadata"]["name"]
            job = self.cluster.get(JOB, f"{name}-node-0")
            if job is None:
                self.made.append(self.cluster.create(JOB, self._job(train_job)))
            elif condition(job, "Failed"):
                self._tell(
                    name, "Failed", "FailedJobs", f"jobset failed due to one or more job failures ({name})"
                )
            elif condition(job, "Complete") and not condition(train_job, "Complete"):
                self.before_complete()
                self._tell(name, "Complete", "AllJobsCompleted", "jobset completed successfully")
            if self.lies:
                self._tell(name, "Complete", "AllJobsCompleted", "jobset completed successfully")

    def _tell(self, name: str, kind: str, reason: str, message: str) -> None:
        found = self.cluster.get(TRAIN_JOB, name)
        if found is None or condition(found, kind):
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {
            "type": kind,
            "status": "True",
            "reason": reason,
            "message": message,
            "lastTransitionTime": now,
        }
        path = self.cluster.path(TRAIN_JOB, name, "status")
        body = {"status": {"conditions": [told]}}
        kind_of = "application/merge-patch+json"
        self.cluster.transport.send(Request("PATCH", path, f"tell of {name}", {}, body, kind_of))

    def _job(self, train_job: Object) -> Object:
        metadata, spec = train_job["metadata"], train_job["spec"]
        (patch,) = spec["runtimePatches"]
        (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
        pod = replicated["template"]["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        trainer = spec["trainer"]
        labels = {
            "jobset.sigs.k8s.io/jobset-name": metadata["name"],
            "jobset.sigs.k8s.io/replicatedjob-name": "node",
            "jobset.sigs.k8s.io/job-index": "0",
        }
        whole = {
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
                "backoffLimit": self.backoff,
                "template": {
                    "metadata": {**pod["metadata"], "labels": {**labels, **pod["metadata"]["labels"]}},
                    "spec": {**pod["spec"], "containers": [whole], "restartPolicy": "Never"},
                },
            },
        }


@contextmanager
def at_work(controller: Controller) -> Iterator[Controller]:
    """Have the controller at work for the while."""
    ends = threading.Event()

    def work() -> None:
        while not ends.wait(0.3):
            # Somebody may delete what it is just looking at.
            with contextlib.suppress(PipelineError):
                controller.step()

    thread = threading.Thread(target=work, name="controller", daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        ends.set()
        thread.join()
