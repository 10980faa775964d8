"""Print the step settings of a workload as a file for --steps: `python -m pipelines.steps`.

Without --steps, the output has the defaults; with --steps, it has the settings that result from the file.
A settings file needs to contain only the values that differ from the defaults.
"""

from __future__ import annotations

import argparse
import sys

import yaml

from continuous_training.core.command import NOTHING_DONE, run_command
from continuous_training.core.exit_codes import DONE
from continuous_training.core.json_object import Json
from continuous_training.kubeflow.config_file import json_schema
from pipelines.steps.arguments import add_steps_argument, steps_from_arguments
from pipelines.steps.settings_file import Steps, StepsFile
from workloads import discovery
from workloads.contract import Workload

from .defaults import STEPS
from .settings import StepSection, StepSettings, TrainSection


def to_file_content(steps: Steps, workload: Workload) -> Json:
    """Return the settings of a workload as the content of a settings file."""
    content = {step: _to_section(steps.of(workload, step), step) for step in STEPS}
    return content | {"pipeline": steps.pipeline(workload).model_dump()}


def _to_section(settings: StepSettings, step: str) -> Json:
    section_class = TrainSection if step == "train" else StepSection
    values = settings.model_dump(include=set(section_class.model_fields))
    return values | {"tolerations": [toleration.to_json() for toleration in settings.tolerations]}


def main(argv: list[str] | None = None) -> int:
    """Print the settings. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workload", default="digits", metavar="NAME", help="default: %(default)s")
    parser.add_argument(
        "--schema", action="store_true", help="print the JSON schema of the file, for editors"
    )
    add_steps_argument(parser)
    arguments = parser.parse_args(argv)

    def print_settings() -> int:
        if arguments.schema:
            print(json_schema(StepsFile))
            return DONE
        content = to_file_content(steps_from_arguments(arguments), discovery.get(arguments.workload))
        print(yaml.safe_dump(content, sort_keys=False, default_flow_style=False), end="")
        return DONE

    return run_command(print_settings, NOTHING_DONE)


if __name__ == "__main__":
    sys.exit(main())
