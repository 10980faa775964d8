"""Run a workload's pipeline, from the raw data to the served endpoint.

With the local target, the command compiles the pipeline and executes that file on this machine. All data is
in the state directory, which can be deleted. With the cluster target, the command uploads the file unless
the server has its version, starts a run, and follows the run until it ends.

exit codes: 0 promoted or unchanged, 2 wrong input or set-up, 3 rejected, 4 reverted, 5 waiting for approval,
6 unsettled: endpoint and registry disagree, 75 temporarily unavailable: try again, 130 interrupted or
terminated, 1 unexpected
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable

from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import DONE, exit_code_of
from continuous_training.core.messages import quiet_output
from continuous_training.core.run_parameters import Value, parse_assignments
from continuous_training.core.settings import Settings
from continuous_training.serving.process.state_files import state_directory
from pipelines import run_output
from pipelines.command_line import CommandResult
from pipelines.local_run.local_run import check_extras, plan_local, run_local
from pipelines.run_result import RunResult
from workloads import discovery
from workloads.contract import Workload

from .fixed_parameters import add_fixed_argument, fixed_from_arguments
from .images import add_image_arguments, cluster_images_from_arguments
from .preflight import add_preflight_arguments, submission_from_arguments
from .steps.arguments import add_steps_argument, steps_from_arguments
from .upload import add_server_arguments, connect

LOCAL_INTERRUPTION = (
    "interrupted: a version is served only after its golden requests passed. The completed steps are kept; "
    "run the same command again to continue"
)
CLUSTER_INTERRUPTION = "interrupted: the command stopped; a run that it started continues on the cluster"


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of a run's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", required=True, metavar="NAME", help="see python -m workloads")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a run parameter; the option may be repeated",
    )
    parser.add_argument(
        "--target", choices=["local", "cluster"], default="local", help="where to run; default: local"
    )
    parser.add_argument(
        "--state", type=state_directory, metavar="DIR", help="local: the state directory; default: .state"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument(
        "--dry-run", action="store_true", help="check everything, print what would be run, and stop"
    )
    cluster = parser.add_argument_group("on a cluster")
    add_server_arguments(cluster)
    add_image_arguments(cluster)
    add_steps_argument(cluster)
    add_fixed_argument(cluster)
    add_preflight_arguments(cluster)
    cluster.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="how long to follow the run; default: the sum of the steps' timeouts and retries",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the pipeline, and print the table or the JSON object. Return the exit code."""
    arguments = create_parser().parse_args(argv)
    action = _print_plan if arguments.dry_run else _run_and_print
    return run_with_workload(lambda: action(arguments), arguments)


def run_with_workload(action: Callable[[], int], arguments: argparse.Namespace) -> int:
    """Run the work of a command whose result names its workload. Return the exit code."""
    return run_command(
        action,
        LOCAL_INTERRUPTION if arguments.target == "local" else CLUSTER_INTERRUPTION,
        json_output=arguments.json,
        fields={"workload": arguments.workload},
    )


def _print_plan(arguments: argparse.Namespace) -> int:
    with quiet_output():
        plan = _plan(arguments)
    print(json.dumps(plan.to_json(), indent=2))
    return DONE


def _run_and_print(arguments: argparse.Namespace) -> int:
    with quiet_output():
        result = _run(arguments)
    if arguments.json:
        print(json.dumps(result.to_json()))
    else:
        run_output.show(result)
    return exit_code_of(result.verdict)


def _plan(arguments: argparse.Namespace) -> CommandResult:
    workload = discovery.get(arguments.workload)
    assignments = parse_assignments(arguments.set)
    values = workload.parse(assignments)
    if arguments.target == "cluster":
        # Import here for a shorter start-up time of local runs.
        from pipelines.cluster_run import plan_on_cluster

        images, steps, client = (
            cluster_images_from_arguments(arguments),
            steps_from_arguments(arguments),
            connect(arguments),
        )
        submission = submission_from_arguments(arguments, os.environ)
        overrides = {name: values[name] for name in assignments}
        fixed = fixed_from_arguments(arguments)
        return plan_on_cluster(workload, overrides, client, images, steps, submission, fixed)
    settings = Settings.from_environment(os.environ, arguments.state)
    check_extras(workload, values)
    return plan_local(workload, values, settings)


def _run(arguments: argparse.Namespace) -> RunResult:
    workload = discovery.get(arguments.workload)
    assignments = parse_assignments(arguments.set)
    values = workload.parse(assignments)
    if arguments.target == "cluster":
        return _run_on_cluster(workload, {name: values[name] for name in assignments}, arguments)
    return run_local(workload, values, Settings.from_environment(os.environ, arguments.state))


def _run_on_cluster(
    workload: Workload, overrides: dict[str, Value], arguments: argparse.Namespace
) -> RunResult:
    # Import here for a shorter start-up time of local runs.
    from pipelines.cluster_run import run_on_cluster

    images, steps, client = (
        cluster_images_from_arguments(arguments),
        steps_from_arguments(arguments),
        connect(arguments),
    )
    with run_output.progress(f"{workload.name}: {workload.summary}") as listener:
        return run_on_cluster(
            workload,
            overrides,
            client,
            images,
            listener,
            Settings.from_environment(os.environ),
            arguments.timeout,
            steps,
            submission_from_arguments(arguments, os.environ),
            fixed_from_arguments(arguments),
        )


if __name__ == "__main__":
    sys.exit(main())
