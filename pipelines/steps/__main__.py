"""Prints how a workload's steps run on a cluster, as a file that --steps takes: `python -m pipelines.steps`.

Without --steps these are the defaults; with it, what they become. A file needs to hold only what differs.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any

import yaml

from continuous_training.core.command import NOTHING_DONE, run_command
from continuous_training.core.exit_codes import DONE
from pipelines.steps.settings_file import Steps, add_steps_argument, steps_of
from workloads import discovery
from workloads.contract import Workload

from .defaults import STEPS
from .settings import StepSettings


def content_of(steps: Steps, workload: Workload) -> dict[str, Any]:
    """Return a workload's settings as the content of a file; what only train has stands under train."""
    pipeline = steps.pipeline(workload)
    return {step: _plain(steps.of(workload, step), step) for step in STEPS} | {"pipeline": vars(pipeline)}


def _plain(settings: StepSettings, step: str) -> dict[str, Any]:
    told = {item.name: getattr(settings, item.name) for item in fields(settings)}
    told["tolerations"] = [toleration.to_json() for toleration in settings.tolerations]
    told["pull_secrets"] = list(settings.pull_secrets)
    hidden = () if step == "train" else ("nodes", "training_runtime")
    return {
        name: dict(value) if hasattr(value, "items") else value
        for name, value in told.items()
        if name not in hidden
    }


def main(argv: list[str] | None = None) -> int:
    """Print the settings; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", default="digits", metavar="NAME", help="default: %(default)s")
    add_steps_argument(parser)
    arguments = parser.parse_args(argv)

    def work() -> int:
        content = content_of(steps_of(arguments), discovery.get(arguments.workload))
        print(yaml.safe_dump(content, sort_keys=False, default_flow_style=False), end="")
        return DONE

    return run_command(work, NOTHING_DONE)


if __name__ == "__main__":
    sys.exit(main())
