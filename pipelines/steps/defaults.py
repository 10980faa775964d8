"""The default settings of the steps, and the environment variables that each step needs."""

from __future__ import annotations

from dataclasses import dataclass

from workloads.contract import Workload

from .settings import StepSettings

USER = 10001
"""The numeric user of the images. Pod Security `restricted` requires a user other than root."""

STEPS = {
    "prep-data": StepSettings(timeout=3600, memory="1Gi"),
    "train": StepSettings(timeout=4 * 3600, cpu="1", memory="4Gi"),
    "evaluate": StepSettings(timeout=3600, cpu="1", memory="2Gi"),
    "archive": StepSettings(timeout=1800),
    # A reverted rollout rarely succeeds at a second attempt. The retry is for a pod that died.
    "deploy-serving": StepSettings(timeout=1800, retries=1, memory="1Gi"),
    # Its timeout is that of deploy-serving, because it may roll the champion out.
    "notify": StepSettings(timeout=1800, retries=1, cpu="100m"),
}
"""Each step has a timeout, because without one a missing Secret or image leaves a run RUNNING for ever."""


def defaults_of(workload: Workload, step: str) -> StepSettings:
    """Return the settings of a step for a workload without a settings file."""
    settings = STEPS[step]
    if step == "train" and "torch" in workload.extras:
        # Processes share tensors there, and the 64 MiB of a container by default are not sufficient.
        return settings.model_copy(update={"shared_memory": "1Gi"})
    return settings


@dataclass(frozen=True)
class Environment:
    """The variables that a step reads from the ConfigMap and the Secret, under the same names."""

    config_map: tuple[str, ...]
    secret: tuple[str, ...]


_STORE = Environment(("CT_STORE",), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
_REGISTRY = Environment(
    ("MLFLOW_TRACKING_URI",),
    ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
)
_SOURCES = Environment(("CT_CACHE", "CT_SOURCE_HOSTS"), ("PGUSER", "PGPASSWORD"))
_SERVING = Environment(
    (
        "CT_TARGET",
        "CT_SERVING_NAMESPACE",
        "CT_SERVING_IMAGE",
        "CT_TORCHSERVE_IMAGE",
        "CT_SERVING_STORE",
        "CT_SERVING_REPLICAS",
        "CT_SERVING_MAX_REPLICAS",
        "CT_SERVING_CPU",
        "CT_SERVING_MEMORY",
        "CT_CANARY",
        "CT_CANARY_SECONDS",
        "CT_ROLLOUT_DEADLINE",
    ),
    (),
)
_NOTIFICATIONS = Environment(
    ("CT_NOTIFY", "CT_WEBHOOK_FORMAT", "CT_SMTP", "CT_MAIL_FROM", "CT_MAIL_TO"),
    ("CT_WEBHOOK", "CT_SMTP_PASSWORD"),
)
_KUBEFLOW = Environment(("CT_KFP_API",), ())

_REQUIRED = {
    "prep-data": (_STORE, _SOURCES, _NOTIFICATIONS),
    "train": (_STORE,),
    "evaluate": (_STORE, _REGISTRY, _NOTIFICATIONS),
    "archive": (_STORE, _REGISTRY),
    "deploy-serving": (_STORE, _REGISTRY, _SERVING, _NOTIFICATIONS),
    "notify": (_STORE, _REGISTRY, _SERVING, _KUBEFLOW, _NOTIFICATIONS),
}


def environment_of(step: str) -> Environment:
    """Return the variables of a step. A step gets only the variables that it needs."""
    groups = _REQUIRED[step]
    return Environment(
        tuple(name for group in groups for name in group.config_map),
        tuple(name for group in groups for name in group.secret),
    )
