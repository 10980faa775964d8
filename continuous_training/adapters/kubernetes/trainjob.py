"""A TrainJob of Kubeflow Trainer (2.2 and newer): started or found again, watched to its end, removed.

The Trainer makes a JobSet of it and that a Job, `NAME-node-0`, with a pod for each node; their labels are
JobSet's. Its conditions are not believed alone: where it says Complete, its Jobs must say so too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from continuous_training.adapters.kubernetes.client import Cluster, Object
from continuous_training.adapters.kubernetes.errors import NotThereError
from continuous_training.adapters.kubernetes.pod_logs import PodLog
from continuous_training.adapters.kubernetes.pod_status import why_failed, why_waiting
from continuous_training.adapters.kubernetes.resources import JOB, POD, Resource
from continuous_training.adapters.kubernetes.watch import watch
from continuous_training.core.errors import PipelineError, TransientError, UserError

TRAIN_JOB = Resource("trainer.kubeflow.org/v1alpha1", "TrainJob", "trainjobs")
CONTAINER = "node"
"""The Trainer's name for the container that trains, and for the Job that it is of."""

SETTLING = 30.0
"""Seconds that the Jobs may lag behind the TrainJob's condition."""
UNNOTICED = 60.0
"""Seconds after which it is told that nobody has taken up the TrainJob."""

Say = Callable[[str], None]
Hear = Callable[[str], PipelineError | None]
"""Takes a line of the first node's log; returns the error that it tells, when there is no use in going on."""


def start(cluster: Cluster, manifest: Object, say: Say) -> None:
    """Create the TrainJob, or take over the one that an earlier try of the same step has left.

    One that has ended is removed first. UserError when the cluster has no Trainer, or one too old.
    """
    name = manifest["metadata"]["name"]
    try:
        found = cluster.get(TRAIN_JOB, name)
        if found and _is_over(found):
            remove(cluster, name)
            found = None
        checked = cluster.apply(TRAIN_JOB, manifest, dry_run=True)
        if "runtimePatches" in manifest["spec"] and "runtimePatches" not in checked["spec"]:
            raise UserError(
                "this cluster's Kubeflow Trainer does not know runtimePatches, without which its pods would "
                "not be what Pod Security asks for: version 2.2 or newer is needed"
            )
        cluster.apply(TRAIN_JOB, manifest)
    except NotThereError as error:
        raise UserError(
            "this cluster has no TrainJobs: install Kubeflow Trainer 2.2 or newer, or train on one node "
            f"({error})"
        ) from None
    say(f"TrainJob {name} {'goes on' if found else 'is created'}")


def wait(
    cluster: Cluster,
    name: str,
    seconds: float,
    say: Say,
    hear: Hear = lambda _: None,
    beat: Callable[[], None] = lambda: None,
) -> None:
    """Return when the TrainJob and its Jobs have succeeded; log lines of the first node go to `hear`.

    `beat` is called every two seconds or more often, for as long as it waits.
    PipelineError says what its pods and their logs tell when it has failed, when somebody has removed it, or
    when it has not ended after `seconds`.
    """
    log = PodLog(cluster, CONTAINER, hear)
    selector = _of(name)
    told, began, complete = "", time.monotonic(), None
    pods: list[Object] = []
    try:
        for pods in watch(cluster, POD, selector, seconds):
            beat()
            log.follow([pod for pod in pods if _is_first(pod)])
            if log.error:
                raise log.error
            job = cluster.get(TRAIN_JOB, name)
            if job is None:
                raise PipelineError(f"TrainJob {name} is gone: somebody has deleted it")
            if failed := condition(job, "Failed"):
                raise PipelineError(_failure(cluster, name, failed, pods, log))
            if condition(job, "Complete"):
                complete = complete or time.monotonic()
                open_ones = [one for one in cluster.find(JOB, selector) if not condition(one, "Complete")]
                if not open_ones:
                    log.drain()
                    return
                if time.monotonic() - complete > SETTLING:
                    raise PipelineError(
                        f"TrainJob {name} says that it is complete, and {_progress(open_ones)}"
                    )
            words = _words(job, pods, time.monotonic() - began)
            if words and words != told:
                told = words
                say(words)
        raise TransientError(
            f"TrainJob {name} has not ended after {seconds:.0f} s, which is what the step's timeout leaves "
            "it: raise the timeout of train, or the number of its nodes. The next try goes on from the last "
            f"checkpoint. {_last(pods, log)}"
        )
    finally:
        log.close()


def remove(cluster: Cluster, name: str, patience: float = 60.0) -> None:
    """Delete the TrainJob, and wait until it and its Jobs are gone; their pods go by themselves.

    The Trainer takes an old JobSet for that of a new TrainJob of its name, and its end for the new one's.
    """
    cluster.delete(TRAIN_JOB, name)
    end = time.monotonic() + patience
    while cluster.get(TRAIN_JOB, name) is not None or cluster.find(JOB, _of(name)):
        if time.monotonic() > end:
            raise TransientError(f"TrainJob {name} was deleted and is still there; try again later")
        time.sleep(0.5)


def condition(thing: Object, kind: str) -> Object | None:
    """Return the condition of that type when it is true."""
    found = (thing.get("status") or {}).get("conditions") or []
    return next((one for one in found if one["type"] == kind and one["status"] == "True"), None)


def _of(name: str) -> str:
    """Return the selector of a TrainJob's Jobs and pods."""
    return f"jobset.sigs.k8s.io/jobset-name={name}"


def _is_over(job: Object) -> bool:
    ended = condition(job, "Failed") or condition(job, "Complete")
    return bool(ended or job["metadata"].get("deletionTimestamp"))


def _is_first(pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return (
        labels.get("jobset.sigs.k8s.io/replicatedjob-name") == CONTAINER
        and labels.get("batch.kubernetes.io/job-completion-index") == "0"
    )


def _words(job: Object, pods: list[Object], seconds: float) -> str:
    """Say what is waited for; empty when all of it runs."""
    if suspended := condition(job, "Suspended"):
        return f"suspended: {suspended.get('message') or 'a queue has not let it in yet'}"
    if not pods:
        missing = "no pods yet: is the controller of Kubeflow Trainer running, and JobSet's?"
        return missing if seconds > UNNOTICED else ""
    waiting = {pod["metadata"]["name"]: why_waiting(pod) for pod in pods}
    return "; ".join(f"{name} waits: {why}" for name, why in sorted(waiting.items()) if why)


def _failure(cluster: Cluster, name: str, failed: Object, pods: list[Object], log: PodLog) -> str:
    log.drain()
    why = ": ".join(part for part in (failed.get("reason"), failed.get("message")) if part)
    return f"TrainJob {name} has failed ({why}); {_last(pods, log, cluster)}"


def _last(pods: Iterable[Object], log: PodLog, cluster: Cluster | None = None) -> str:
    """Say how each pod that did not succeed stands, and the last lines of the log that tells most."""
    states = {pod["metadata"]["name"]: why_failed(pod) or why_waiting(pod) for pod in pods}
    told = [f"{name}: {why}" for name, why in sorted(states.items()) if why]
    lines = log.last
    if not lines and cluster:
        broken = [name for name, why in sorted(states.items()) if why]
        lines = next(filter(None, (cluster.logs(name, CONTAINER) for name in broken)), [])
    tail = "\n".join(f"    {line}" for line in lines)
    return ("; ".join(told) or "its pods are gone") + (f"; the last lines:\n{tail}" if tail else "")


def _progress(jobs: list[Object]) -> str:
    def share(job: Object) -> str:
        done, wanted = (
            (job.get("status") or {}).get("succeeded", 0),
            (job.get("spec") or {}).get("completions", 1),
        )
        return f"{done} of {wanted} pods of its Job {job['metadata']['name']} have succeeded"

    return ", ".join(share(job) for job in jobs)
