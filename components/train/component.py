"""The KFP component of train."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output


@dsl.component(base_image="train", install_kfp_package=False)
def train(
    workload: str,
    parameters: str,
    data: Input[Dataset],
    model: Output[Model],
    trainjob: dict = {},  # noqa: B006 - KFP wants the default itself
) -> None:
    """Learn a model from the training rows."""
    from components.train.__main__ import in_pipeline

    in_pipeline(workload, parameters, trainjob, data, model)
