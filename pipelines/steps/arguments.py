"""The argument --steps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.steps.settings_file import Steps


def add_steps_argument(parser: argparse._ActionsContainer) -> None:
    """Add --steps."""
    parser.add_argument(
        "--steps", type=Path, metavar="FILE", help="YAML file with settings of the steps; see docs/steps.md"
    )


def steps_from_arguments(arguments: argparse.Namespace) -> Steps:
    """Return the settings that --steps selects. Raises UserError for an invalid file."""
    # Import here for a shorter start-up time of local runs and of --help: pydantic takes 0.2 s.
    from pipelines.steps.settings_file import DEFAULTS, read_steps

    return read_steps(arguments.steps) if arguments.steps else DEFAULTS
