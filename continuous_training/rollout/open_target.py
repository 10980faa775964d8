"""Which target the settings name. Each is imported when it is chosen: one machine needs no Kubernetes."""

from __future__ import annotations

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.rollout.target import DeploymentTarget


def open_target(settings: Settings, store: ObjectStore, progress: Progress) -> DeploymentTarget:
    """Return the place where models are served; `store` holds their archives. Nothing is asked of it yet."""
    if settings.target == "local":
        from continuous_training.rollout.local import LocalTarget

        return LocalTarget(settings.state)
    from continuous_training.adapters.kubernetes.connection import connect

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context, progress)
    if settings.target == "kserve":
        from continuous_training.rollout.kserve.target import KServeTarget

        return KServeTarget(cluster, serving, store, progress)
    from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe
    from continuous_training.rollout.kubernetes.target import KubernetesTarget

    kind = TorchServe if settings.target == "torchserve" else ModelServer
    return KubernetesTarget(cluster, serving, store, progress, kind(serving))
