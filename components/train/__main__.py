"""Run the train step alone: train a model on a dataset and write the model bundle.

In:   --data, the output of prep-data
Out:  OUTPUT, the bundle: model.json, the model's files and the handler's code
Next: python -m components.evaluate --workload NAME --data DATA --model OUTPUT --output out/evaluation
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components import step_cli
from continuous_training.adapters.object_store import ObjectStore, open_store
from continuous_training.artifacts.bundle import BundleMetadata
from continuous_training.core.child_process import run_in_child
from continuous_training.core.json_object import Json
from continuous_training.core.run_parameters import parse_assignments
from continuous_training.core.settings import Settings
from continuous_training.core.termination import exit_on_sigterm
from workloads import discovery
from workloads.contract import Resumable, Workload

from .step import run


def in_pipeline(workload: str, parameters: str, trainjob: Json, data: Any, model: Any) -> None:
    """Run the step inside a pipeline, on several nodes if `trainjob`, a TrainJob spec, is not empty.

    A workload that can resume trains in a child process if the settings allow a retry.
    """

    started = time.monotonic()

    def execute(settings: Settings) -> str:
        definition, arguments = discovery.get(workload), step_cli.arguments_of(parameters)
        paths = Path(data.path), Path(model.path)
        if trainjob:
            metadata = _on_nodes(definition, arguments, *paths, trainjob, open_store(settings.store), started)
            return metadata.require_training(paths[1]).input_digest
        if settings.retries and isinstance(definition, Resumable):
            # A crash of the process that trains does not end the step, which then resumes the training.
            with exit_on_sigterm():
                return run_in_child(_in_process, workload, arguments, *paths, settings.store)
        return _in_process(workload, arguments, *paths, settings.store)

    model.metadata |= {"workload": workload, "recipe": step_cli.run_in_pipeline("train", execute)}


def _in_process(workload: str, parameters: dict[str, str], data: Path, output: Path, store: str) -> str:
    """Train in this process, with the store of that URI. Return the input digest."""
    metadata = run(discovery.get(workload), parameters, data, output, step_cli.tell, open_store(store))
    return metadata.require_training(output).input_digest


def _on_nodes(
    workload: Workload,
    parameters: Mapping[str, object],
    data: Path,
    output: Path,
    spec: Json,
    store: ObjectStore,
    started: float,
) -> BundleMetadata:
    # Imported here for start-up time: importing the Kubernetes client can take longer than training.
    from continuous_training.adapters.kubernetes.connection import connect

    from .nodes.launcher import Step, restore_integers, run_on_nodes

    run_id, pod, uid = (os.environ.get(name, "") for name in ("CT_RUN", "CT_POD_NAME", "CT_POD_UID"))
    step = Step(run_id, pod, uid, started)
    cluster = connect(kubeconfig=os.environ.get("KUBECONFIG", ""), progress=step_cli.tell)
    spec = restore_integers(spec)
    return run_on_nodes(workload, parameters, data, output, spec, cluster, store, step, step_cli.tell)


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell. Return the exit code."""
    parser = step_cli.command("train", __doc__, state=True)
    step_cli.workload_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the output of prep-data")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the folder to write the bundle to"
    )
    arguments = parser.parse_args(argv)

    def run_step() -> int:
        parameters = parse_assignments(arguments.set)
        workload = discovery.get(arguments.workload)
        store = open_store(Settings.from_environment(os.environ, arguments.state).store)
        run(workload, parameters, arguments.data, arguments.output, step_cli.tell, store)
        print(f"bundle: {arguments.output}")
        return 0

    return step_cli.finish(run_step)


if __name__ == "__main__":
    sys.exit(main())
