"""deploy-serving, alone: an archived version onto the endpoint, and the champion's alias last.

In:   --archive, the output of archive; --data, the output of prep-data
Out:  the endpoint serves it, the registry's alias `champion` names it; OUTPUT, a JSON file, says where

Where another version became champion meanwhile, the model is judged again on the data, against that one.
Ends with 0 when the version is served and with 3 when it lost.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from components import step_cli
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.core.exit_codes import REJECTED
from continuous_training.core.settings import Settings
from continuous_training.rollout.open_target import open_target

from .step import Deployed, run


def in_pipeline(archived: Any, data: Any, deployed: Any) -> None:
    """Run the step inside a pipeline."""
    with step_cli.reported():
        settings = step_cli.in_pipeline()
        done = deploy(Path(archived.path), Path(data.path), Path(deployed.path), settings)
        deployed.metadata |= {"version": done.version, "endpoint": done.endpoint}


def deploy(archived: Path, data: Path | None, output: Path, settings: Settings) -> Deployed:
    """Run the step with the registry, the store and the endpoint of `settings`."""
    store = open_store(settings.store)
    target = open_target(settings, store, step_cli.tell)
    with open_registry(*settings.registry_access) as registry:
        return run(archived, output, registry, store, target, step_cli.tell, data)


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell; returns the exit code."""
    parser = step_cli.command("deploy_serving", __doc__, state=True)
    parser.add_argument("--archive", type=Path, required=True, metavar="DIR", help="the output of archive")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="the output of prep-data; without it nothing is judged again"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("out/deployed.json"), metavar="FILE", help="default: %(default)s"
    )
    arguments = parser.parse_args(argv)

    def work() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        done = deploy(arguments.archive, arguments.data, arguments.output, settings)
        print(f"endpoint: {done.endpoint}")
        return 0 if done.promoted else REJECTED

    return step_cli.finish(work)


if __name__ == "__main__":
    sys.exit(main())
