"""Start, watch and remove a TrainJob of Kubeflow Trainer (2.2 and newer).

The Trainer creates a JobSet for it, which creates a Job, `NAME-node-0`, with one pod per node. The labels are
JobSet's. The condition Complete of a TrainJob is confirmed by the conditions of its Jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import NotThereError, RefusedError
from continuous_training.adapters.kubernetes.node_failures import NodeFailures
from continuous_training.adapters.kubernetes.pod_logs import PodLog
from continuous_training.adapters.kubernetes.resources import JOB, POD, Resource
from continuous_training.adapters.kubernetes.trainjob_pod_status import failure_reason, waiting_reason
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError, StepTimeoutError, TransientError, UserError
from continuous_training.core.progress import Progress

TRAIN_JOB = Resource("trainer.kubeflow.org/v1alpha1", "TrainJob", "trainjobs")
CONTAINER = "node"
"""The Trainer's name for the container that trains, and for its Job."""

SETTLING = 30.0
"""Seconds by which the Jobs may be behind the TrainJob's condition."""
UNNOTICED = 60.0
"""Seconds after which a TrainJob without pods is reported."""

MISSING_RUNTIME = "must be created before the TrainJob is created"
"""The message of the Trainer's webhook for a runtime that does not exist."""

LogLineHandler = Callable[[str], PipelineError | None]
"""Receives a line of the first node's log. Returns the error that it reports, if the training has failed."""


def start(cluster: Cluster, manifest: Object, progress: Progress) -> None:
    """Create the TrainJob, or continue with the one of an earlier attempt of the same step.

    A TrainJob that has ended is removed first. Raises UserError if the cluster has no Trainer, or an old one.
    """
    name = manifest["metadata"]["name"]
    try:
        existing = cluster.get(TRAIN_JOB, name)
        if existing and _has_ended(existing):
            remove(cluster, name)
            existing = None
        validated = cluster.apply(TRAIN_JOB, manifest, dry_run=True)
        if "runtimePatches" in manifest["spec"] and "runtimePatches" not in validated["spec"]:
            raise UserError(
                "this cluster's Kubeflow Trainer does not support runtimePatches, which its pods need for "
                "Pod Security: install version 2.2 or newer"
            )
        cluster.apply(TRAIN_JOB, manifest)
    except NotThereError as error:
        raise UserError(
            "this cluster has no TrainJobs: install Kubeflow Trainer 2.2 or newer, or train on one node "
            f"({error})"
        ) from None
    except RefusedError as error:
        if MISSING_RUNTIME not in str(error):
            raise
        raise UserError(
            "this namespace has no runtime for the TrainJob: apply manifests/components/trainer, or set "
            f"training_runtime to a ClusterTrainingRuntime of the cluster ({error})"
        ) from None
    progress(f"TrainJob {name} {'continues' if existing else 'is created'}")


def wait(
    cluster: Cluster,
    name: str,
    seconds: float,
    progress: Progress,
    on_line: LogLineHandler = lambda _: None,
    heartbeat: Callable[[], None] = lambda: None,
) -> None:
    """Wait until the TrainJob and its Jobs have succeeded; pass log lines of the first node to `on_line`.

    `heartbeat` is called at least every two seconds. The first failure of a node ends the wait. Raises
    NodeLostError if a node was lost, and StepTimeoutError if the TrainJob has not ended after `seconds`. Any
    other failure is a PipelineError with the exit code and the log of the node that failed first.
    """
    log, failures = PodLog(cluster, CONTAINER, on_line), NodeFailures(cluster, CONTAINER)
    selector = _selector(name)
    reported, started, complete = "", time.monotonic(), None
    pods: list[Object] = []
    try:
        for pods in watch(cluster, POD, selector, seconds):
            heartbeat()
            failures.observe(pods)
            log.follow([pod for pod in pods if _is_first_node(pod)])
            if log.error:
                raise log.error
            job = cluster.get(TRAIN_JOB, name)
            if job is None:
                raise PipelineError(f"TrainJob {name} does not exist any more: it was deleted")
            failed = condition(job, "Failed")
            if failed or failures.are_complete:
                log.drain()
                raise failures.error(f"TrainJob {name}", _reason(failed or {}))
            if condition(job, "Complete"):
                complete = complete or time.monotonic()
                incomplete = [job for job in cluster.find(JOB, selector) if not condition(job, "Complete")]
                if not incomplete:
                    log.drain()
                    return
                if time.monotonic() - complete > SETTLING:
                    raise PipelineError(
                        f"TrainJob {name} is complete according to its condition, but {_progress(incomplete)}"
                    )
            pending = _pending_reason(job, pods, time.monotonic() - started)
            if pending and pending != reported:
                reported = pending
                progress(pending)
        raise StepTimeoutError(
            f"TrainJob {name} has not ended after {seconds:.0f} s, the rest of the step's timeout: "
            "increase the timeout of train, or the number of its nodes. The next attempt continues from the "
            f"last checkpoint. {_pod_summary(pods, log)}"
        )
    finally:
        log.close()


def remove(cluster: Cluster, name: str, timeout: float = 60.0) -> None:
    """Delete the TrainJob, and wait until it and its Jobs are deleted. Kubernetes deletes the pods.

    The wait is necessary, because the Trainer would use the old JobSet for a new TrainJob of the same name.
    """
    cluster.delete(TRAIN_JOB, name)
    end = time.monotonic() + timeout
    while cluster.get(TRAIN_JOB, name) is not None or cluster.find(JOB, _selector(name)):
        if time.monotonic() > end:
            raise TransientError(f"TrainJob {name} was deleted but still exists; try again later")
        time.sleep(0.5)


def condition(item: Object, kind: str) -> Object | None:
    """Return the condition of that type if it is true, or None."""
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind and entry["status"] == "True"), None)


def _selector(name: str) -> str:
    """Return the selector of a TrainJob's Jobs and pods."""
    return f"jobset.sigs.k8s.io/jobset-name={name}"


def _has_ended(job: Object) -> bool:
    ended = condition(job, "Failed") or condition(job, "Complete")
    return bool(ended or job["metadata"].get("deletionTimestamp"))


def _is_first_node(pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return (
        labels.get("jobset.sigs.k8s.io/replicatedjob-name") == CONTAINER
        and labels.get("batch.kubernetes.io/job-completion-index") == "0"
    )


def _pending_reason(job: Object, pods: list[Object], seconds: float) -> str:
    """Return reason the training does not run yet, or an empty text if all pods run."""
    if suspended := condition(job, "Suspended"):
        return f"suspended: {suspended.get('message') or 'a queue has not admitted it yet'}"
    if not pods:
        missing = "no pods yet: is the controller of Kubeflow Trainer running, and JobSet's?"
        return missing if seconds > UNNOTICED else ""
    waiting = {pod["metadata"]["name"]: waiting_reason(pod) for pod in pods}
    return "; ".join(f"{name} is waiting: {reason}" for name, reason in sorted(waiting.items()) if reason)


def _reason(failed: Object) -> str:
    """Return the reason and the message of a condition."""
    return ": ".join(str(part) for part in (failed.get("reason"), failed.get("message")) if part)


def _pod_summary(pods: Iterable[Object], log: PodLog) -> str:
    """Return the state of each pod that did not succeed, and the last lines of the first node's log."""
    states = {pod["metadata"]["name"]: failure_reason(pod) or waiting_reason(pod) for pod in pods}
    problems = [f"{name}: {reason}" for name, reason in sorted(states.items()) if reason]
    tail = "".join(f"\n    {line}" for line in log.last)
    return ("; ".join(problems) or "its pods do not exist any more") + (
        f"; the last lines:{tail}" if tail else ""
    )


def _progress(jobs: list[Object]) -> str:
    def share(job: Object) -> str:
        succeeded, expected = (
            (job.get("status") or {}).get("succeeded", 0),
            (job.get("spec") or {}).get("completions", 1),
        )
        return f"{succeeded} of {expected} pods of its Job {job['metadata']['name']} have succeeded"

    return ", ".join(share(job) for job in jobs)
