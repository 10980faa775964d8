"""A run on one machine: the compiled file executed here, all that it leaves behind under the state folder."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from pathlib import Path
from typing import Any

from continuous_training.core.errors import PipelineError, UserError
from continuous_training.core.file_lock import held
from continuous_training.core.messages import report
from continuous_training.core.parameters import Values
from continuous_training.core.progress import StepEvent
from continuous_training.core.run_id import new_run_id
from continuous_training.core.settings import Settings, local_registry_uri
from continuous_training.operations.retention import RUN_LOCK
from pipelines import run_output
from workloads.contract import Workload

"""The file in a run's folder that the run holds locked for as long as it lives."""


def run_local(workload: Workload, values: Values, settings: Settings) -> dict[str, Any]:
    """Run the workload's pipeline on this machine; returns the result as `--json` prints it.

    Raises the PipelineError of the step that failed: the champion and what is served are as before.
    """
    check_extras(workload, values)
    run_id = new_run_id(workload.name)
    folder = settings.state / "runs" / run_id
    folder.mkdir(parents=True)
    with held(folder / RUN_LOCK, within=0):
        return _run_in(folder, run_id, workload, values, settings)


def _run_in(
    folder: Path, run_id: str, workload: Workload, values: Values, settings: Settings
) -> dict[str, Any]:
    from continuous_training.adapters.local_registry import LocalRegistry
    from continuous_training.adapters.object_store import open_store
    from continuous_training.adapters.run_history import RunHistory

    own = settings.registry == local_registry_uri(settings.state)
    registry = LocalRegistry(settings.state / "mlflow") if own else None
    if registry:
        registry.check()
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = {
        # KFP leaves a folder for each step in the system's temporary one.
        "TMPDIR": str(temporary),
        "CT_STATE": str(settings.state),
        "CT_STORE": settings.store,
        "MLFLOW_TRACKING_URI": registry.uri if registry else settings.registry,
    }
    records = RunHistory(open_store(settings.store), workload.name)
    began = time.perf_counter()
    try:
        with run_output.progress(f"{workload.name}: {workload.summary}") as listener:
            from pipelines.compile import compile_workload
            from pipelines.images import Images
            from pipelines.local_run.kfp_local import run_compiled

            def listen(step: str, event: StepEvent, words: str) -> None:
                # On a quiet day nothing comes after prep-data, and the registry is not woken.
                if registry and step == "train" and event == "starts":
                    registry.start()
                listener(step, event, words)

            text = compile_workload(workload.name, Images()).text
            transcript = run_compiled(text, values, run_id, folder, environment, listen)
    except KeyboardInterrupt:
        records.write_run(run_id, {"verdict": "interrupted", "reasons": ["interrupted by hand"]})
        raise
    finally:
        if registry:
            registry.close()
        shutil.rmtree(temporary, ignore_errors=True)
    if transcript.failure:
        step, code, message = transcript.failure
        error = _error(code, message)
        error = registry.explain(error) if registry else error
        raise type(error)(f"{step}: {error}\n  log: {folder / 'log.txt'}")
    record = records.run(run_id)
    if record is None:
        raise PipelineError(f"the run ended without a record; log: {folder / 'log.txt'}")
    seconds = transcript.seconds | {"total": time.perf_counter() - began}
    result = _result(workload, settings, run_id, record, seconds)
    (folder / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")
    return result


_MODULES = {"hf": "transformers"}
"""What an extra brings, where it is not called so itself."""


def check_extras(workload: Workload, values: Values) -> None:
    """Return when what this training needs is installed; UserError with the command otherwise."""
    missing = [
        name for name in workload.needs(values) if importlib.util.find_spec(_MODULES.get(name, name)) is None
    ]
    if missing:
        raise UserError(
            f"workload {workload.name} trains with {', '.join(missing)}, which is not installed: "
            f"make install EXTRAS={','.join(missing)}"
        )


def _error(code: int, message: str) -> PipelineError:
    kinds = {kind.exit_code: kind for kind in PipelineError.__subclasses__()}
    return kinds.get(code, PipelineError)(message)


def _result(
    workload: Workload, settings: Settings, run_id: str, record: dict[str, Any], seconds: dict[str, float]
) -> dict[str, Any]:
    return {
        "workload": workload.name,
        "run": run_id,
        "verdict": record["verdict"],
        "reasons": record["reasons"],
        "metrics": _primary_first(record.get("metrics", {}), workload.rule.metric),
        "version": record.get("version"),
        "digest": record.get("digest"),
        "endpoint": _endpoint(settings, workload.name),
        "seconds": {step: round(value, 3) for step, value in seconds.items()},
        "report": _report(settings.state / "runs", run_id, record),
        "state": str(settings.state),
    }


def _primary_first(metrics: dict[str, Any], primary: str) -> dict[str, Any]:
    return {name: metrics[name] for name in sorted(metrics, key=lambda name: (name != primary, name))}


def _report(runs: Path, run_id: str, record: dict[str, Any]) -> str | None:
    """Return the run's report, moved to where it is easy to find; that of the judging run when unchanged."""
    target = runs / run_id / "report.html"
    artifacts = runs / run_id / "artifacts"
    judged = (*artifacts.glob("*/deploy-serving/report.html"), *artifacts.glob("*/evaluate/*/report.html"))
    # A model that was judged again has a second report, from deploy-serving.
    found = next(iter(judged), None)
    if found:
        shutil.copyfile(found, target)
    elif "judged_by" in record:
        target = runs / record["judged_by"] / "report.html"
    return str(target) if target.is_file() else None


def _endpoint(settings: Settings, name: str) -> str | None:
    """Return the endpoint's address; a stopped server is started, a champion that it lost is served again.

    None when there is no champion.
    """
    from continuous_training.operations.repair import serve_champion
    from continuous_training.serving.process import daemon
    from continuous_training.serving.process.client import ServerClient

    state = settings.state
    if (state / "serving").is_dir():
        running = daemon.status(state) or daemon.start(state, report=report)
        if ServerClient(running).served(name):
            return f"{running.url}/predict/{name}"
    return serve_champion(name, settings)


def plan_local(workload: Workload, values: Values, settings: Settings) -> dict[str, Any]:
    """Return what a run would do, for --dry-run."""
    from pipelines.compile import compile_workload
    from pipelines.images import Images

    return {
        "workload": workload.name,
        "pipeline": compile_workload(workload.name, Images()).version,
        "parameters": values,
        "source": values["source"] or workload.default_source,
        "state": str(settings.state),
        "registry": settings.registry,
        "store": settings.store,
    }
