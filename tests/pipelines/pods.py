"""The pods that Kubeflow Pipelines starts for a run of a compiled pipeline.

Each task and each group has a driver, which resolves the inputs and evaluates the condition. Unless the
condition is false, a task has a second pod, the launcher, which runs the step. The pipeline has a driver too.
"""

import re
from collections import Counter
from collections.abc import Mapping

_CONDITION = re.compile(r"inputs\.parameter_values\['pipelinechannel--(.+)-Output'\] == true")


def count_pods(pipeline: Mapping, outputs: Mapping[str, bool]) -> Counter:
    """Return the number of drivers and launchers of a run in which no task fails.

    `pipeline` is the parsed specification. `outputs` are the boolean outputs of the tasks. Raises ValueError
    for a condition of another form.
    """
    return Counter(drivers=1) + _count(pipeline, pipeline["root"]["dag"]["tasks"], outputs)


def _count(pipeline: Mapping, tasks: Mapping[str, Mapping], outputs: Mapping[str, bool]) -> Counter:
    pods: Counter = Counter()
    skipped: set[str] = set()
    remaining = dict(tasks)
    while remaining:
        name = next(n for n, task in remaining.items() if not remaining.keys() & _dependencies(task))
        task = remaining.pop(name)
        policy = task.get("triggerPolicy", {})
        if skipped & _dependencies(task) and policy.get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED":
            skipped.add(name)
            continue
        pods["drivers"] += 1
        component = pipeline["components"][task["componentRef"]["name"]]
        if not _is_true(policy.get("condition"), outputs):
            skipped.add(name)
        elif "dag" in component:
            pods += _count(pipeline, component["dag"]["tasks"], outputs)
        else:
            pods["launchers"] += 1
    return pods


def _dependencies(task: Mapping) -> set[str]:
    return set(task.get("dependentTasks", ()))


def _is_true(condition: str | None, outputs: Mapping[str, bool]) -> bool:
    if condition is None:
        return True
    match = _CONDITION.fullmatch(condition)
    if match is None:
        raise ValueError(f"the condition {condition!r} is not the comparison of an output with true")
    return outputs[match[1]]
