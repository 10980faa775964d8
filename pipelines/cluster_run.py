"""A run on a cluster: the pipeline uploaded where it is missing, started, and followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.core.errors import PipelineError
from continuous_training.core.messages import report
from continuous_training.core.parameters import Value
from continuous_training.core.progress import StepListener
from continuous_training.core.run_id import new_run_id
from continuous_training.kubeflow.api import Kubeflow, Object
from continuous_training.kubeflow.follow import Step, follow, steps_of
from continuous_training.kubeflow.upload import look_up, upload
from pipelines.compile import compile_workload
from pipelines.images import Images
from pipelines.preflight import AS_USUAL, Submission
from pipelines.steps import DEFAULTS, STEPS, Steps
from workloads.contract import Workload


def run_on_cluster(
    workload: Workload,
    given: Mapping[str, Value],
    kubeflow: Kubeflow,
    images: Images,
    listener: StepListener,
    deadline: float | None = None,
    steps: Steps = DEFAULTS,
    submission: Submission = AS_USUAL,
    store: str = "",
) -> dict[str, Any]:
    """Run the workload's pipeline on the server; returns the result as `--json` prints it.

    `given` are the parameters that differ from the defaults. The run is followed for `deadline` seconds; by
    default, as long as its timeouts and retries let it go on. `store` is where the steps keep their records:
    an s3:// address is read for what the run came to, and without one the steps that ran tell. PipelineError
    names the step that failed, and UserError what the cluster lacks, before anything is submitted.
    """
    compiled = compile_workload(workload.name, images, steps)
    submission.look([compiled.text], kubeflow, lambda line: listener("kubeflow", "says", line))
    uploaded = upload(kubeflow, compiled, workload.summary)
    deadline = deadline or steps.longest(workload)
    run = kubeflow.start_run(
        {
            "experiment_id": kubeflow.experiment(workload.name),
            "display_name": new_run_id(workload.name),
            "pipeline_version_reference": {
                "pipeline_id": uploaded.pipeline_id,
                "pipeline_version_id": uploaded.version_id,
            },
            "runtime_config": {"parameters": dict(given)},
            **submission.body(),
        }
    )
    page = kubeflow.access.run_page(run["run_id"])
    try:
        listener("kubeflow", "says", page)
        ended = follow(kubeflow, run["run_id"], listener, deadline)
    except KeyboardInterrupt:
        listener("kubeflow", "says", f"no longer followed; the run goes on: {page}")
        raise
    went = steps_of(ended)
    if ended["state"] != "SUCCEEDED":
        raise PipelineError(_failure(ended, went, page))
    return _result(workload, run["run_id"], went, page, store)


def plan_on_cluster(
    workload: Workload,
    given: Mapping[str, Value],
    kubeflow: Kubeflow,
    images: Images,
    steps: Steps = DEFAULTS,
    submission: Submission = AS_USUAL,
) -> dict[str, Any]:
    """Return what a run would do, after a look at the server; nothing is uploaded or started."""
    compiled = compile_workload(workload.name, images, steps)
    submission.look([compiled.text], kubeflow, report)
    return {
        "workload": workload.name,
        "pipeline": compiled.version,
        "uploaded": not look_up(kubeflow, compiled).new,
        "parameters": dict(given),
        "images": {step: images.of(step) for step in STEPS},
        "host": kubeflow.access.host,
        **submission.body(),
    }


def _failure(run: Object, steps: Mapping[str, Step], page: str) -> str:
    """Say which step failed, and why as far as the server knows."""
    failed = {name: step for name, step in steps.items() if step.state == "FAILED"}
    if not failed:
        why = (run.get("error") or {}).get("message") or "it was terminated, or never got a pod"
        return f"the run ended as {run['state']} and no step of it failed: {why}. See {page}"
    name, step = next(iter(failed.items()))
    why = step.error or "the server does not say why; its pod's log does"
    pod = f"; kubectl logs {step.pods[-1]}" if step.pods else ""
    return f"{name}: {why}{pod}. See {page}"


def _result(
    workload: Workload, run_id: str, steps: Mapping[str, Step], page: str, store: str
) -> dict[str, Any]:
    record = _record(store, workload.name, run_id) or _verdict(steps, page)
    metrics = record.get("metrics") or {}
    return {
        "workload": workload.name,
        "run": run_id,
        "verdict": record["verdict"],
        "reasons": record["reasons"],
        "metrics": metrics,
        "version": record.get("version"),
        "digest": record.get("digest"),
        "endpoint": record.get("endpoint"),
        "seconds": {name: round(step.seconds, 1) for name, step in steps.items() if step.seconds is not None},
        "report": None,
        "page": page,
    }


def _record(store: str, workload: str, run_id: str) -> dict[str, Any] | None:
    """Return what the run wrote down, where this machine can reach the cluster's object store."""
    return RunHistory(open_store(store), workload).run(run_id) if store.startswith("s3://") else None


def _verdict(steps: Mapping[str, Step], page: str) -> dict[str, Any]:
    """Read the verdict from the steps that ran: each branch of the pipeline ends in another one."""

    def done(name: str) -> bool:
        return name in steps and steps[name].state == "SUCCEEDED"

    verdict = "promoted" if done("deploy-serving") else "rejected" if done("evaluate") else "unchanged"
    why = "the reasons are in the run's report" if done("evaluate") else "prep-data says what it compared"
    return {"verdict": verdict, "reasons": [f"{why}: {page}"]}
