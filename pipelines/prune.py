"""Remove the archives of old versions, the folders of old runs and temporary files of killed processes.

The latest N of each are kept. These are always kept: versions with an alias, versions that the server serves
or loads at its start, the N versions to which rollbacks would go, the runs of all of these with their data,
and runs in progress. Every version can still be traced: the registered versions and the records of the
runs are kept.
"""

from __future__ import annotations

import argparse
import sys

from continuous_training.operations.formatting import format_size
from continuous_training.operations.prune import PruneResult, prune
from continuous_training.operations.prune_selection import ItemCounts
from pipelines import command_line

INTERRUPTION = (
    "interrupted: some old archives and run folders may be removed, and no needed ones. Run the same command "
    "again to remove the rest"
)


def _show(result: PruneResult) -> None:
    action = "would remove" if result.dry_run else "removed"
    for item in result.removed:
        version = f"version {item.version}: " if item.version else ""
        print(f"{action}  {version}{item.name}  {format_size(item.size)}")
    for name, counts in result.remaining.items():
        print(f"kept of {name}: {_counts(counts)}")
    files = f"{result.leftovers} leftover file{'' if result.leftovers == 1 else 's'}"
    leftovers = f", {files}" if result.leftovers else ""
    summary = f"{action} {_counts(result.counts)}{leftovers}; {format_size(result.size)}"
    print(summary if result.removed else "nothing to remove")


def _counts(counts: ItemCounts) -> str:
    """Return the counts as text, for example: 2 archives, 1 run folder, 1 data snapshot."""
    counted = ((counts.archives, "archive"), (counts.runs, "run folder"), (counts.snapshots, "data snapshot"))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counted)


def main(argv: list[str] | None = None) -> int:
    """Remove and list the old items. Return the exit code."""
    parser = command_line.create_parser("prune", __doc__, workload=False)
    parser.add_argument(
        "--keep", type=_count, required=True, metavar="N", help="how many archives and run folders to keep"
    )
    parser.add_argument("--dry-run", action="store_true", help="list what would be removed; remove nothing")
    arguments = parser.parse_args(argv)

    def run() -> PruneResult:
        name, keep = arguments.workload, arguments.keep
        with command_line.open_settings(arguments) as settings:
            return prune(name, keep, settings, command_line.check_workload, arguments.dry_run)

    return command_line.print_result(arguments, run, _show, INTERRUPTION)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of items to keep: pass 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
