"""train, alone: a dataset in, a bundle out: the model's files and the handler that serves them.

In:   --data, the output of prep-data
Out:  OUTPUT/model.json, the model's files, the handler's code
Next: python -m components.evaluate --workload NAME --data DATA --model OUTPUT --output out/evaluation
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from adapters.object_store import open_store
from components import runtime
from components.settings import Settings
from workloads import register
from workloads.parameters import parse_assignments

from .step import run


def in_pipeline(workload: str, parameters: str, data: Any, model: Any) -> None:
    """Run the step inside a pipeline."""
    with runtime.reported():
        description = run(
            register.get(workload),
            runtime.arguments_of(parameters),
            Path(data.path),
            Path(model.path),
            runtime.tell,
            open_store(runtime.in_pipeline().store),
        )
        model.metadata |= {"workload": workload, "recipe": description["recipe"]}


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell; returns the exit code."""
    parser = runtime.command("train", __doc__, state=True)
    runtime.workload_arguments(parser)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the output of prep-data")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the bundle goes")
    arguments = parser.parse_args(argv)

    def work() -> int:
        given = parse_assignments(arguments.set)
        workload = register.get(arguments.workload)
        store = open_store(Settings.from_environment(os.environ, arguments.state).store)
        run(workload, given, arguments.data, arguments.output, runtime.tell, store)
        print(f"bundle: {arguments.output}")
        return 0

    return runtime.finish(work)


if __name__ == "__main__":
    sys.exit(main())
