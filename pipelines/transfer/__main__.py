"""Transfer a model version from one environment to another, for example from dev to prod.

The archive is copied unchanged: it has the same sha256 in both environments. In the target, the version is
evaluated by the same gate on the target's holdout rows, against the target's champion, and then rolled out.
An environment is one of

  DIR                                a state directory: its registry, object store and model server
  http(s)://[USER:PASSWORD@]HOST     an MLflow server, with --from-store or --to-store; the endpoint is that
                                     of the environment variables (CT_TARGET, CT_STATE, CT_SERVING_...)
  cluster:CONTEXT[?namespace=NAME]   the steps of a cluster, in a context of the kubeconfig
"""

from __future__ import annotations

import argparse
import os
import sys

from continuous_training.core.exit_codes import exit_code_of
from continuous_training.core.temporary_files import remove_leftovers, temporary_files_in
from continuous_training.core.user import user_name
from pipelines import command_line

from .environment import open_environment
from .result import PLANNED, UNCHANGED, TransferResult

INTERRUPTION = (
    "interrupted: the target serves the version only if its alias champion names it. Run the same command "
    "again to complete the transfer"
)


def _show(result: TransferResult) -> None:
    version = f"version {result.version} ({result.digest[:12]}) of {result.source}"
    if result.verdict == PLANNED:
        print(f"{result.workload}: would transfer {version} to {result.target}")
    elif result.verdict == UNCHANGED:
        print(
            f"{result.workload}: unchanged: {version} is version {result.target_version} of {result.target}"
        )
    else:
        number = f"version {result.target_version}"
        print(f"{result.workload}: {result.verdict}: {version}, which is {number} of {result.target}")
    for reason in result.reasons:
        print(f"  {reason}")
    if result.data and result.verdict != PLANNED:
        print(f"evaluated on {result.data}")
    if result.endpoint:
        print(f"endpoint: {result.endpoint}")


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    codes = "3 rejected by the target's gate, 4 reverted, 5 waits for approval, 6 unsettled, "
    parser = command_line.create_parser("transfer", __doc__, workload=True, location=False, exit_codes=codes)
    parser.add_argument("--from", dest="source", required=True, metavar="URI", help="the source environment")
    parser.add_argument("--to", dest="target", required=True, metavar="URI", help="the target environment")
    for option in ("--from-store", "--to-store"):
        parser.add_argument(
            option,
            metavar="URI",
            help="the object store of that environment: a folder, or "
            "s3://[KEY:SECRET@]BUCKET/PREFIX?endpoint=HOST:PORT",
        )
    parser.add_argument(
        "--to-data",
        metavar="URI",
        help="rows of the target: a folder or s3:// address with the output of prep-data. Default: those of "
        "the last run in the target's state directory",
    )
    parser.add_argument("--version", metavar="N", help="the version in the source; default: its champion")
    parser.add_argument("--dry-run", action="store_true", help="check everything, and change nothing")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Transfer the version, and print the result. Return the exit code."""
    arguments = create_parser().parse_args(argv)
    return command_line.print_result(
        arguments,
        lambda: _run(arguments),
        _show,
        INTERRUPTION,
        lambda result: exit_code_of(result.verdict),
    )


def _run(arguments: argparse.Namespace) -> TransferResult:
    # Start-up time: the evaluation loads numpy, pyarrow and the report.
    from .transfer import TransferRequest, transfer

    request = TransferRequest(
        arguments.workload,
        arguments.version,
        arguments.to_data,
        user_name(),
        arguments.dry_run,
    )
    with (
        open_environment("--from", arguments.source, arguments.from_store, os.environ) as source,
        open_environment("--to", arguments.target, arguments.to_store, os.environ) as target,
        temporary_files_in(target.settings.state, "transfer"),
    ):
        if not request.dry_run:
            remove_leftovers(target.settings.state)
        return transfer(request, source, target)


if __name__ == "__main__":
    sys.exit(main())
