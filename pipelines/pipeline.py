"""The DAG of all workloads.

    prep-data ─ train ─ evaluate ─ archive ─ deploy-serving      and notify at the end of every run

train and evaluate run only on new inputs. archive and deploy-serving run only if the gate promotes the model.
The step before a skipped step records the reason.
"""

from __future__ import annotations

import inspect
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.archive.component import archive
from components.deploy_serving.component import deploy_serving
from components.evaluate.component import evaluate
from components.locked_packages import locked_packages, to_text
from components.notify.component import notify
from components.prep_data.component import prep_data
from components.train.component import train
from components.train_image import image_extras, train_image
from continuous_training.core.run_parameters import to_lines
from pipelines.steps.apply_settings import configure
from pipelines.steps.trainjob_spec import trainjob_spec
from workloads.contract import Workload

from .fixed_parameters import NOTHING_FIXED, Fixed
from .images import Images
from .steps.settings import PipelineSettings
from .steps.settings_file import DEFAULTS, Steps
from .task_conditions import add_conditions

CONDITIONS = {
    "train": "prep-data",
    "evaluate": "prep-data",
    "archive": "evaluate",
    "deploy-serving": "evaluate",
}
"""The step whose output decides whether a step runs: new inputs (prep-data), a promoted model (evaluate)."""


def build(
    workload: Workload, images: Images, steps: Steps = DEFAULTS, fixed: Fixed = NOTHING_FIXED
) -> BaseComponent:
    """Return the workload's pipeline. Its inputs are the typed run parameters with their defaults.

    Parameters that are fixed are constants in the pipeline, and not inputs.
    """
    values = workload.parse(fixed)
    constants = {name: values[name] for name in fixed}
    extras = image_extras(workload, fixed)
    signature = inspect.Signature(
        [
            inspect.Parameter(
                p.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=p.default, annotation=p.type
            )
            for p in workload.parameters()
            if p.name not in fixed
        ]
    )

    def graph(*values: Any) -> None:
        # One text with a line for each parameter: the local runner damages a dict of pipeline inputs.
        inputs = dict(zip(signature.parameters, values, strict=True))
        _wire(workload, to_lines(inputs | constants), images, steps, extras)

    graph.__signature__ = signature  # type: ignore[attr-defined]
    pipeline = dsl.pipeline(
        name=workload.name, description=workload.summary, pipeline_config=_config(steps.pipeline(workload))
    )(graph)
    add_conditions(pipeline.pipeline_spec, CONDITIONS)
    return pipeline


def _config(settings: PipelineSettings) -> dsl.PipelineConfig:
    return dsl.PipelineConfig(
        ttl_seconds_after_success=settings.keep_success or None,
        ttl_seconds_after_failure=settings.keep_failure or None,
    )


def _wire(workload: Workload, parameters: str, images: Images, steps: Steps, extras: tuple[str, ...]) -> None:
    def configured(task: dsl.PipelineTask, step: str) -> None:
        configure(task, workload.name, step, images.of(step), steps.of(workload, step))

    run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    notification = notify(workload=workload.name, run_id=run_id)
    configured(notification, "notify")
    with dsl.ExitHandler(notification, name="notify whatever happens"):
        prepare_task = prep_data(
            workload=workload.name,
            parameters=parameters,
            run_id=run_id,
            scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
            packages=to_text(locked_packages(workload, extras=extras)),
            train_image=train_image(extras),
        )
        configured(prepare_task, "prep-data")
        image, settings = images.of(train_image(extras)), steps.of(workload, "train")
        nodes = {"trainjob": trainjob_spec(settings, image)} if settings.nodes > 1 else {}
        trained = train(
            workload=workload.name, parameters=parameters, data=prepare_task.outputs["data"], **nodes
        )
        configure(trained, workload.name, "train", image, settings, cached=True)
        evaluated = evaluate(
            workload=workload.name,
            run_id=run_id,
            data=prepare_task.outputs["data"],
            model=trained.outputs["model"],
        )
        configured(evaluated, "evaluate")
        packaged = archive(model=trained.outputs["model"], evaluation=evaluated.outputs["evaluation"])
        configured(packaged, "archive")
        deployed = deploy_serving(archived=packaged.outputs["archived"], data=prepare_task.outputs["data"])
        configured(deployed, "deploy-serving")
