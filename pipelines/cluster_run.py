"""A run on a cluster: upload the pipeline if necessary, start a run, and follow it to its end."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from components.terminated_run import announce_terminated_run
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.errors import PipelineError, RunInterrupted, UnsettledError, error_with_code
from continuous_training.core.exit_codes import DEFECT
from continuous_training.core.json_object import Json
from continuous_training.core.messages import extend_message, report
from continuous_training.core.progress import StepListener
from continuous_training.core.run_id import new_run_id
from continuous_training.core.run_parameters import Value
from continuous_training.core.settings import Settings, cluster_options
from continuous_training.core.user import user_name
from continuous_training.kubeflow.api import KubeflowClient
from continuous_training.kubeflow.api_objects import Run, RunRequest, service_account_field
from continuous_training.kubeflow.follow_run import Step, follow, steps_of
from continuous_training.kubeflow.object_names import RUN_ID_LABEL, STEP_LABEL, STEP_NAMES
from continuous_training.kubeflow.step_logs import CONTAINER
from continuous_training.kubeflow.submission import Submission
from continuous_training.kubeflow.upload import plan_upload, upload
from pipelines.compile import compile_workload
from pipelines.fixed_parameters import NOTHING_FIXED, Fixed, without_fixed
from pipelines.images import Images
from pipelines.run_evidence import RunEvidence
from pipelines.run_result import RunResult
from pipelines.steps.settings_file import DEFAULTS, Steps
from workloads.contract import Workload


@dataclass(frozen=True)
class ClusterRunPlan:
    """The plan of a run: `--dry-run` prints it."""

    workload: str
    pipeline: str
    uploaded: bool
    parameters: dict[str, Value]
    images: dict[str, str]
    host: str
    service_account: str

    def to_json(self) -> Json:
        """Return the object that `--dry-run` prints, without an empty service account."""
        data = asdict(self)
        del data["service_account"]
        return data | service_account_field(self.service_account)


def run_on_cluster(
    workload: Workload,
    parameters: Mapping[str, Value],
    client: KubeflowClient,
    images: Images,
    listener: StepListener,
    settings: Settings,
    deadline: float | None = None,
    steps: Steps = DEFAULTS,
    submission: Submission | None = None,
    fixed: Fixed = NOTHING_FIXED,
) -> RunResult:
    """Run the workload's pipeline on the server and return the result.

    `parameters` are those that differ from the defaults. The run is followed for `deadline` seconds, by
    default for the sum of its timeouts and retries. `settings` are the settings of this machine: if its store
    is a bucket, the result is read from the run record, otherwise from the log of notify; and if it has a
    channel for notifications, a terminated run is announced, because its notify step may be ended too.
    `fixed` are the parameters with which the pipeline is compiled.

    Raises PipelineError that names the failed step, RunInterrupted if the run is terminated, and UserError
    for missing requirements before any submission.
    """
    submission = submission or Submission()
    parameters = without_fixed(workload, fixed, parameters)
    compiled = compile_workload(workload.name, images, steps, fixed)
    submission.check_requirements(
        [compiled.text], client.connection.namespace, lambda line: listener("kubeflow", "says", line)
    )
    uploaded = upload(client, compiled, workload.summary)
    request = RunRequest(
        experiment_id=client.experiment(workload.name),
        display_name=new_run_id(workload.name),
        version=uploaded.version,
        parameters=parameters,
        service_account=submission.service_account,
    )
    run_id = client.start_run(request).run_id
    _record_starter(workload.name, run_id, settings)
    url = client.connection.run_url(run_id)
    evidence = RunEvidence(client, workload.name, run_id, settings.store, submission.kubeconfig)
    try:
        listener("kubeflow", "says", url)
        ended = follow(
            client,
            run_id,
            listener,
            deadline or steps.max_duration(workload),
            delays=evidence.delays,
        )
    except KeyboardInterrupt:
        listener("kubeflow", "says", f"no longer followed; the run continues: {url}")
        raise
    if ended.terminated and ended.state != "SUCCEEDED":
        _announce_termination(workload.name, ended, settings)
        raise RunInterrupted(f"the run was terminated. See {url}")
    failed = [name for name, step in steps_of(ended).items() if step.state == "FAILED"]
    if ended.state != "SUCCEEDED" or failed == ["notify"]:
        status = _command("pipelines.status", workload.name, client)
        raise _with_disagreement(_failure(ended, url, evidence), failed, evidence.stored_record(), status)
    waits = bool(workload.parse({**fixed, **parameters})["approval"])
    approve = _command("pipelines.approve", workload.name, client)
    return _create_result(workload, ended, url, evidence, waits, approve)


def _command(module: str, workload: str, client: KubeflowClient) -> str:
    """Return the shell command that runs a module for the workload on the cluster of the client."""
    options = cluster_options(client.connection.namespace)
    return shlex.join(["python", "-m", module, "--workload", workload, *options])


def _record_starter(workload: str, run_id: str, settings: Settings) -> None:
    """Record the user who started the run, if this machine has the address of the store."""
    if not settings.store.startswith("s3://"):
        return
    try:
        RunHistory(open_store(settings.store), workload).write_starter(run_id, user_name())
    except PipelineError as error:
        report(f"warning: the user who started the run was not recorded: {error}")


def plan_on_cluster(
    workload: Workload,
    parameters: Mapping[str, Value],
    client: KubeflowClient,
    images: Images,
    steps: Steps = DEFAULTS,
    submission: Submission | None = None,
    fixed: Fixed = NOTHING_FIXED,
) -> ClusterRunPlan:
    """Return the plan of a run, after the preflight. Nothing is uploaded or started."""
    submission = submission or Submission()
    parameters = without_fixed(workload, fixed, parameters)
    compiled = compile_workload(workload.name, images, steps, fixed)
    submission.check_requirements([compiled.text], client.connection.namespace, report)
    return ClusterRunPlan(
        workload=workload.name,
        pipeline=compiled.version,
        uploaded=not plan_upload(client, compiled).is_new,
        parameters=dict(parameters),
        images={step: images.of(step) for step in STEP_NAMES},
        host=client.connection.host,
        service_account=submission.service_account,
    )


def _failure(run: Run, url: str, evidence: RunEvidence) -> PipelineError:
    """Return the error of the failed step, with its exit code, as far as it can be found.

    The step records it in the store and prints it to the log of its pod. The server reports neither.
    """
    failed = {name: step for name, step in steps_of(run).items() if step.state == "FAILED"}
    if not failed:
        reason = run.error or "it was terminated, or no pod was started"
        return PipelineError(f"the run ended with state {run.state} and no failed step: {reason}. See {url}")
    name, step = next(iter(failed.items()))
    log = evidence.failed_log(name)
    if log is not None:
        hint = log.kubectl
    else:
        labels = f"{RUN_ID_LABEL}={run.run_id},{STEP_LABEL}={name}"
        hint = f"kubectl -n {evidence.namespace} logs -c {CONTAINER} --tail=-1 -l {labels}"
    recorded = evidence.failure()
    if recorded is not None and recorded.step == name:
        return error_with_code(recorded.exit_code, f"{name}: {recorded.error}; {hint}. See {url}")
    if log is not None and log.exit_code is not None:
        return error_with_code(log.exit_code, f"{name}: {log.error}; {hint}. See {url}")
    reason = step.error or "the step recorded no reason, so it was probably killed; see the log of its pod"
    return PipelineError(f"{name}: {reason}; {hint}. See {url}")


def _announce_termination(workload: str, run: Run, settings: Settings) -> None:
    """Record and announce a terminated run, if this machine has both addresses. Else the next run does."""
    if not (settings.notifications.has_channel and settings.store.startswith("s3://")):
        return
    try:
        history = RunHistory(open_store(settings.store), workload)
        announce_terminated_run(run, history, settings, report)
    except PipelineError as error:
        report(f"warning: the termination was not recorded; the next run does it: {error}")


def _with_disagreement(
    error: PipelineError, failed: list[str], record: RunRecord | None, status_command: str
) -> PipelineError:
    """Return the error of a failed run, or an UnsettledError if endpoint and registry disagree.

    They may also disagree if only notify failed, which compares them, and its exit code is not known.
    `status_command` compares them.
    """
    if record and record.disagreement:
        return UnsettledError(f"{error}\nThe run's verdict: {record.verdict}. {record.disagreement}")
    if failed == ["notify"] and error.exit_code == DEFECT:
        remedy = f"Endpoint and registry may disagree. To compare them:\n{status_command}"
        return UnsettledError(extend_message(str(error), remedy))
    return error


def _create_result(
    workload: Workload, run: Run, url: str, evidence: RunEvidence, waits: bool, approve_command: str
) -> RunResult:
    steps = steps_of(run)
    record = evidence.record() or _derive_record(run.run_id, steps, url, waits)
    seconds = {name: round(step.seconds, 1) for name, step in steps.items() if step.seconds is not None}
    waiting = record.verdict == "waiting"
    approve = approve_command if waiting else ""
    return replace(RunResult.from_record(workload.name, record, seconds), page=url, approve=approve)


def _derive_record(run_id: str, steps: Mapping[str, Step], url: str, waits: bool) -> RunRecord:
    """Derive the record from the executed steps: each branch of the pipeline ends with another step.

    `waits` is whether a version that passes the gate waits for approval.
    """

    def succeeded(name: str) -> bool:
        return name in steps and steps[name].state == "SUCCEEDED"

    deployed = "waiting" if waits else "promoted"
    verdict = (
        deployed if succeeded("deploy-serving") else "rejected" if succeeded("evaluate") else "unchanged"
    )
    location = "the report of the run" if succeeded("evaluate") else "the log of prep-data"
    return RunRecord(run=run_id, verdict=verdict, reasons=(f"see {location}: {url}",))
