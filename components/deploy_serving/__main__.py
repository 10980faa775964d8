"""Run deploy-serving: roll out an archived version, then make it the champion.

Input:   --archive, the output of archive; --data, the output of prep-data Result:  the endpoint serves the
version, and the registry's alias `champion` names it. --output is a JSON file
         with the version and the address of the endpoint

If another version became the champion after the evaluation, the version is evaluated again with the data,
against that champion. The exit code is 0 if the version is served, 3 if the second evaluation rejects it,
and 5 if it waits for approval.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from components import step_cli
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.adapters.run_history import RunHistory
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.settings import Settings
from continuous_training.core.user import user_name
from continuous_training.operations.workspace import next_command
from continuous_training.rollout.open_target import open_target

from .step import DeployedModel, run


def in_pipeline(archived: Any, data: Any, deployed: Any) -> None:
    """Run the step inside a pipeline; the arguments are KFP artifacts."""
    paths = Path(archived.path), Path(data.path), Path(deployed.path)
    result = step_cli.run_in_pipeline("deploy-serving", lambda settings: deploy(*paths, settings))
    deployed.metadata |= {"version": result.version, "endpoint": result.endpoint}


def deploy(archived: Path, data: Path | None, output: Path, settings: Settings) -> DeployedModel:
    """Run the step with the registry, the store and the deployment target of the settings."""
    store = open_store(settings.store)
    target = open_target(settings, store, step_cli.tell)
    with open_registry(*settings.registry_access) as registry:
        starter = _starter(archived, settings)
        status = next_command("pipelines.status", settings)
        return run(archived, output, registry, store, target, step_cli.tell, data, starter, status)


def _starter(archived: Path, settings: Settings) -> str:
    """Return the user of the command that started the run, if that is known."""
    # The user of a pod is not the person who started the run.
    if not settings.addresses.is_in_cluster:
        return user_name()
    model = ArchivedModel.read(archived)
    return RunHistory(open_store(settings.store), model.workload).starter(model.run)


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell; return the exit code."""
    parser = step_cli.command("deploy_serving", __doc__, state=True)
    parser.add_argument("--archive", type=Path, required=True, metavar="DIR", help="the output of archive")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the output of prep-data; without it there is no second evaluation",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("out/deployed.json"), metavar="FILE", help="default: %(default)s"
    )
    arguments = parser.parse_args(argv)

    def run_step() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        result = deploy(arguments.archive, arguments.data, arguments.output, settings)
        print(f"endpoint: {result.endpoint}")
        return exit_code_of(result.verdict)

    return step_cli.finish(run_step)


if __name__ == "__main__":
    sys.exit(main())
