"""The KFP component of deploy-serving."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output


@dsl.component(base_image="deploy-serving", install_kfp_package=False)
def deploy_serving(archived: Input[Artifact], data: Input[Dataset], deployed: Output[Artifact]) -> None:
    """Roll the archived version out; it proves itself by its answers, or the former one comes back."""
    from components.deploy_serving.__main__ import in_pipeline

    in_pipeline(archived, data, deployed)
