"""Run parameters that are fixed when a pipeline is compiled: runs cannot change them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType

from components.train_image import check_train_image, image_extras, train_image
from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Value, parse_assignments
from workloads.contract import Workload

Fixed = Mapping[str, Value]
"""The values by name, as text or parsed. Empty: nothing is fixed."""

NOTHING_FIXED: Fixed = MappingProxyType({})


def add_fixed_argument(parser: argparse._ActionsContainer, *aliases: str) -> None:
    """Add --fix, also with other names."""
    parser.add_argument(
        "--fix",
        *aliases,
        dest="fixed",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="fix a run parameter when the pipeline is compiled. The train step gets the smallest image that "
        "is sufficient; the option may be repeated",
    )


def fixed_from_arguments(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the fixed parameters of the command line."""
    return parse_assignments(arguments.fixed)


def without_fixed(workload: Workload, fixed: Fixed, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """Return the parameters that a run passes to a pipeline with these fixed parameters.

    Raises UserError if a parameter differs from its fixed value, or if the image of the pipeline lacks an
    extra that the run needs.
    """
    values = workload.parse(fixed)
    for name, value in parameters.items():
        if name in fixed and value != values[name]:
            raise UserError(
                f"the run parameter {name}={value} differs from --fix {name}={values[name]}, with which the "
                f"pipeline is compiled: use the pipeline with --fix {name}={value}, or without it"
            )
    check_train_image(
        workload, workload.parse({**fixed, **parameters}), train_image(image_extras(workload, fixed))
    )
    return {name: value for name, value in parameters.items() if name not in fixed}
