"""The KFP component of evaluate."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Markdown, Metrics, Model, Output


@dsl.component(base_image="evaluate", install_kfp_package=False)
def evaluate(
    workload: str,
    run_id: str,
    data: Input[Dataset],
    model: Input[Model],
    evaluation: Output[Artifact],
    report: Output[HTML],
    card: Output[Markdown],
    metrics: Output[Metrics],
    classes: Output[ClassificationMetrics],
) -> bool:
    """Judge the model against the champion on the same holdout rows; true when it is promoted."""
    from components.evaluate.__main__ import in_pipeline

    return in_pipeline(workload, run_id, data, model, evaluation, report, card, metrics, classes)
