"""How each step runs on a cluster: its time limit, its user, and what it finds in its environment."""

from __future__ import annotations

from dataclasses import dataclass

from kfp import kubernetes
from kfp.dsl import PipelineTask

USER = 10001
"""The images' numeric user: Pod Security `restricted` asks for one that is not root."""

CONFIG_MAP, SECRET = "continuous-training", "continuous-training"
_FROM_CONFIG_MAP = ("MLFLOW_TRACKING_URI", "CT_STORE", "CT_CACHE", "CT_KFP_API")
_FROM_SECRET = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "PGUSER",
    "PGPASSWORD",
    "CT_WEBHOOK",
)


@dataclass(frozen=True)
class StepSettings:
    """One step's settings; `timeout` in seconds, `cpu` and `memory` as Kubernetes writes them."""

    timeout: int
    cpu: str = "250m"
    memory: str = "512Mi"


STEPS = {
    "prep-data": StepSettings(timeout=3600, memory="1Gi"),
    "train": StepSettings(timeout=4 * 3600, cpu="1", memory="4Gi"),
    "evaluate": StepSettings(timeout=3600, cpu="1", memory="2Gi"),
    "archive": StepSettings(timeout=1800),
    "deploy-serving": StepSettings(timeout=1800),
    "notify": StepSettings(timeout=300),
}
"""Every step has a time limit: without one, a missing Secret or image leaves a run RUNNING for ever."""


def configure(task: PipelineTask, step: str, image: str, *, cached: bool = False) -> PipelineTask:
    """Give a task its image, limits, user and environment; returns the task."""
    settings = STEPS[step]
    task.set_container_image(image)
    task.set_display_name(step)
    task.set_caching_options(cached)
    task.set_cpu_request(settings.cpu).set_memory_request(settings.memory)
    kubernetes.set_timeout(task, settings.timeout)
    kubernetes.set_security_context(task, run_as_user=USER, run_as_non_root=True)
    kubernetes.use_config_map_as_env(task, CONFIG_MAP, {n: n for n in _FROM_CONFIG_MAP}, optional=True)
    kubernetes.use_secret_as_env(task, SECRET, {n: n for n in _FROM_SECRET}, optional=True)
    return task
