"""How each step runs on a cluster: its time limit, its user, and what it finds in its environment."""

from __future__ import annotations

from dataclasses import dataclass

USER = 10001
"""The images' numeric user: Pod Security `restricted` asks for one that is not root."""

CONFIG_MAP, SECRET = "continuous-training", "continuous-training"
FROM_CONFIG_MAP = ("MLFLOW_TRACKING_URI", "CT_STORE", "CT_CACHE", "CT_KFP_API")
FROM_SECRET = (
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
