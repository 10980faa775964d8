"""Trace a prediction to its origin: archive, version, run, code, data and parameters.

DIGEST is the value of the response header x-model-version or x-model-digest, or at least its first six
digits.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from continuous_training.operations.formatting import (
    format_archive,
    format_comparison,
    format_interval,
    format_time,
)
from continuous_training.operations.trace import RegisteredTrace, SourceCode, Trace, UnregisteredTrace, trace
from continuous_training.report.formatting import label
from pipelines import command_line
from workloads import discovery


def _show(result: Trace) -> None:
    rows = _registered(result) if isinstance(result, RegisteredTrace) else _unregistered(result)
    for name, text in rows:
        print(f"{name:<12} {text}")


def _registered(result: RegisteredTrace) -> Iterator[tuple[str, str]]:
    lineage, data = result.lineage, result.lineage.data
    aliases = f", {' and '.join(result.aliases)}" if result.aliases else ""
    yield "digest", result.digest
    yield "version", f"{result.workload} version {result.version}{aliases}"
    for move in result.moves:
        change = "became champion" if move.to_version == result.version else "ceased to be champion"
        yield "", f"{format_time(move.time)}  {change}, by {move.kind} {move.run}".rstrip()
    yield "archive", format_archive(lineage.archive)
    yield "run", lineage.run or "unknown"
    if lineage.metric and lineage.metric in lineage.metrics:
        yield label(lineage.metric), format_interval(lineage.metrics[lineage.metric])
        yield "won against", format_comparison(lineage)
    yield "code", _code(result.code)
    yield "data", f"fingerprint {data.fingerprint}"
    yield "", _rows(data.train_rows, data.holdout_rows)
    yield "", f"source {data.source or 'unknown'}, as of {format_time(data.as_of)}"
    yield "", f"split {data.split_rule or 'unknown'}"
    yield "", f"rows at {result.rows or 'unknown: the folder of the run is not on this machine'}"
    yield "parameters", _pairs(lineage.parameters)
    yield "libraries", _pairs(lineage.libraries)
    if result.report:
        yield "report", str(result.report)


def _unregistered(result: UnregisteredTrace) -> Iterator[tuple[str, str]]:
    yield "digest", result.digest
    yield "version", f"{result.workload} never registered"
    yield "archive", format_archive(result.archive)
    yield "code", _code(result.code)
    yield "data", f"fingerprint {result.fingerprint}"
    yield "", _rows(result.train_rows, None)
    yield "", f"split {result.split_rule or 'unknown'}"
    yield "parameters", _pairs(result.parameters)
    yield "libraries", _pairs(result.libraries)


def _rows(train: int | None, holdout: int | None) -> str:
    return f"{train or 'unknown'} training rows, {holdout or 'unknown'} holdout rows"


def _code(code: SourceCode) -> str:
    commit = f"commit {code.commit}" if code.commit else "in no known commit"
    same = ""
    if code.is_current is not None:
        same = f", {'the same as' if code.is_current else 'different from'} the code in this checkout"
    return f"{commit}{same} (digest {str(code.digest)[:12]})"


def _pairs(values: Mapping[str, object] | None) -> str:
    return " ".join(f"{name}={value}" for name, value in (values or {}).items()) or "unknown"


def main(argv: list[str] | None = None) -> int:
    """Print the origin of a version. Return the exit code."""
    parser = command_line.create_parser("trace", __doc__)
    parser.add_argument("digest", metavar="DIGEST", help="from the response header x-model-version")
    arguments = parser.parse_args(argv)

    def run() -> Trace:
        with command_line.open_settings(arguments) as settings:
            return trace(arguments.digest, settings, discovery.find_folder)

    return command_line.print_result(arguments, run, _show)


if __name__ == "__main__":
    sys.exit(main())
