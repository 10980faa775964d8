"""List the workloads with their run parameters: `python -m workloads`."""

from __future__ import annotations

import argparse
import json
import sys

from continuous_training.core.errors import PipelineError
from continuous_training.core.json_object import Json
from continuous_training.core.messages import report

from . import discovery
from .contract import Workload


def describe(workload: Workload) -> Json:
    """Return a workload and its parameters as JSON data."""
    return {
        "name": workload.name,
        "summary": workload.summary,
        "task": workload.task,
        "source": workload.default_source,
        "sample": workload.sample_source,
        "needs": list(workload.extras),
        "parameters": [
            {"name": p.name, "default": p.default, "help": p.help, "allowed": p.allowed()}
            for p in workload.parameters()
        ],
    }


def main(argv: list[str] | None = None) -> int:
    """Print the workloads, and the errors of broken ones. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workloads", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these workloads")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    arguments = parser.parse_args(argv)
    described, code = [], 0
    for name in arguments.names or discovery.names():
        try:
            described.append(describe(discovery.get(name)))
        except PipelineError as error:
            # One broken workload does not affect the others.
            report(f"{'error' if arguments.names else f'broken: {name}'}: {error}")
            code = error.exit_code
    if arguments.json:
        print(json.dumps(described, indent=2))
        return code
    for workload in described:
        needs = f"  (needs the extra {', '.join(workload['needs'])})" if workload["needs"] else ""
        print(f"{workload['name']}  {workload['task']}: {workload['summary']}{needs}")
        for p in workload["parameters"]:
            print(f"    {p['name'] + '=' + str(p['default']):<24} {p['help']}: {p['allowed']}")
    return code


if __name__ == "__main__":
    sys.exit(main())
