"""The KFP component of notify, the exit handler."""

from kfp import dsl
from kfp.dsl import Markdown, Output


@dsl.component(base_image="notify", install_kfp_package=False)
def notify(workload: str, run_id: str, result: Output[Markdown]) -> None:
    """Record and announce the result of the run, also if a step failed."""
    from components.notify.__main__ import in_pipeline

    in_pipeline(workload, run_id, result)
