"""Print the result of a run as Markdown: `python -m pipelines.summary FILE`.

FILE contains the JSON result of pipelines.run or pipelines.demo. Continuous integration adds the text to a
pull request.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from continuous_training.artifacts.measurements import Interval
from continuous_training.core.command import run_command
from continuous_training.core.exit_codes import DONE
from continuous_training.core.json_object import JsonObject

ESCAPED = str.maketrans({"|": r"\|", "<": "&lt;", ">": "&gt;", "@": "&#64;", "[": r"\[", "\n": " "})
"""Characters of data and messages that Markdown or a code host interprets. @ mentions a person."""


def markdown(result: JsonObject) -> str:
    """Return the verdict, the reasons and the metrics of a run. Raises UserError for another object."""
    lines = [f"### {_escape(result.text('workload', 'run'))}: {_escape(result.text('verdict'))}", ""]
    lines += [f"- {_escape(reason)}" for reason in result.text_list("reasons")]
    metrics = result.items("metrics", Interval.from_json) if "metrics" in result else {}
    if metrics:
        lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
        lines += [_row(name, interval) for name, interval in metrics.items()]
    version = result.optional_text("version")
    if version:
        lines += ["", f"Version {_escape(version)}, archive `{(result.optional_text('digest') or '')[:12]}`"]
    return "\n".join(lines) + "\n"


def _row(name: str, interval: Interval) -> str:
    ends = "" if math.isnan(interval.low + interval.high) else f"{interval.low:.4g} to {interval.high:.4g}"
    return f"| {_escape(name)} | {interval.value:.4g} | {ends} |"


def _escape(text: str) -> str:
    return text.translate(ESCAPED)


def main(argv: list[str] | None = None) -> int:
    """Print the summary of a result. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.summary",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    arguments = parser.parse_args(argv)
    return run_command(lambda: _print(arguments.file))


def _print(file: Path) -> int:
    print(markdown(JsonObject.read(file, hint="write it with pipelines.run")), end="")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
