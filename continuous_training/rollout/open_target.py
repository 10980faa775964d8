"""The construction of the deployment target that the settings name."""

from __future__ import annotations

from continuous_training.adapters.object_store import ObjectStore
from continuous_training.core.progress import Progress
from continuous_training.core.settings import Settings
from continuous_training.rollout.target_interface import DeploymentTarget


def open_target(settings: Settings, store: ObjectStore, progress: Progress) -> DeploymentTarget:
    """Return the deployment target `settings.target`, without connecting to it.

    `store` contains the archives of the versions that are or were served. Raises UserError if a setting that
    the target needs is missing or wrong.
    """
    # Start-up time, and optional dependencies: a local run imports neither the Kubernetes client nor its
    # targets, and may run where they are not installed.
    if settings.target == "local":
        from continuous_training.rollout.local import LocalTarget

        return LocalTarget(settings.state, progress)
    from continuous_training.adapters.kubernetes.connection import connect
    from continuous_training.rollout.kserve.target import KServeTarget
    from continuous_training.rollout.kubernetes.serving_runtimes import ModelServer, TorchServe
    from continuous_training.rollout.kubernetes.target import KubernetesTarget

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context, progress)
    if settings.target == "kserve":
        return KServeTarget(cluster, serving, store, progress, ModelServer(serving))
    runtime = TorchServe(serving) if settings.target == "torchserve" else ModelServer(serving)
    return KubernetesTarget(cluster, serving, store, progress, runtime)
