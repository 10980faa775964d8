"""Writes a step's settings into its task of the compiled pipeline."""

from __future__ import annotations

from collections.abc import Mapping

from kfp import kubernetes
from kfp.dsl import PipelineTask

from pipelines.steps import CONFIG_MAP, SECRET, StepSettings, environment_of
from pipelines.steps.trainjob import launcher_of

LABELS = {"app.kubernetes.io/part-of": "continuous-training", "app.kubernetes.io/component": "step"}
"""What network policies, and in a profile the token for the Pipelines API, know a step's pod by."""


def configure(
    task: PipelineTask, step: str, image: str, settings: StepSettings, *, cached: bool = False
) -> PipelineTask:
    """Give a task its image, limits, retries, place, user and environment; returns the task."""
    task.set_container_image(image)
    task.set_display_name(step)
    task.set_caching_options(cached)
    if settings.nodes > 1:
        _tell_who_it_is(task)
        settings = launcher_of(settings)
    _resources(task, settings)
    kubernetes.set_timeout(task, settings.timeout)
    if settings.retries:
        # Argo counts this from the start of the first try, which may itself take the whole timeout: with its
        # default of an hour, a training that fails in its second hour would not be tried again.
        most = f"{settings.longest}s"
        task.set_retry(settings.retries, f"{settings.backoff}s", 2.0, backoff_max_duration=most)
    kubernetes.set_security_context(task, run_as_user=settings.user, run_as_non_root=True)
    _place(task, settings)
    _environment(task, step, settings)
    return task


def _tell_who_it_is(task: PipelineTask) -> None:
    """Let a pod that starts others know its run, which names them, and itself, who owns them."""
    kubernetes.use_field_path_as_env(task, "CT_RUN", "metadata.labels['pipeline/runid']")
    kubernetes.use_field_path_as_env(task, "CT_POD_NAME", "metadata.name")
    kubernetes.use_field_path_as_env(task, "CT_POD_UID", "metadata.uid")


def _resources(task: PipelineTask, settings: StepSettings) -> None:
    task.set_cpu_request(settings.cpu).set_memory_request(settings.memory)
    if settings.cpu_limit:
        task.set_cpu_limit(settings.cpu_limit)
    if settings.most_memory:
        task.set_memory_limit(settings.most_memory)
    if settings.accelerator:
        task.set_accelerator_type(settings.accelerator).set_accelerator_limit(settings.accelerators)
    if settings.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", settings.shared_memory)  # noqa: S108


def _place(task: PipelineTask, settings: StepSettings) -> None:
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


def _environment(task: PipelineTask, step: str, settings: StepSettings) -> None:
    needed = environment_of(step)
    own = {*settings.environment, *settings.from_config_map, *settings.from_secret}
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, _same(needed.config_map, own), optional=True)
    kubernetes.use_secret_as_env(task, SECRET, _same(needed.secret, own), optional=True)
    for name, value in settings.environment.items():
        task.set_env_variable(name, value)
    for place, keys in _by_place(settings.from_config_map).items():
        kubernetes.use_config_map_as_env(task, place, keys)
    for place, keys in _by_place(settings.from_secret).items():
        kubernetes.use_secret_as_env(task, place, keys)


def _same(names: tuple[str, ...], own: set[str]) -> dict[str, str]:
    """Map each key to the variable of the same name, but for those that come from elsewhere."""
    return {name: name for name in names if name not in own}


def _by_place(variables: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Turn `VARIABLE: PLACE/KEY` into a mapping of keys to variables for each place."""
    found: dict[str, dict[str, str]] = {}
    for variable, source in variables.items():
        place, key = source.split("/")
        found.setdefault(place, {})[key] = variable
    return found
