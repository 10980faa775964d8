"""The spec of the TrainJob for a training on several nodes. The settings of the step apply to each node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from continuous_training.core.json_object import Json
from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP as CONFIG_MAP
from continuous_training.kubeflow.object_names import STEPS_SECRET as SECRET
from continuous_training.kubeflow.object_names import TRAINING_RUNTIME

from .defaults import environment_of
from .settings import StepSettings

_MANAGER = "continuous-training/train"
_CONTAINER = "node"
"""The name of the training Job and of its container in the runtimes of Kubeflow Trainer."""
_NODE_SETTINGS = {
    "cpu",
    "cpu_limit",
    "memory",
    "memory_limit",
    "accelerator",
    "shared_memory",
    "node_selector",
    "tolerations",
}
"""Settings that apply to the nodes only, and not to the pod of the step."""


def launcher_settings(settings: StepSettings) -> StepSettings:
    """Return the settings of the pod of the step, which only waits while the nodes train."""
    own = settings.model_dump(exclude=_NODE_SETTINGS)
    return StepSettings.model_validate(own | {"memory": "1Gi"})


def trainjob_spec(settings: StepSettings, image: str) -> Json:
    """Return the `spec` of a TrainJob (trainer.kubeflow.org/v1alpha1), without the values of a single run."""
    return {
        "runtimeRef": {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "TrainingRuntime"
            if settings.training_runtime == TRAINING_RUNTIME
            else "ClusterTrainingRuntime",
            "name": settings.training_runtime,
        },
        "activeDeadlineSeconds": settings.timeout,
        "trainer": {
            "image": image,
            "numNodes": settings.nodes,
            "numProcPerNode": settings.accelerators if settings.accelerator else 1,
            "resourcesPerNode": _resources(settings),
            "env": _environment(settings),
        },
        "runtimePatches": [
            {
                "manager": _MANAGER,
                "trainingRuntimeSpec": {
                    "template": {
                        "spec": {
                            "replicatedJobs": [
                                {"name": _CONTAINER, "template": {"spec": {"template": _pod(settings)}}}
                            ]
                        }
                    }
                },
            }
        ],
    }


def _resources(settings: StepSettings) -> Json:
    requests = {"cpu": settings.cpu, "memory": settings.memory}
    limits = {"cpu": settings.cpu_limit, "memory": settings.effective_memory_limit}
    if settings.accelerator:
        # Kubernetes sets the request of an extended resource to its limit.
        limits[settings.accelerator] = str(settings.accelerators)
    resources = {"requests": requests, "limits": {name: value for name, value in limits.items() if value}}
    return {name: quantities for name, quantities in resources.items() if quantities}


def _environment(settings: StepSettings) -> list[Json]:
    required = environment_of("train")
    overridden = settings.variable_names
    variables: list[Json] = [{"name": n, "value": v} for n, v in settings.environment.items()]
    for kind, object_name, names, sources in (
        ("configMapKeyRef", CONFIG_MAP, required.config_map, settings.from_config_map),
        ("secretKeyRef", SECRET, required.secret, settings.from_secret),
    ):
        variables += [
            _variable(name, kind, object_name, name, optional=True)
            for name in names
            if name not in overridden
        ]
        variables += [
            _variable(name, kind, *source.split("/"), optional=False) for name, source in sources.items()
        ]
    return variables


def _variable(name: str, kind: str, object_name: str, key: str, *, optional: bool) -> Json:
    return {"name": name, "valueFrom": {kind: {"name": object_name, "key": key, "optional": optional}}}


def _pod(settings: StepSettings) -> Json:
    labels = {"app.kubernetes.io/managed-by": "continuous-training", "app.kubernetes.io/name": "train-node"}
    user: Mapping[str, Any] = {} if settings.user is None else {"runAsUser": settings.user}
    shared = {"medium": "Memory", **({"sizeLimit": settings.shared_memory} if settings.shared_memory else {})}
    volumes: list[Json] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "shared-memory", "emptyDir": shared},
    ]
    container = {
        "name": _CONTAINER,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
        ],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    spec = {
        "securityContext": {
            "runAsNonRoot": True,
            **user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": volumes,
        "containers": [container],
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [toleration.to_json() for toleration in settings.tolerations],
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
    }
    metadata = {"labels": {**labels, **settings.labels}, "annotations": dict(settings.annotations)}
    return {
        "metadata": {name: value for name, value in metadata.items() if value},
        "spec": {name: value for name, value in spec.items() if value},
    }
