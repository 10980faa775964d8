"""Writes a step's settings into its task of the compiled pipeline."""

from __future__ import annotations

from kfp import kubernetes
from kfp.dsl import PipelineTask

from .steps import CONFIG_MAP, FROM_CONFIG_MAP, FROM_SECRET, SECRET, STEPS, USER


def configure(task: PipelineTask, step: str, image: str, *, cached: bool = False) -> PipelineTask:
    """Give a task its image, limits, user and environment; returns the task."""
    settings = STEPS[step]
    task.set_container_image(image)
    task.set_display_name(step)
    task.set_caching_options(cached)
    task.set_cpu_request(settings.cpu).set_memory_request(settings.memory)
    kubernetes.set_timeout(task, settings.timeout)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_non_root=True)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {n: n for n in FROM_CONFIG_MAP}, optional=True)
    kubernetes.use_secret_as_env(task, SECRET, {n: n for n in FROM_SECRET}, optional=True)
    return task
