"""Conditions of single tasks, without a group of their own.

`dsl.If` puts its tasks into a group, and a group takes a pod of its own on a cluster. The specification of
pipelines also has conditions of single tasks, which the task's driver evaluates. The SDK cannot express them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.pipeline_spec.pipeline_spec_pb2 import ParameterType

OUTPUT = "Output"
"""The only unnamed output of a step. The local runner evaluates a condition on a named output differently."""


def add_conditions(pipeline: Any, conditions: Mapping[str, str]) -> None:
    """Change a PipelineSpec so that each task runs only if the output of another task of its group is true.

    `conditions` maps a task to the task with the boolean output, by name. If the latter is skipped, so is the
    former.
    """
    for group in pipeline.components.values():
        for name, producer in conditions.items():
            if name in group.dag.tasks:
                task = group.dag.tasks[name]
                _add_condition(task, pipeline.components[task.component_ref.name], producer)


def _add_condition(task: Any, component: Any, producer: str) -> None:
    """Add the condition to the task, and its input to the task and the component."""
    # This is the name that the SDK gives to such an input. The local runner reads the producer from it.
    name = f"pipelinechannel--{producer}-{OUTPUT}"
    source = task.inputs.parameters[name].task_output_parameter
    source.producer_task, source.output_parameter_key = producer, OUTPUT
    component.input_definitions.parameters[name].parameter_type = ParameterType.BOOLEAN
    task.dependent_tasks[:] = sorted({*task.dependent_tasks, producer})
    task.trigger_policy.condition = f"inputs.parameter_values['{name}'] == true"
