"""Run a pipeline on this machine: execute the compiled file, and keep all data in the state directory."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from continuous_training.artifacts.run_record import RunRecord
from continuous_training.core.disk_space import disk_full_message, is_disk_full, is_full
from continuous_training.core.errors import DiskFullError, PipelineError, UserError, error_with_code
from continuous_training.core.exit_codes import DEFECT
from continuous_training.core.file_lock import hold_lock
from continuous_training.core.messages import report
from continuous_training.core.progress import StepEvent
from continuous_training.core.run_id import new_run_id
from continuous_training.core.run_parameters import Values
from continuous_training.core.settings import Settings, local_registry_uri
from continuous_training.core.temporary_files import TemporaryFolder, remove_leftovers, temporary_files_in
from continuous_training.operations.prune_selection import RUN_LOCK
from pipelines import run_output
from pipelines.local_run.kfp_local import run_pipeline
from pipelines.run_result import LocalRunPlan, RunResult
from workloads.contract import Workload

if TYPE_CHECKING:
    from continuous_training.adapters.local_registry import LocalRegistry
    from pipelines.local_run.progress_events import Transcript

_MODULES = {"hf": "transformers"}
"""The module that an extra installs, if its name differs from that of the extra."""


def run_local(workload: Workload, values: Values, settings: Settings, run_id: str = "") -> RunResult:
    """Run the workload's pipeline on this machine, and return its result. `run_id` is the id of the run.

    Raises the PipelineError of the step that failed. Champion and endpoint are unchanged then.
    """
    check_extras(workload, values)
    run_id = run_id or new_run_id(workload.name)
    folder = settings.state / "runs" / run_id
    folder.mkdir(parents=True)
    remove_leftovers(settings.state)
    with hold_lock(folder / RUN_LOCK, timeout=0), temporary_files_in(settings.state, "run"):
        try:
            return _run_in(folder, run_id, workload, values, settings)
        except OSError as error:
            # A failed write to an open file contains no path.
            if is_disk_full(error) and error.filename is None:
                raise DiskFullError(disk_full_message(folder)) from error
            raise


def _run_in(folder: Path, run_id: str, workload: Workload, values: Values, settings: Settings) -> RunResult:
    # Import here for a shorter start-up time: progress must be visible within a second.
    from continuous_training.adapters.local_registry import LocalRegistry
    from continuous_training.adapters.object_store import open_store
    from continuous_training.adapters.run_history import RunHistory
    from continuous_training.operations.archive_restore import restore_champion
    from pipelines.local_run.settlement import settle_failed_run, settle_run

    is_local = settings.registry == local_registry_uri(settings.state)
    registry = LocalRegistry(settings.state / "mlflow") if is_local else None
    if registry:
        registry.check()
    history = RunHistory(open_store(settings.store), workload.name)
    started = time.perf_counter()
    restore_champion(workload.name, settings, report)
    try:
        transcript = _execute(folder, run_id, workload, values, settings, registry)
    except KeyboardInterrupt:
        history.write_run(RunRecord(run=run_id, verdict="interrupted", reasons=("interrupted by hand",)))
        raise
    finally:
        if registry:
            registry.close()
    if transcript.failure:
        step, code, message = transcript.failure
        error = error_with_code(code, message)
        if code == DEFECT and is_full(folder):
            # KFP writes files of the step outside of the step's own error handling.
            error = DiskFullError(disk_full_message(folder))
        error = type(error)(f"{step}: {error}\n  log: {folder / 'log.txt'}")
        raise settle_failed_run(error, workload.name, run_id, settings)
    record = history.run(run_id)
    if record is None:
        raise PipelineError(f"the run ended without a record; log: {folder / 'log.txt'}")
    settle_run(workload.name, record, settings)
    seconds = transcript.seconds | {"total": time.perf_counter() - started}
    result = _create_result(workload, settings, run_id, record, seconds)
    (folder / "result.json").write_text(json.dumps(result.to_json(), indent=2), encoding="utf-8")
    return result


def _execute(
    folder: Path,
    run_id: str,
    workload: Workload,
    values: Values,
    settings: Settings,
    registry: LocalRegistry | None,
) -> Transcript:
    """Run the pipeline in the run's folder."""
    temporary = TemporaryFolder(folder, "steps")
    environment = {
        # KFP leaves a folder for each step in the temporary directory.
        "TMPDIR": str(temporary.path),
        "CT_RUN": run_id,
        "CT_WORKLOAD": workload.name,
        "CT_STATE": str(settings.state),
        "CT_STORE": settings.store,
        "MLFLOW_TRACKING_URI": settings.registry,
    }
    try:
        with run_output.progress(f"{workload.name}: {workload.summary}", redirect=False) as listener:

            def create_registry_and_listen(step: str, event: StepEvent, message: str) -> None:
                # The registry is created while the model trains. A run on unchanged data needs none.
                if registry and event == "starts" and step == "train":
                    registry.begin_creation()
                listener(step, event, message)

            return run_pipeline(
                workload.name, values, run_id, folder, environment, create_registry_and_listen
            )
    finally:
        temporary.remove()


def check_extras(workload: Workload, values: Values) -> None:
    """Raise UserError with the command to type if a library that the training needs is not installed."""
    missing = [
        name for name in workload.needs(values) if importlib.util.find_spec(_MODULES.get(name, name)) is None
    ]
    if missing:
        raise UserError(
            f"workload {workload.name} trains with {', '.join(missing)}, which is not installed: "
            f"make install EXTRAS={','.join(missing)}"
        )


def _create_result(
    workload: Workload, settings: Settings, run_id: str, record: RunRecord, seconds: dict[str, float]
) -> RunResult:
    # Import here for a shorter start-up time: only a run that ended needs the server.
    from continuous_training.operations.read_serving_state import read_serving_state
    from continuous_training.operations.workspace import next_command

    rounded = {step: round(value, 3) for step, value in seconds.items()}
    result = RunResult.from_record(workload.name, record, rounded)
    return replace(
        result.with_primary_metric_first(workload.rule.metric),
        endpoint=read_serving_state(settings).url(workload.name),
        report=_find_report(settings.state / "runs", run_id, record),
        state=str(settings.state),
        approve=next_command("pipelines.approve", settings, "--workload", workload.name)
        if record.verdict == "waiting"
        else "",
    )


def _find_report(runs: Path, run_id: str, record: RunRecord) -> str | None:
    """Copy the run's report to its folder and return the path.

    For unchanged data, this is the report of the run that evaluated the same inputs.
    """
    target = runs / run_id / "report.html"
    artifacts = runs / run_id / "artifacts"
    # A challenger that was evaluated again by deploy-serving has a second report, which is the newer one.
    reports = (*artifacts.glob("*/deploy-serving/report.html"), *artifacts.glob("*/evaluate/*/report.html"))
    if reports:
        shutil.copyfile(reports[0], target)
    elif record.evaluated_by:
        target = runs / record.evaluated_by / "report.html"
    return str(target) if target.is_file() else None


def plan_local(workload: Workload, values: Values, settings: Settings) -> LocalRunPlan:
    """Return the plan of a run, for --dry-run."""
    # Import here for a shorter start-up time: kfp takes a second.
    from pipelines.compile import compile_workload
    from pipelines.images import Images

    return LocalRunPlan(
        workload=workload.name,
        pipeline=compile_workload(workload.name, Images()).version,
        parameters=values,
        source=str(values["source"] or workload.default_source),
        state=str(settings.state),
        registry=settings.registry,
        store=settings.store,
    )
