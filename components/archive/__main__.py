"""Run the archive step alone: store a promoted bundle as a `.mar` file and register it.

In:   --model, the output of train; --evaluation, the output of evaluate
Out:  OUTPUT/NAME-DIGEST.mar, OUTPUT/archived.json; an object in the store, a version in the registry
Next: python -m components.deploy_serving --archive OUTPUT
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from components import step_cli
from continuous_training.adapters.local_registry import open_registry
from continuous_training.adapters.object_store import open_store
from continuous_training.artifacts.archived_model import ArchivedModel
from continuous_training.core.settings import Settings

from .step import run


def in_pipeline(model: Any, evaluation: Any, archived: Any) -> None:
    """Run the step inside a pipeline."""
    paths = Path(model.path), Path(evaluation.path), Path(archived.path)
    version = step_cli.run_in_pipeline("archive", lambda settings: archive_bundle(*paths, settings))
    archived.metadata |= {"version": version.version, "digest": version.digest}


def archive_bundle(model: Path, evaluation: Path, output: Path, settings: Settings) -> ArchivedModel:
    """Run the step with the registry and the store of `settings`."""
    with open_registry(*settings.registry_access) as registry:
        return run(model, evaluation, output, registry, open_store(settings.store), step_cli.tell)


def main(argv: list[str] | None = None) -> int:
    """Run the step from a shell. Return the exit code."""
    parser = step_cli.command("archive", __doc__, state=True)
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the output of train")
    parser.add_argument(
        "--evaluation", type=Path, required=True, metavar="DIR", help="the output of evaluate"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="the folder for the archive"
    )
    arguments = parser.parse_args(argv)

    def run_step() -> int:
        settings = Settings.from_environment(os.environ, arguments.state)
        version = archive_bundle(arguments.model, arguments.evaluation, arguments.output, settings)
        print(f"archive: {version.workload} version {version.version}, sha256 {version.digest}")
        return 0

    return step_cli.finish(run_step)


if __name__ == "__main__":
    sys.exit(main())
