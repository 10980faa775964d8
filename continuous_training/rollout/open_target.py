"""Which target the settings name. Each is imported when it is chosen: one machine needs no Kubernetes."""

from __future__ import annotations

from adapters.object_store import ObjectStore
from components.settings import Settings
from workloads.contract import Progress

from .target import Target


def open_target(settings: Settings, store: ObjectStore, progress: Progress) -> Target:
    """Return the place where models are served; `store` holds their archives. Nothing is asked of it yet."""
    if settings.target == "local":
        from .local import LocalTarget

        return LocalTarget(settings.state)
    from adapters.kubernetes.connection import connect

    serving = settings.serving
    cluster = connect(serving.namespace, serving.kubeconfig, serving.context, progress)
    if settings.target == "kserve":
        from .kserve import KServeTarget

        return KServeTarget(cluster, serving, store, progress)
    from .kubernetes import KubernetesTarget
    from .servers import ModelServer, TorchServe

    kind = TorchServe if settings.target == "torchserve" else ModelServer
    return KubernetesTarget(cluster, serving, store, progress, kind(serving))
