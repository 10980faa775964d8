"""The DAG: one function for every workload.

    prep-data ─ train ─ evaluate ─ archive ─ deploy-serving      and notify, whatever happens

train and evaluate run only when there is something new to learn from, archive and deploy-serving only
when the gate let the model through. A skipped branch has recorded its reason before it ended.
"""

from __future__ import annotations

import inspect
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components.archive.component import archive
from components.deploy_serving.component import deploy_serving
from components.evaluate.component import evaluate
from components.notify.component import notify
from components.prep_data.component import prep_data
from components.train.component import train
from continuous_training.core.parameters import to_lines
from pipelines.steps.apply_settings import configure
from workloads.contract import Workload

from .images import Images
from .steps import DEFAULTS, PipelineSettings, Steps
from .steps.trainjob import trainjob_spec


def build(workload: Workload, images: Images, steps: Steps = DEFAULTS) -> BaseComponent:
    """Return the workload's pipeline; its inputs are the workload's run parameters, typed, with defaults."""
    signature = inspect.Signature(
        [
            inspect.Parameter(
                p.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=p.default, annotation=p.type
            )
            for p in workload.parameters()
        ]
    )

    def graph(*values: Any) -> None:
        # One text, a line a parameter: a dict of pipeline inputs is mangled where it is resolved locally.
        _wire(workload, to_lines(dict(zip(signature.parameters, values, strict=True))), images, steps)

    graph.__signature__ = signature  # type: ignore[attr-defined]
    return dsl.pipeline(
        name=workload.name, description=workload.summary, pipeline_config=_config(steps.pipeline(workload))
    )(graph)


def _config(settings: PipelineSettings) -> dsl.PipelineConfig:
    return dsl.PipelineConfig(
        ttl_seconds_after_success=settings.keep_success or None,
        ttl_seconds_after_failure=settings.keep_failure or None,
    )


def _wire(workload: Workload, parameters: str, images: Images, steps: Steps) -> None:
    def configured(task: dsl.PipelineTask, step: str) -> None:
        configure(task, step, images.of(step), steps.of(workload, step))

    run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
    told = notify(workload=workload.name, run_id=run_id)
    configured(told, "notify")
    with dsl.ExitHandler(told, name="notify whatever happens"):
        prepared = prep_data(
            workload=workload.name,
            parameters=parameters,
            run_id=run_id,
            scheduled=dsl.PIPELINE_JOB_SCHEDULE_TIME_UTC_PLACEHOLDER,
        )
        configured(prepared, "prep-data")
        # Conditions gate on a step's one unnamed output: on a named one the local runner needs an Else,
        # and that would be two pods more on a cluster.
        with dsl.If(prepared.outputs["Output"] == True, name="data is new"):  # noqa: E712
            image, settings = images.of(_train_image(workload)), steps.of(workload, "train")
            nodes = {"trainjob": trainjob_spec(settings, image)} if settings.nodes > 1 else {}
            trained = train(
                workload=workload.name, parameters=parameters, data=prepared.outputs["data"], **nodes
            )
            configure(trained, "train", image, settings, cached=True)
            judged = evaluate(
                workload=workload.name,
                run_id=run_id,
                data=prepared.outputs["data"],
                model=trained.outputs["model"],
            )
            configured(judged, "evaluate")
            with dsl.If(judged.outputs["Output"] == True, name="promoted"):  # noqa: E712
                packed = archive(model=trained.outputs["model"], evaluation=judged.outputs["evaluation"])
                configured(packed, "archive")
                deployed = deploy_serving(archived=packed.outputs["archived"], data=prepared.outputs["data"])
                configured(deployed, "deploy-serving")


def _train_image(workload: Workload) -> str:
    return "-".join(["train", *workload.extras])
