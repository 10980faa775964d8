"""The settings that hold where no file says otherwise, and what each step finds in its environment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workloads.contract import Workload

from .settings import StepSettings

USER = 10001
"""The images' numeric user: Pod Security `restricted` asks for one that is not root."""

STEPS = {
    "prep-data": StepSettings(timeout=3600, memory="1Gi"),
    "train": StepSettings(timeout=4 * 3600, cpu="1", memory="4Gi"),
    "evaluate": StepSettings(timeout=3600, cpu="1", memory="2Gi"),
    "archive": StepSettings(timeout=1800),
    # A rollout that was rolled back is seldom better at once; one try more is for a pod that died.
    "deploy-serving": StepSettings(timeout=1800, retries=1, memory="1Gi"),
    "notify": StepSettings(timeout=300, retries=1, cpu="100m", memory="256Mi"),
}
"""Every step has a time limit: without one, a missing Secret or image leaves a run RUNNING for ever."""


def defaults_of(workload: Workload, step: str) -> StepSettings:
    """Return a step's settings as they are for a workload without a file."""
    settings = STEPS[step]
    if step == "train" and "torch" in workload.extras:
        # The 64 MiB that a container has there are soon used up by tensors that processes share.
        return replace(settings, shared_memory="1Gi")
    return settings


@dataclass(frozen=True)
class Environment:
    """The variables that a step takes from the ConfigMap and from the Secret, each under its own name."""

    config_map: tuple[str, ...]
    secret: tuple[str, ...]


_STORE = Environment(("CT_STORE",), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
_REGISTRY = Environment(
    ("MLFLOW_TRACKING_URI",),
    ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"),
)
_SOURCES = Environment(("CT_CACHE",), ("PGUSER", "PGPASSWORD"))
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
_OUTCOME = Environment(("CT_KFP_API",), ("CT_WEBHOOK",))

_NEEDED = {
    "prep-data": (_STORE, _SOURCES),
    "train": (_STORE,),
    "evaluate": (_STORE, _REGISTRY),
    "archive": (_STORE, _REGISTRY),
    "deploy-serving": (_STORE, _REGISTRY, _SERVING),
    "notify": (_STORE, _OUTCOME),
}


def environment_of(step: str) -> Environment:
    """Return what a step takes from the ConfigMap and the Secret: what it needs, and no more."""
    needed = _NEEDED[step]
    return Environment(
        tuple(name for part in needed for name in part.config_map),
        tuple(name for part in needed for name in part.secret),
    )
