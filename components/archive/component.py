"""The KFP component of archive."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Model, Output


@dsl.component(base_image="archive", install_kfp_package=False)
def archive(model: Input[Model], evaluation: Input[Artifact], archived: Output[Artifact]) -> None:
    """Pack the model into a .mar, store it under its digest and register it."""
    from components.archive.__main__ import in_pipeline

    in_pipeline(model, evaluation, archived)
