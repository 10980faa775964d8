"""Print the step settings of a workload as a file for --steps: `python -m pipelines.steps`.

Without --steps, the output has the defaults; with --steps, it has the settings that result from the file.
A settings file needs to contain only the values that differ from the defaults.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from typing import Any

import yaml

from continuous_training.core.command import NOTHING_DONE, run_command
from continuous_training.core.exit_codes import DONE
from pipelines.steps.settings_file import TRAIN_ONLY_KEYS, Steps, add_steps_argument, steps_from_arguments
from workloads import discovery
from workloads.contract import Workload

from .defaults import STEPS
from .settings import StepSettings


def to_file_content(steps: Steps, workload: Workload) -> dict[str, Any]:
    """Return the settings of a workload as the content of a settings file."""
    pipeline = steps.pipeline(workload)
    return {step: _to_section(steps.of(workload, step), step) for step in STEPS} | {
        "pipeline": vars(pipeline)
    }


def _to_section(settings: StepSettings, step: str) -> dict[str, Any]:
    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    values["tolerations"] = [toleration.to_json() for toleration in settings.tolerations]
    values["pull_secrets"] = list(settings.pull_secrets)
    omitted = () if step == "train" else TRAIN_ONLY_KEYS
    return {
        name: dict(value) if hasattr(value, "items") else value
        for name, value in values.items()
        if name not in omitted
    }


def main(argv: list[str] | None = None) -> int:
    """Print the settings. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", default="digits", metavar="NAME", help="default: %(default)s")
    add_steps_argument(parser)
    arguments = parser.parse_args(argv)

    def print_settings() -> int:
        content = to_file_content(steps_from_arguments(arguments), discovery.get(arguments.workload))
        print(yaml.safe_dump(content, sort_keys=False, default_flow_style=False), end="")
        return DONE

    return run_command(print_settings, NOTHING_DONE)


if __name__ == "__main__":
    sys.exit(main())
