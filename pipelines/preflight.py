"""Check whether a cluster has everything that a run needs: `python -m pipelines.preflight`.

The command checks that the ConfigMap, the Secrets and the service accounts of the pipelines exist, that the
settings in the ConfigMap are valid, that the registries have the images, and that the service account of the
steps has the permissions for a rollout. For each missing item it prints the manifest that creates it.
It changes nothing, and it does not read the content of Secrets. Items that this user may not read are
reported and do not count as missing.

exit codes: 0 nothing is missing, 2 something is missing or no cluster is configured,
            75 the cluster does not answer
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from continuous_training.core.command import run_command
from continuous_training.core.errors import UserError
from continuous_training.core.exit_codes import DONE
from continuous_training.kubeflow.object_names import KUBEFLOW_NAMESPACE, STEPS_ACCOUNT
from continuous_training.kubeflow.preflight.finding import Finding, State, missing
from workloads import discovery

from .compile import compile_workload
from .fixed_parameters import add_fixed_argument, fixed_from_arguments
from .images import add_image_arguments, images_from_arguments

if TYPE_CHECKING:
    from continuous_training.kubeflow.submission import Submission


def submission_from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Submission:
    """Return the submission that --service-account (if the command has it) and --no-preflight describe."""
    # Import here for a shorter start-up time of local runs.
    from continuous_training.kubeflow.submission import Submission

    account = getattr(arguments, "service_account", "")
    return Submission(account, not arguments.no_preflight, environment.get("KUBECONFIG", ""))


def add_preflight_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --service-account and --no-preflight."""
    add_account_argument(parser)
    add_no_preflight_argument(parser)


def add_no_preflight_argument(parser: argparse._ActionsContainer) -> None:
    """Add --no-preflight."""
    parser.add_argument(
        "--no-preflight", action="store_true", help="submit without checking what the run needs"
    )


def add_account_argument(parser: argparse._ActionsContainer) -> None:
    """Add --service-account."""
    parser.add_argument(
        "--service-account",
        default=STEPS_ACCOUNT,
        metavar="NAME",
        help="service account of the steps, '' for the default of the server; default: %(default)s",
    )


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.preflight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--namespace", default=KUBEFLOW_NAMESPACE, help="namespace of the steps' pods; default: %(default)s"
    )
    parser.add_argument(
        "--workload", nargs="+", action="extend", metavar="NAME", help="default: all registered workloads"
    )
    parser.add_argument(
        "--context", default="", help="context of the kubeconfig; default: its current context"
    )
    add_account_argument(parser)
    add_image_arguments(parser)
    add_fixed_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the findings. Returns the exit code."""
    arguments = create_parser().parse_args(argv)
    return run_command(
        lambda: _run(arguments), "interrupted: a preflight only reads, so nothing was changed on the cluster"
    )


def _run(arguments: argparse.Namespace) -> int:
    # Import here for a shorter start-up time of local runs.
    from continuous_training.kubeflow.preflight.cluster_preflight import check_cluster

    images = images_from_arguments(arguments)
    fixed = fixed_from_arguments(arguments)
    texts = [
        compile_workload(name, images, None, fixed).text for name in arguments.workload or discovery.names()
    ]
    cluster = (os.environ.get("KUBECONFIG", ""), arguments.context)
    findings: list[Finding] = []
    for finding in check_cluster(texts, arguments.namespace, arguments.service_account, *cluster):
        print(finding, flush=True)
        findings.append(finding)
    failures = missing(findings)
    succeeded = sum(finding.state == State.OK for finding in findings)
    print(f"{len(failures)} missing, {succeeded} of {len(findings)} ok")
    return UserError.exit_code if failures else DONE


if __name__ == "__main__":
    sys.exit(main())
