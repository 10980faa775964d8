"""The spec of the TrainJob that trains on several nodes: the step's settings, applied to each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from continuous_training.kubeflow.object_names import STEPS_CONFIG_MAP as CONFIG_MAP
from continuous_training.kubeflow.object_names import STEPS_SECRET as SECRET

from .defaults import environment_of
from .settings import StepSettings

_MANAGER = "continuous-training/train"
_CONTAINER = "node"
"""What the Trainer's runtimes call the Job that trains, and its container."""


def launcher_of(settings: StepSettings) -> StepSettings:
    """Return the settings of the step's own pod, which only waits while its nodes train."""
    return replace(
        settings,
        cpu="250m",
        cpu_limit="",
        memory="1Gi",
        memory_limit="",
        accelerator="",
        shared_memory="",
        node_selector={},
        tolerations=(),
    )


def trainjob_spec(settings: StepSettings, image: str) -> dict[str, Any]:
    """Return the `spec` of a TrainJob (trainer.kubeflow.org/v1alpha1), without what only a run knows."""
    return {
        "runtimeRef": {
            "apiGroup": "trainer.kubeflow.org",
            "kind": "ClusterTrainingRuntime",
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


def _resources(settings: StepSettings) -> dict[str, Any]:
    requests = {"cpu": settings.cpu, "memory": settings.memory}
    limits = {"cpu": settings.cpu_limit, "memory": settings.most_memory}
    if settings.accelerator:
        # Of what is not shared, requests follow limits.
        limits[settings.accelerator] = str(settings.accelerators)
    found = {"requests": requests, "limits": {name: value for name, value in limits.items() if value}}
    return {name: quantities for name, quantities in found.items() if quantities}


def _environment(settings: StepSettings) -> list[dict[str, Any]]:
    needed = environment_of("train")
    own = {*settings.environment, *settings.from_config_map, *settings.from_secret}
    found: list[dict[str, Any]] = [{"name": n, "value": v} for n, v in settings.environment.items()]
    for kind, place, names, others in (
        ("configMapKeyRef", CONFIG_MAP, needed.config_map, settings.from_config_map),
        ("secretKeyRef", SECRET, needed.secret, settings.from_secret),
    ):
        found += [_variable(name, kind, place, name, optional=True) for name in names if name not in own]
        found += [
            _variable(name, kind, *source.split("/"), optional=False) for name, source in others.items()
        ]
    return found


def _variable(name: str, kind: str, place: str, key: str, *, optional: bool) -> dict[str, Any]:
    return {"name": name, "valueFrom": {kind: {"name": place, "key": key, "optional": optional}}}


def _pod(settings: StepSettings) -> dict[str, Any]:
    labels = {"app.kubernetes.io/managed-by": "continuous-training", "app.kubernetes.io/name": "train-node"}
    user: Mapping[str, Any] = {} if settings.user is None else {"runAsUser": settings.user}
    shared = {"medium": "Memory", **({"sizeLimit": settings.shared_memory} if settings.shared_memory else {})}
    volumes: list[dict[str, Any]] = [
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
