"""The KFP component of prep-data."""

from kfp import dsl
from kfp.dsl import Dataset, Output


@dsl.component(base_image="prep-data", install_kfp_package=False)
def prep_data(
    workload: str,
    parameters: str,
    run_id: str,
    scheduled: str,
    data: Output[Dataset],
    packages: str = "",
    train_image: str = "",
) -> bool:
    """Fetch, check and split the rows; true when there is something to train on."""
    from components.prep_data.__main__ import in_pipeline

    return in_pipeline(workload, parameters, run_id, scheduled, data, packages, train_image)
