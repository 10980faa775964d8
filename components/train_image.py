"""The image of the train step, which depends on the extras that training needs.

A workload may need an extra, such as torch, for some of its models only. If run parameters are fixed when the
pipeline is compiled, an image with fewer extras can be sufficient.
"""

from __future__ import annotations

from collections.abc import Mapping

from continuous_training.core.errors import UserError
from continuous_training.core.run_parameters import Values
from workloads.contract import Workload

TRAIN = "train"


def image_extras(workload: Workload, fixed: Mapping[str, object]) -> tuple[str, ...]:
    """Return the workload's extras that its image needs if the run parameters `fixed` have these values.

    Each other parameter may have any of its choices. Without fixed parameters, these are all extras.
    """
    if not fixed:
        return workload.extras
    values = [workload.parse(fixed)]
    for parameter in workload.parameters():
        if parameter.name not in fixed:
            values += [workload.parse({**fixed, parameter.name: choice}) for choice in parameter.choices]
    required = {extra for choice in values for extra in workload.needs(choice)}
    return tuple(extra for extra in workload.extras if extra in required)


def train_image(extras: tuple[str, ...]) -> str:
    """Return the name of the image with these extras, for example `train-torch`."""
    return "-".join([TRAIN, *extras])


def check_train_image(workload: Workload, values: Values, image: str) -> None:
    """Raise UserError if the image lacks an extra that training with these run parameters needs.

    An empty `image` is not known: pipelines of earlier versions contain all extras.
    """
    missing = [
        extra
        for extra in workload.needs(values)
        if image and extra in workload.extras and extra not in image.split("-")[1:]
    ]
    if missing:
        complete = train_image(workload.extras)
        raise UserError(
            f"training {workload.name} with these run parameters needs {', '.join(missing)}, and the image "
            f"{image} of this pipeline does not contain it. Use the pipeline with the image {complete}, "
            f"compiled without fixed parameters: python -m pipelines.compile --workload {workload.name}"
        )
