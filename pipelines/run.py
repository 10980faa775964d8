"""Runs a workload's pipeline, from raw data to the served endpoint.

The local target compiles the pipeline and executes that file on this machine. Everything it leaves
behind is under the state folder, which may be deleted. The cluster target uploads the file where its
version is missing, starts a run of it and follows that to its end.

exit codes: 0 promoted or unchanged, 3 rejected, 2 user error, 4 rolled back, 75 try again, 1 unexpected
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import DONE, REJECTED
from continuous_training.core.messages import quiet_output
from continuous_training.core.parameters import Value, parse_assignments
from continuous_training.core.settings import Settings
from continuous_training.serving.process.server_state import state_directory
from pipelines import run_output
from pipelines.local_run.local_run import check_extras, plan_local, run_local
from workloads import discovery
from workloads.contract import Workload

from .images import add_image_arguments, images_from_arguments
from .preflight import add_preflight_arguments, submission_from_arguments
from .steps import add_steps_argument, steps_from_arguments
from .upload import add_server_arguments, connect

LOCAL_INTERRUPTION = (
    "interrupted: a version is served only after its golden requests passed. The completed steps are kept; "
    "run the same command again to continue"
)
CLUSTER_INTERRUPTION = "interrupted: the command stopped; a run that it started continues on the cluster"


def parser() -> argparse.ArgumentParser:
    """Return the command line of a run."""
    made = argparse.ArgumentParser(
        prog="python -m pipelines.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a run parameter; may be repeated"
    )
    made.add_argument(
        "--target", choices=["local", "cluster"], default="local", help="where it runs; default: local"
    )
    made.add_argument(
        "--state", type=state_directory, metavar="DIR", help="local: the state folder; default: .state"
    )
    made.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    made.add_argument(
        "--dry-run", action="store_true", help="check everything, say what would be run, and stop"
    )
    cluster = made.add_argument_group("on a cluster")
    add_server_arguments(cluster)
    add_image_arguments(cluster)
    add_steps_argument(cluster)
    add_preflight_arguments(cluster)
    told = "follow the run no longer; default: what the steps' timeouts and retries come to"
    cluster.add_argument("--timeout", type=float, metavar="SECONDS", help=told)
    return made


def _run_on_cluster(
    workload: Workload, given: dict[str, Value], arguments: argparse.Namespace
) -> dict[str, Any]:
    from pipelines.cluster_run import plan_on_cluster, run_on_cluster

    images, steps, client = (
        images_from_arguments(arguments),
        steps_from_arguments(arguments),
        connect(arguments),
    )
    submission = submission_from_arguments(arguments, os.environ)
    if arguments.dry_run:
        return plan_on_cluster(workload, given, client, images, steps, submission).to_json()
    with run_output.progress(f"{workload.name}: {workload.summary}") as listener:
        return run_on_cluster(
            workload,
            given,
            client,
            images,
            listener,
            arguments.timeout,
            steps,
            submission,
            os.environ.get("CT_STORE", ""),
        ).to_json()


def main(argv: list[str] | None = None) -> int:
    """Run the pipeline, and print the table or the JSON object. Return the exit code."""
    arguments = parser().parse_args(argv)

    def run() -> int:
        with quiet_output():
            result = _work(arguments)
        if arguments.dry_run:
            print(json.dumps(result, indent=2))
            return DONE
        return _show(result, arguments)

    return run_with_workload(run, arguments)


def run_with_workload(work: Callable[[], int], arguments: argparse.Namespace) -> int:
    """Run the work of a command whose result names its workload. Return the exit code."""
    return run_command(
        work,
        LOCAL_INTERRUPTION if arguments.target == "local" else CLUSTER_INTERRUPTION,
        json_output=arguments.json,
        fields={"workload": arguments.workload},
    )


def _work(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the workload where the arguments say; returns the result, or the plan with --dry-run."""
    workload = discovery.get(arguments.workload)
    given = parse_assignments(arguments.set)
    values = workload.parse(given)
    if arguments.target == "cluster":
        return _run_on_cluster(workload, {name: values[name] for name in given}, arguments)
    settings = Settings.from_environment(os.environ, arguments.state)
    check_extras(workload, values)
    if arguments.dry_run:
        return plan_local(workload, values, settings)
    return run_local(workload, values, settings)


def _show(result: dict[str, Any], arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(json.dumps(result))
    else:
        run_output.show(result)
    return REJECTED if result["verdict"] == "rejected" else DONE


if __name__ == "__main__":
    sys.exit(main())
