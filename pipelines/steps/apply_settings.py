"""Apply the settings of a step to its task in the compiled pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from kfp import kubernetes
from kfp.dsl import PipelineTask

from continuous_training.kubeflow.object_names import RUN_ID_LABEL, STEP_LABEL
from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP as CONFIG_MAP
from continuous_training.kubeflow.object_names import STEPS_SECRET as SECRET
from pipelines.steps.defaults import environment_of
from pipelines.steps.settings import StepSettings
from pipelines.steps.trainjob_spec import launcher_settings

LABELS = {"app.kubernetes.io/part-of": "continuous-training", "app.kubernetes.io/component": "step"}
"""Labels by which network policies and, in a profile, the PodDefault with the API token select step pods."""


def configure(
    task: PipelineTask,
    workload: str,
    step: str,
    image: str,
    settings: StepSettings,
    *,
    cached: bool = False,
) -> PipelineTask:
    """Set image, resources, retries, scheduling, user and environment of a task. Returns the task."""
    task.set_container_image(image)
    task.set_display_name(step)
    task.set_caching_options(cached)
    # A step that fails records its error for this run.
    kubernetes.use_field_path_as_env(task, "CT_RUN", f"metadata.labels['{RUN_ID_LABEL}']")
    task.set_env_variable("CT_WORKLOAD", workload)
    kubernetes.add_pod_label(task, STEP_LABEL, step)
    if settings.nodes > 1:
        _add_pod_identity(task)
        settings = launcher_settings(settings)
    _set_resources(task, settings)
    kubernetes.set_timeout(task, settings.timeout)
    if settings.retries:
        # With the stock configuration of Kubeflow Pipelines, Argo retries only pods that were deleted or
        # evicted. The step itself retries after a temporary failure.
        task.set_env_variable("CT_RETRIES", str(settings.retries))
        task.set_env_variable("CT_RETRY_BACKOFF", str(settings.backoff))
        # Argo measures this duration from the start of the first attempt, which may use the whole timeout.
        # With its default of one hour, a training that fails in its second hour would not be retried.
        duration = f"{settings.max_duration}s"
        task.set_retry(settings.retries, f"{settings.backoff}s", 2.0, backoff_max_duration=duration)
    kubernetes.set_security_context(task, run_as_user=settings.user, run_as_non_root=True)
    _set_scheduling(task, settings)
    _set_environment(task, step, settings)
    return task


def _add_pod_identity(task: PipelineTask) -> None:
    """Set the identity of the pod, which owns the pods of the nodes."""
    kubernetes.use_field_path_as_env(task, "CT_POD_NAME", "metadata.name")
    kubernetes.use_field_path_as_env(task, "CT_POD_UID", "metadata.uid")


def _set_resources(task: PipelineTask, settings: StepSettings) -> None:
    task.set_cpu_request(settings.cpu).set_memory_request(settings.memory)
    if settings.cpu_limit:
        task.set_cpu_limit(settings.cpu_limit)
    if settings.effective_memory_limit:
        task.set_memory_limit(settings.effective_memory_limit)
    if settings.accelerator:
        task.set_accelerator_type(settings.accelerator).set_accelerator_limit(settings.accelerators)
    if settings.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", settings.shared_memory)  # noqa: S108


def _set_scheduling(task: PipelineTask, settings: StepSettings) -> None:
    for key, value in settings.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in settings.tolerations:
        kubernetes.add_toleration(
            task,
            toleration.key or None,
            toleration.operator,
            toleration.value or None,
            toleration.effect or None,
            toleration.tolerationSeconds,
        )
    for key, value in {**LABELS, **settings.labels}.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in settings.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    if settings.pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(settings.pull_secrets))


def _set_environment(task: PipelineTask, step: str, settings: StepSettings) -> None:
    required = environment_of(step)
    overridden = settings.variable_names
    kubernetes.use_config_map_as_env(
        task, CONFIG_MAP, _same_names(required.config_map, overridden), optional=True
    )
    kubernetes.use_secret_as_env(task, SECRET, _same_names(required.secret, overridden), optional=True)
    for name, value in settings.environment.items():
        task.set_env_variable(name, value)
    for name, keys in _group_by_object(settings.from_config_map).items():
        kubernetes.use_config_map_as_env(task, name, keys)
    for name, keys in _group_by_object(settings.from_secret).items():
        kubernetes.use_secret_as_env(task, name, keys)


def _same_names(names: tuple[str, ...], excluded: set[str]) -> dict[str, str]:
    """Map each key to the variable of the same name, without the excluded variables."""
    return {name: name for name in names if name not in excluded}


def _group_by_object(sources: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Convert `VARIABLE: NAME/KEY` to a mapping of keys to variables for each object name."""
    groups: dict[str, dict[str, str]] = {}
    for variable, source in sources.items():
        name, key = source.split("/")
        groups.setdefault(name, {})[key] = variable
    return groups
