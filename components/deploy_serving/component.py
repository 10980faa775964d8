"""The KFP component of the deploy-serving step."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output


@dsl.component(base_image="deploy-serving", install_kfp_package=False)
def deploy_serving(archived: Input[Artifact], data: Input[Dataset], deployed: Output[Artifact]) -> None:
    """Roll out the archived version, or restore the previous version if its golden requests fail."""
    from components.deploy_serving.__main__ import in_pipeline

    in_pipeline(archived, data, deployed)
